//! Messages about applications that wait for an administrator's review.
//!
//! An instance offers what UCloud sent; the text is the account's word and has no authority. Only
//! administrators list, read and decide.

use countersign_keys::identity::Uid;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Offers an application that is not approved. [`ApplicationOffered`] → `{}`.
pub const APPLICATIONS_OFFERED: &str = "/applications/offered";
/// Lists the applications that wait. `{}` → [`PendingApplications`].
pub const APPLICATIONS_PENDING: &str = "/applications/pending";
/// Reads one of them. [`ApplicationNamed`] → [`ApplicationText`].
pub const APPLICATIONS_SHOW: &str = "/applications/show";
/// Records a decision about one of them. [`ApplicationDecided`] → [`ApplicationText`].
pub const APPLICATIONS_DECIDE: &str = "/applications/decide";

/// Longest application that is offered, in bytes: with its quotes escaped, twice as much, it fits
/// into an answer of [`super::BODY_MAX`].
pub const APPLICATION_MAX: usize = 96 * 1024;

/// Longest name, and longest version, in bytes: a file's name has no room for more.
pub const APPLICATION_NAME_MAX: usize = 250;

/// An application that a job asked for and that is not approved.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationOffered {
    pub name: String,
    pub version: String,
    /// In canonical form, so that its SHA-256 is the digest: at most [`APPLICATION_MAX`].
    pub invocation: String,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PendingApplications {
    /// In the order in which they were offered.
    pub applications: Vec<PendingApplication>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PendingApplication {
    pub name: String,
    pub version: String,
    /// SHA-256 of the text, in hexadecimal.
    pub digest: String,
    /// The account that offered it first.
    pub uid: Uid,
    pub offered: Timestamp,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationNamed {
    pub name: String,
    pub version: String,
    pub digest: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationText {
    pub invocation: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationDecided {
    pub application: ApplicationNamed,
    pub decision: ApplicationDecision,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ApplicationDecision {
    /// Recorded before the file is written; the application waits until [`Self::Written`].
    Approve,
    /// The file is written: nothing waits any longer.
    Written,
    Reject,
}
