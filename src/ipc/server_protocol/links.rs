//! Messages of an account's processes for the server about public links.
//!
//! An account sees and changes its own users' links alone. The account's own instance has verified
//! the user's signature before it sends one.

use countersign_keys::identity::{CoreJobId, CoreResourceId, LinkName, Username};
use serde::{Deserialize, Serialize};

/// Records a link that one of the account's users creates. [`LinkMade`] → `{}`; refused with 409 if
/// another user has the name.
pub const LINKS_MAKE: &str = "/links/make";
/// Removes a user's link. Answers when no gateway passes on a request for it any more. Succeeds if
/// there is none of that number. [`ResourceRemoved`](super::ResourceRemoved) → [`LinkForgotten`].
pub const LINKS_REMOVE: &str = "/links/remove";
/// Lists a user's links. [`LinksList`] → [`Links`].
pub const LINKS_LIST: &str = "/links/list";

/// A link that one of the account's users creates.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkMade {
    /// The user who signed.
    pub username: Username,
    /// What its host name says between the site's prefix and suffix.
    pub name: LinkName,
    /// UCloud's number.
    pub number: CoreResourceId,
}

/// What was removed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkForgotten {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<LinkName>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinksList {
    /// One of the account's users.
    pub username: Username,
}

/// A user's links: at most [`countersign_keys::store::links::LINKS_MAX`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Links {
    pub links: Vec<KnownLink>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KnownLink {
    pub name: LinkName,
    /// UCloud's number.
    pub number: CoreResourceId,
    /// The job that has the link, until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<CoreJobId>,
}
