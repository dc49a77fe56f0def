//! JSON pointers (RFC 6901), with `*` for every element of an array.

use std::borrow::Cow;

use crate::json::Json;

/// Most steps of a pointer.
const STEPS_MAX: usize = 8;

/// Why a pointer is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PointerRejection {
    /// It does not begin with a slash, or a step is empty.
    #[error("it must begin with '/' and name something")]
    Form,
    /// Too many steps.
    #[error("it has more than {STEPS_MAX} steps")]
    TooLong,
    /// The pointer of a dropped member does not end with a member's name.
    #[error("the pointer of a dropped member must end with the member's name")]
    NoMember,
}

/// One step of a pointer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The member of that name.
    Member(String),
    /// Every element.
    Each,
}

/// A place in a JSON value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer(Vec<Step>);

impl Pointer {
    /// Parses `/a/b` or `/a/*/b`, with the escapes of RFC 6901 (`~0`, `~1`).
    ///
    /// # Errors
    /// The text does not have that form.
    pub fn parse(text: &str) -> Result<Self, PointerRejection> {
        let steps = text.strip_prefix('/').ok_or(PointerRejection::Form)?;
        let steps: Vec<Step> = steps
            .split('/')
            .map(|step| match step {
                "*" => Step::Each,
                name => Step::Member(name.replace("~1", "/").replace("~0", "~")),
            })
            .collect();
        if steps.iter().any(|step| matches!(step, Step::Member(name) if name.is_empty())) {
            return Err(PointerRejection::Form);
        }
        if steps.len() > STEPS_MAX {
            return Err(PointerRejection::TooLong);
        }
        Ok(Self(steps))
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The value at the pointer; `None` if there is none. A pointer with `*` makes an array with
    /// one value for each element, and null where an element has none.
    #[must_use]
    pub fn find<'v, 'a>(&self, value: &'v Json<'a>) -> Option<Cow<'v, Json<'a>>> {
        find(&self.0, value)
    }
}

fn find<'v, 'a>(steps: &[Step], value: &'v Json<'a>) -> Option<Cow<'v, Json<'a>>> {
    match steps {
        [] => Some(Cow::Borrowed(value)),
        [Step::Member(name), rest @ ..] => find(rest, value.member(name)?),
        [Step::Each, rest @ ..] => {
            let each = value.elements()?.iter().map(|element| find(rest, element).map_or(Json::Null, Cow::into_owned));
            Some(Cow::Owned(Json::Array(each.collect())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_a_pointer() {
        let value = Json::parse(br#"{"a":{"b/c":1,"d":null},"list":[{"x":1},{"y":2},3]}"#, 8).unwrap();
        let check = |pointer: &str, want: Option<&str>| {
            let found =
                Pointer::parse(pointer).unwrap().find(&value).map(|found| serde_json::to_string(&found).unwrap());
            assert_eq!(found.as_deref(), want, "{pointer}");
        };
        check("/a/b~1c", Some("1"));
        check("/a/d", Some("null"));
        check("/a/e", None);
        check("/a/d/e", None);
        check("/list/*/x", Some("[1,null,null]"));
        check("/list/*", Some(r#"[{"x":1},{"y":2},3]"#));
        check("/a/*", None);
        assert_eq!(Pointer::parse("a"), Err(PointerRejection::Form));
        assert_eq!(Pointer::parse("/"), Err(PointerRejection::Form));
        assert_eq!(Pointer::parse("/a//b"), Err(PointerRejection::Form));
        assert_eq!(Pointer::parse(&"/a".repeat(8)).map(|pointer| pointer.steps().len()), Ok(8));
        assert_eq!(Pointer::parse(&"/a".repeat(9)), Err(PointerRejection::TooLong));
    }
}
