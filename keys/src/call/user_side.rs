//! The user side of a row: the user's own request to UCloud, from which Core makes the provider's
//! request (protocol, section 4).
//!
//! Data alone: the signer in the browser interprets it (`web/js/user-side.js`), the provider never
//! does. `tests/user_side.rs` interprets it too, and compares the result with what the real Core
//! sent. Every set is closed: a signer that meets an unknown member signs nothing of that table.

use serde::{Deserialize, Serialize};

use crate::call::{Method, Pointer, PointerRejection, Transport};

/// One request of the user to UCloud.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserSide {
    /// The method at UCloud; `GET` for a WebSocket.
    pub method: Method,
    /// The path at UCloud.
    pub path: String,
    /// How the request is sent.
    #[serde(default)]
    pub transport: Transport,
    /// The `call` of the message, on a WebSocket that carries calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a signer does with it.
    pub effect: Effect,
}

/// What a signer does with a user's request.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It signs the provider's requests that Core makes of it.
    Signed(Signed),
    /// Nothing: Core answers by itself, and the provider is not told.
    Core,
    /// It refuses the request: the user cannot sign what the provider will receive.
    Unsignable(Unsignable),
}

/// Why a user cannot sign what the provider will receive.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unsignable {
    /// A transfer between two centres: they agree on values that the user does not know.
    Transfer,
    /// Accepting a share link: Core then acts in the name of the user who made the link.
    ShareLink,
    /// A UCX application: its calls are inside a binary socket, and Core makes requests of them.
    Ucx,
}

/// How the bound parameters of each provider request are made from the user's request.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The place of the items in the user's request.
    pub place: Place,
    /// How Core splits the items.
    pub split: Split,
    /// The project to sign.
    pub project: InProject,
    /// The bound parameters. One that is not taken is null.
    pub takes: Vec<Take>,
}

/// The place of the items in a user's request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `{"items": [ … ]}`
    Items,
    /// The body is the only item.
    Body,
    /// The parameters of the query are the members of the only item. All are texts.
    Query,
    /// `payload` of the message is the only item.
    Payload,
}

/// The provider requests that Core makes of the items of one user's request.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// One for each provider, with all items of that provider in the user's order.
    Provider(Found),
    /// One for each item.
    Item(Found),
    /// One to every provider that the user is connected to.
    Every,
}

/// How something is found from a value in an item.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// What the value names.
    pub by: Subject,
    /// The place of the value in the item.
    pub at: String,
}

/// What a value names. Everything but [`Subject::Provider`] takes a record of provider and owner,
/// which the signer has from earlier answers or asks of the provider.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The provider's id. If it is absent or null, Core asks no provider.
    Provider,
    /// A path, whose first component is the number of a drive.
    Path,
    /// The number of a drive.
    Drive,
    /// The id of a job.
    Job,
    /// The id of a public link, an address, a licence, a private network or a share.
    Resource,
    /// The number of a task.
    Task,
    /// The id of an API token.
    Token,
}

/// The project to sign.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InProject {
    /// The one that the user acts in: header `Project`, or member `project` of a message; null if
    /// absent.
    Acting,
    /// None, whatever the request says.
    None,
    /// That of the owner of the drive or resource.
    Owner(Found),
}

/// How one bound parameter is made. The row's [`changes`](crate::call::BoundSpec::changes) and
/// [`kind`](crate::call::BoundSpec::kind) are applied afterwards, as for every signer.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The bound parameter.
    pub name: String,
    /// The place of the value in the item; empty for the whole item.
    pub from: String,
    /// The subtrees that Core keeps of the value. Empty if it keeps all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
    /// If present, the parameter is a list that Core holds, changed by the values of all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Listed>,
}

/// A list that Core holds for the user and sends whole after each change.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The path at UCloud that lists it, in pages.
    pub browse: String,
    /// The place in a listed item of the value that is sent.
    pub each: String,
    /// How the request changes the list.
    pub change: ListChange,
}

/// How a request changes a list.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListChange {
    /// The values of the items are added.
    Add,
    /// The listed items are removed whose value at this place is a value of the items.
    Remove(String),
}

/// Why a user side is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserSideRejection {
    /// A path that is not below `/api/`.
    #[error("{0:?} must begin with /api/ and have no empty or dotted segments")]
    Path(String),
    /// A malformed pointer.
    #[error("{0:?} is not a JSON pointer: {1}")]
    Pointer(String, PointerRejection),
    /// A parameter that the call does not bind, or one that is taken twice.
    #[error("takes names {0:?}, which is not a bound parameter of the call, or is taken twice")]
    Take(String),
    /// Items in a place that the request does not have.
    #[error("the items of a GET are in its query, those of a message in its payload, and no others there")]
    Place,
}

impl UserSide {
    /// Checks what the types do not say. `bound` has the names of the row's bound parameters.
    pub(super) fn check(&self, bound: &[&str]) -> Result<(), UserSideRejection> {
        check_path(&self.path)?;
        let Effect::Signed(signed) = &self.effect else { return Ok(()) };
        let fits = match signed.place {
            Place::Payload => self.transport == Transport::WebSocket && self.message.is_some(),
            Place::Query => self.transport == Transport::Http && self.method == Method::Get,
            Place::Items | Place::Body => self.transport == Transport::Http && self.method != Method::Get,
        };
        if !fits || (self.transport == Transport::Http && self.message.is_some()) {
            return Err(UserSideRejection::Place);
        }
        match &signed.split {
            Split::Provider(found) | Split::Item(found) => check_pointer(&found.at)?,
            Split::Every => {}
        }
        if let InProject::Owner(found) = &signed.project {
            check_pointer(&found.at)?;
        }
        for (position, take) in signed.takes.iter().enumerate() {
            let is_repeated = signed.takes.iter().take(position).any(|earlier| earlier.name == take.name);
            if is_repeated || !bound.contains(&take.name.as_str()) {
                return Err(UserSideRejection::Take(take.name.clone()));
            }
            take.check()?;
        }
        Ok(())
    }

    /// Whether a request that is the one can be the other.
    pub(super) fn is_same_request(&self, other: &Self) -> bool {
        (self.method, &self.path, self.transport, &self.message)
            == (other.method, &other.path, other.transport, &other.message)
    }
}

impl Take {
    fn check(&self) -> Result<(), UserSideRejection> {
        if !self.from.is_empty() {
            check_pointer(&self.from)?;
        }
        self.keeps.iter().try_for_each(|pointer| check_pointer(pointer))?;
        let Some(list) = &self.list else { return Ok(()) };
        check_path(&list.browse)?;
        check_pointer(&list.each)?;
        match &list.change {
            ListChange::Add => Ok(()),
            ListChange::Remove(pointer) => check_pointer(pointer),
        }
    }
}

fn check_pointer(text: &str) -> Result<(), UserSideRejection> {
    Pointer::parse(text).map(|_| ()).map_err(|why| UserSideRejection::Pointer(text.to_owned(), why))
}

fn check_path(path: &str) -> Result<(), UserSideRejection> {
    let is_plain = |segments: &str| segments.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if path.strip_prefix("/api/").is_some_and(is_plain) {
        Ok(())
    } else {
        Err(UserSideRejection::Path(path.to_owned()))
    }
}
