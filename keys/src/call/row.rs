//! One row of the table of calls: as it is written, and ready to judge with.

use serde::{Deserialize, Serialize};

use crate::call::{Allowed, AskRule, Change, ChangeSpec, Pointer, PointerRejection, Words, WordsRejection};
use crate::identity::{CallName, ProviderId};

/// A request's method, of those that UCloud uses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `DELETE`, with a JSON body.
    Delete,
}

impl Method {
    /// Reads the method of a request line; no other is served.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GET" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    /// The method as it stands in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call can do, at worst.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Looks.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Deletes, opens a shell, installs a key or starts a job.
    Danger,
}

/// How the call travels.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A request and its answer.
    #[default]
    Http,
    /// A message on a WebSocket.
    WebSocket,
}

/// Where the items of a request stand.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Items {
    /// `{"items": [ … ]}`
    Bulk,
    /// The body is the one item; an absent body is `{}`.
    Whole,
}

/// How a bound parameter's value is taken.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As it stands.
    #[default]
    Plain,
    /// Without the members, at every depth, that Go writes for "absent".
    Tree,
    /// An array of strings whose order means nothing: sorted.
    Set,
}

/// Who sends a call to the provider.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// UCloud's Core, with its token, for a user.
    #[default]
    Core,
    /// The user's own browser, at the provider's origin, without Core: the intent is all that it
    /// has.
    User,
}

/// Which process does what the user's own browser asks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// The user's own instance, which judges again with the keys that the user pinned.
    Instance,
    /// The server, which judges again with the keys of its store.
    Server,
    /// No request of its own: the user signs it as the proof that comes with a one-time token
    /// (protocol, section 7).
    Session,
}

/// One bound parameter of a call.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSpec {
    /// Its name in the object that the user signs.
    pub name: String,
    /// Where it stands in an item of the provider's request; more than one place for spellings of
    /// different Cores.
    pub at: Vec<String>,
    /// How its value is taken.
    #[serde(default)]
    pub kind: Kind,
    /// What Core changes of the value on its way: done on both sides, before anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeSpec>,
}

/// One row of the table, as it is written: in `calls.json` for the browser's signer, and by sites
/// in `[[calls]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RowSpec {
    /// The user-side name, which the intent's `call` must equal.
    pub call: CallName,
    /// The method at the provider.
    pub method: Method,
    /// The path at the provider; `{p}` stands for the provider's id.
    pub path: String,
    /// Who sends it.
    #[serde(default)]
    pub from: Sender,
    /// Which process does it; said of what the user's own browser sends, and of nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    /// How it travels.
    #[serde(default)]
    pub transport: Transport,
    /// Where the items stand.
    pub items: Items,
    /// What the signature binds.
    pub bound: Vec<BoundSpec>,
    /// What Core adds to an item: the subtrees beneath these pointers are let through and never
    /// trusted.
    #[serde(default)]
    pub adds: Vec<String>,
    /// Where an item shows the project, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Where an item repeats the username, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What it can do at least: [`Items::class_of`](crate::bind::Items::class_of) says what one
    /// item can do.
    pub(crate) class: Class,
    /// What raises an item to [`Class::Danger`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask_if: Vec<AskRule>,
    /// How the signer describes it; the standard rows have the signer's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
}

/// Why a row is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowRejection {
    /// A pointer of the row is malformed.
    #[error("call {call}: {pointer:?} is not a JSON pointer: {why}")]
    Pointer {
        /// The row's call.
        call: CallName,
        /// What was written.
        pointer: String,
        /// What is wrong with it.
        why: PointerRejection,
    },
    /// A bound parameter without a place, or two of the same name.
    #[error("call {call}: the bound parameter {name:?} has no place, or stands twice")]
    Bound {
        /// The row's call.
        call: CallName,
        /// The parameter.
        name: String,
    },
    /// A rule about a parameter that the call does not bind.
    #[error("call {call}: ask_if names {parameter:?}, which is no bound parameter of the call")]
    Ask {
        /// The row's call.
        call: CallName,
        /// The parameter.
        parameter: String,
    },
    /// Words that a person cannot be asked with.
    #[error("call {call}: {why}")]
    Words {
        /// The row's call.
        call: CallName,
        /// What is wrong with them.
        why: WordsRejection,
    },
    /// The path is not below `/ucloud/`.
    #[error("call {call}: the path must begin with /ucloud/ and have no empty or dotted segments")]
    Path {
        /// The row's call.
        call: CallName,
    },
    /// A destination on a row that comes from Core, or none on one of the user's own browser; or
    /// what only Core adds.
    #[error(
        "call {call}: a row from the user has a destination, is a POST with one item, and has nothing that Core adds; one from Core has no destination"
    )]
    Sender {
        /// The row's call.
        call: CallName,
    },
    /// Two rows of the same call, or of the same method and path.
    #[error("call {call}: another row has the same call, or the same method and path")]
    Twice {
        /// The later row's call.
        call: CallName,
    },
}

/// A bound parameter, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name in the object that the user signs.
    pub name: String,
    /// Where it may stand.
    pub at: Vec<Pointer>,
    /// How its value is taken.
    pub kind: Kind,
    /// What Core changes of the value on its way.
    pub changes: Vec<Change>,
}

/// A row, ready to judge with.
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
        for BoundSpec { name, at, kind, changes } in &spec.bound {
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
            bound.push(Bound { name: name.clone(), at, kind: *kind, changes });
        }
        if let Some(rule) = spec.ask_if.iter().find(|rule| bound.iter().all(|bound| bound.name != rule.parameter)) {
            return Err(RowRejection::Ask { call, parameter: rule.parameter.clone() });
        }
        if let Some(words) = &spec.words {
            let names: Vec<&str> = bound.iter().map(|bound| bound.name.as_str()).collect();
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

    /// The path at the provider, in full.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the items stand.
    #[must_use]
    pub const fn items(&self) -> Items {
        self.spec.items
    }

    /// What the call can do at least. For binding alone, which looks at each item: a harmless call
    /// may have an item that installs a program.
    pub(crate) const fn least_class(&self) -> Class {
        self.spec.class
    }

    /// What raises an item to [`Class::Danger`].
    pub(crate) fn ask_if(&self) -> &[AskRule] {
        &self.spec.ask_if
    }

    /// Whether a rule can raise an item above what the call can do at least.
    #[must_use]
    pub fn may_be_raised(&self) -> bool {
        self.spec.class < Class::Danger && !self.spec.ask_if.is_empty()
    }

    /// Who sends it.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        self.spec.from
    }

    /// How it travels.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.spec.transport
    }

    /// The bound parameters.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What an item may contain.
    #[must_use]
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Where an item shows the project.
    #[must_use]
    pub const fn project(&self) -> Option<&Pointer> {
        self.project.as_ref()
    }

    /// Where an item repeats the username.
    #[must_use]
    pub const fn username(&self) -> Option<&Pointer> {
        self.username.as_ref()
    }

    /// The row as it is written.
    #[must_use]
    pub const fn spec(&self) -> &RowSpec {
        &self.spec
    }
}

impl RowSpec {
    /// The class for people who read the table.
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

    /// Whether the row says of its sender what there is to say, and no more.
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
            }
        }
    }
}
