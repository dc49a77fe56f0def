//! One row of the table of calls: its specification, and the checked row.

use serde::{Deserialize, Serialize};

use crate::call::{
    Allowed, AskRule, Change, ChangeSpec, Method, Pointer, PointerRejection, Transport, UserSide, UserSideRejection,
    Words, WordsRejection,
};
use crate::identity::{CallName, ProviderId};

/// The harm that a call can do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Reads only.
    Read,
    /// Makes a reversible change.
    Write,
    /// Deletes, opens a shell, installs a key or starts a job.
    Danger,
}

/// The place of the items in a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Items {
    /// `{"items": [ … ]}`
    Bulk,
    /// The body is the only item; an absent body is `{}`.
    Whole,
}

/// How a bound parameter's value is normalised.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Unchanged.
    #[default]
    Plain,
    /// Without the members, at every depth, that Go writes for an absent field.
    Tree,
    /// An array of strings whose order has no meaning: sorted.
    Set,
}

/// The sender of a call to the provider.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// UCloud's Core, with its token, for a user.
    #[default]
    Core,
    /// The user's own browser, at the provider's origin, without Core. The intent is its only
    /// credential.
    User,
}

/// The process that handles a direct call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// The user's own instance, which verifies again with the keys that the user pinned.
    Instance,
    /// The server, which verifies again with the keys of its store.
    Server,
    /// Not a request: the user signs it as the proof that comes with a one-time token (protocol,
    /// section 7).
    Session,
}

/// One bound parameter of a call.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSpec {
    /// The name in the object that the user signs.
    pub name: String,
    /// The places in an item of the provider's request. Several, if different Cores spell it
    /// differently.
    pub at: Vec<String>,
    /// How the value is normalised.
    #[serde(default)]
    pub kind: Kind,
    /// The changes that Core makes to the value. Both sides apply them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeSpec>,
    /// Whether the object leaves the parameter out if it is null. Others stand there as null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// The specification of a row: in `calls.json` for the browser's signer, and in a site's
/// `[[calls]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RowSpec {
    /// The user-side name, which must equal the intent's `call`.
    pub call: CallName,
    /// The method at the provider.
    pub method: Method,
    /// The path at the provider; `{p}` is the provider's id.
    pub path: String,
    /// The sender.
    #[serde(default)]
    pub from: Sender,
    /// The process that handles the call. Given for direct calls only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    /// How the call is sent.
    #[serde(default)]
    pub transport: Transport,
    /// The place of the items.
    pub items: Items,
    /// The parameters that the signature binds.
    pub bound: Vec<BoundSpec>,
    /// The members that Core adds to an item. The subtrees beneath these pointers are allowed and
    /// never trusted.
    #[serde(default)]
    pub adds: Vec<String>,
    /// The place at which an item names the project, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The place at which an item repeats the username, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The least class of an item: [`Items::class_of`](crate::bind::Items::class_of) gives the
    /// class of a given item.
    pub(crate) class: Class,
    /// The rules that raise an item to [`Class::Danger`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask_if: Vec<AskRule>,
    /// The signer's description of the call. The signer has its own words for the standard rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
    /// The user's requests to UCloud that cause the call. None, if UCloud does not see the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<UserSide>,
}

/// Why a row is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowRejection {
    /// A pointer of the row is malformed.
    #[error("call {call}: {pointer:?} is not a JSON pointer: {why}")]
    Pointer {
        /// The row's call.
        call: CallName,
        /// The text of the pointer.
        pointer: String,
        /// Why it is refused.
        why: PointerRejection,
    },
    /// A bound parameter without a place, or a repeated name.
    #[error("call {call}: the bound parameter {name:?} has no place, or is repeated")]
    Bound {
        /// The row's call.
        call: CallName,
        /// The parameter.
        name: String,
    },
    /// A rule about a parameter that the call does not bind.
    #[error("call {call}: ask_if names {parameter:?}, which is not a bound parameter of the call")]
    Ask {
        /// The row's call.
        call: CallName,
        /// The parameter.
        parameter: String,
    },
    /// Unsuitable words for the signer's question.
    #[error("call {call}: {why}")]
    Words {
        /// The row's call.
        call: CallName,
        /// Why they are refused.
        why: WordsRejection,
    },
    /// A malformed user side.
    #[error("call {call}: user: {why}")]
    User {
        /// The row's call.
        call: CallName,
        /// Why it is refused.
        why: UserSideRejection,
    },
    /// The path is not below `/ucloud/`.
    #[error("call {call}: the path must begin with /ucloud/ and have no empty or dotted segments")]
    Path {
        /// The row's call.
        call: CallName,
    },
    /// A row from Core with a destination, or a row from the user without one or with members that
    /// only Core adds.
    #[error(
        "call {call}: a row from the user has a destination, is a POST with one item, and has nothing that Core adds; one from Core has no destination"
    )]
    Sender {
        /// The row's call.
        call: CallName,
    },
    /// Two rows of the same call, of the same method and path, or of the same user's request.
    #[error("call {call}: another row has the same call, the same method and path, or the same request of the user")]
    Twice {
        /// The later row's call.
        call: CallName,
    },
}

/// A checked bound parameter.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The name in the object that the user signs.
    pub name: String,
    /// The possible places.
    pub at: Vec<Pointer>,
    /// How the value is normalised.
    pub kind: Kind,
    /// The changes that Core makes to the value.
    pub changes: Vec<Change>,
    /// Whether the object leaves the parameter out if it is null.
    pub is_optional: bool,
}

/// A checked row.
#[derive(Clone, Debug)]
pub struct Row {
    spec: RowSpec,
    path: String,
    bound: Vec<Bound>,
    allowed: Allowed,
    project: Option<Pointer>,
    username: Option<Pointer>,
}

impl Row {
    pub(super) fn new(spec: RowSpec, provider: &ProviderId) -> Result<Self, RowRejection> {
        let call = spec.call.clone();
        let pointer = |text: &String| {
            Pointer::parse(text).map_err(|why| RowRejection::Pointer { call: call.clone(), pointer: text.clone(), why })
        };
        let path = spec.path.replace("{p}", provider.as_str());
        if !path.starts_with("/ucloud/") || path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(RowRejection::Path { call });
        }
        if !spec.sender_fits() {
            return Err(RowRejection::Sender { call });
        }
        let mut bound: Vec<Bound> = Vec::with_capacity(spec.bound.len());
        for BoundSpec { name, at, kind, changes, optional } in &spec.bound {
            if at.is_empty() || bound.iter().any(|earlier| earlier.name == *name) {
                return Err(RowRejection::Bound { call, name: name.clone() });
            }
            let at = at.iter().map(pointer).collect::<Result<_, _>>()?;
            let change = |spec: &ChangeSpec| {
                Change::parse(spec).map_err(|why| RowRejection::Pointer {
                    call: call.clone(),
                    pointer: spec.at.clone(),
                    why,
                })
            };
            let changes = changes.iter().map(change).collect::<Result<_, _>>()?;
            bound.push(Bound { name: name.clone(), at, kind: *kind, changes, is_optional: *optional });
        }
        if let Some(rule) = spec.ask_if.iter().find(|rule| bound.iter().all(|bound| bound.name != rule.parameter)) {
            return Err(RowRejection::Ask { call, parameter: rule.parameter.clone() });
        }
        let names: Vec<&str> = bound.iter().map(|bound| bound.name.as_str()).collect();
        for side in &spec.user {
            side.check(&names).map_err(|why| RowRejection::User { call: call.clone(), why })?;
        }
        if let Some(words) = &spec.words {
            words.check(&names).map_err(|why| RowRejection::Words { call: call.clone(), why })?;
        }
        let adds = spec.adds.iter().map(pointer).collect::<Result<Vec<_>, _>>()?;
        let project = spec.project.as_ref().map(pointer).transpose()?;
        let username = spec.username.as_ref().map(pointer).transpose()?;
        let allowed =
            Allowed::beneath(bound.iter().flat_map(|bound| &bound.at).chain(&adds).chain(&project).chain(&username));
        Ok(Self { spec, path, bound, allowed, project, username })
    }

    /// The user-side name.
    #[must_use]
    pub const fn call(&self) -> &CallName {
        &self.spec.call
    }

    /// The method at the provider.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.spec.method
    }

    /// The full path at the provider.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The place of the items.
    #[must_use]
    pub const fn items(&self) -> Items {
        self.spec.items
    }

    /// The least class of an item. Only for `bind`, which classifies each item: a harmless call may
    /// have an item that installs a program.
    pub(crate) const fn least_class(&self) -> Class {
        self.spec.class
    }

    /// The rules that raise an item to [`Class::Danger`].
    pub(crate) fn ask_if(&self) -> &[AskRule] {
        &self.spec.ask_if
    }

    /// Whether a rule can raise an item above the least class.
    #[must_use]
    pub fn may_be_raised(&self) -> bool {
        self.spec.class < Class::Danger && !self.spec.ask_if.is_empty()
    }

    /// The sender.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        self.spec.from
    }

    /// How the call is sent.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.spec.transport
    }

    /// The bound parameters.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// The members that an item may have.
    #[must_use]
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// The place at which an item names the project.
    #[must_use]
    pub const fn project(&self) -> Option<&Pointer> {
        self.project.as_ref()
    }

    /// The place at which an item repeats the username.
    #[must_use]
    pub const fn username(&self) -> Option<&Pointer> {
        self.username.as_ref()
    }

    /// The specification of the row.
    #[must_use]
    pub const fn spec(&self) -> &RowSpec {
        &self.spec
    }
}

impl RowSpec {
    /// The class, for readers of the table.
    #[must_use]
    pub const fn class_in_words(&self) -> &'static str {
        match (self.class, self.ask_if.is_empty()) {
            (Class::Read, true) => "read",
            (Class::Write, true) => "write",
            (Class::Read, false) => "read, or danger",
            (Class::Write, false) => "write, or danger",
            (Class::Danger, _) => "danger",
        }
    }

    /// Whether the fields about the sender are complete and consistent.
    fn sender_fits(&self) -> bool {
        match self.from {
            Sender::Core => self.to.is_none(),
            Sender::User => {
                self.to.is_some()
                    && self.method == Method::Post
                    && self.transport == Transport::Http
                    && self.items == Items::Whole
                    && self.adds.is_empty()
                    && self.project.is_none()
                    && self.username.is_none()
                    && self.user.is_empty()
            }
        }
    }
}
