//! The members that a request may have: those that the signature binds and those that Core adds
//! (V26).

use std::borrow::Cow;

use crate::call::pointer::{Pointer, Step};
use crate::json::Json;

/// A member that the row does not allow. Reports its path, never its value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the request has the member {path:?}, which the call does not know")]
pub struct UnknownMember {
    /// The path in the item, truncated if long.
    pub path: String,
}

/// The allowed places, as a tree.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    members: Vec<(String, Allowed)>,
    each: Option<Box<Allowed>>,
    /// Every value below this node is allowed.
    whole: bool,
}

impl Allowed {
    /// Allows the subtrees beneath these pointers.
    pub fn beneath<'p>(pointers: impl Iterator<Item = &'p Pointer>) -> Self {
        let mut root = Self::default();
        for pointer in pointers {
            root.add(pointer.steps());
        }
        root
    }

    /// Checks that the value has only allowed members. Above an allowed subtree, only objects,
    /// arrays and null may stand.
    ///
    /// # Errors
    /// The first member that is not allowed.
    pub fn check(&self, value: &Json<'_>) -> Result<(), UnknownMember> {
        self.descend(value).map_err(|mut path| {
            /// Sufficient to find the member, and short enough for a log line.
            const PATH_MAX: usize = 8;
            path.truncate(PATH_MAX);
            path.reverse();
            UnknownMember { path: format!("/{}", path.join("/")).chars().take(200).collect() }
        })
    }

    fn add(&mut self, steps: &[Step]) {
        match steps {
            [] => self.whole = true,
            [Step::Member(name), rest @ ..] => {
                if let Some((_, node)) = self.members.iter_mut().find(|(known, _)| known == name) {
                    node.add(rest);
                } else {
                    let mut node = Self::default();
                    node.add(rest);
                    self.members.push((name.clone(), node));
                }
            }
            [Step::Each, rest @ ..] => self.each.get_or_insert_default().add(rest),
        }
    }

    /// The error is the path to the member, last step first.
    fn descend<'v>(&self, value: &'v Json<'_>) -> Result<(), Vec<Cow<'v, str>>> {
        let step_into = |node: Option<&Self>, name: Cow<'v, str>, value: &'v Json<'_>| match node {
            None => Err(vec![name]),
            Some(node) => node.descend(value).map_err(|mut path| {
                path.push(name);
                path
            }),
        };
        match value {
            _ if self.whole => Ok(()),
            Json::Object(members) => members.iter().try_for_each(|(name, value)| {
                let node = self.members.iter().find(|(known, _)| known == name).map(|(_, node)| node);
                step_into(node, Cow::Borrowed(name.as_ref()), value)
            }),
            Json::Array(elements) => {
                elements.iter().try_for_each(|element| step_into(self.each.as_deref(), Cow::Borrowed("*"), element))
            }
            Json::Null => Ok(()),
            Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) => Err(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v26_a_member_that_the_row_does_not_know_is_found() {
        let pointers = ["/id", "/added", "/inner/known", "/list/*/title"].map(|text| Pointer::parse(text).unwrap());
        let allowed = Allowed::beneath(pointers.iter());
        let check = |item: &str, want: Option<&str>| {
            let item = Json::parse(item.as_bytes(), 8).unwrap();
            let unknown = allowed.check(&item).err().map(|unknown| unknown.path);
            assert_eq!(unknown.as_deref(), want, "{item:?}");
        };
        check(r#"{"id":"x","added":{"anything":[1,{"a":2}]}}"#, None);
        check("{}", None);
        check(r#"{"ID":"x"}"#, Some("/ID"));
        check(r#"{"extra":null}"#, Some("/extra"));
        check(r#"{"inner":{"known":[1,2]}}"#, None);
        check(r#"{"inner":null}"#, None);
        check(r#"{"inner":{"known":1,"unknown":0}}"#, Some("/inner/unknown"));
        check(r#"{"inner":"text"}"#, Some("/inner"));
        check(r#"{"list":[{"title":"a"},{"title":"b"}]}"#, None);
        check(r#"{"list":[{"title":"a"},{"other":"b"}]}"#, Some("/list/*/other"));
        check(r#"{"list":[1]}"#, Some("/list/*"));
        check(r#"{"list":{"title":"a"}}"#, Some("/list/title"));
        check("[]", None);
        check("[1]", Some("/*"));
        check("7", Some("/"));
    }
}
