//! Messages of an account's processes for the server about licences.
//!
//! An account reads its own users' licences alone. The account's own instance has verified the
//! user's signature before it records one.

use countersign_keys::identity::{CoreResourceId, Username};
use serde::{Deserialize, Serialize};

/// Records a licence that one of the account's users creates. [`LicenceMade`] → `{}`.
pub const LICENCES_MAKE: &str = "/licences/make";
/// Removes a user's licence. Succeeds if there is none of that number.
/// [`ResourceRemoved`](super::ResourceRemoved) → `{}`.
pub const LICENCES_REMOVE: &str = "/licences/remove";
/// Reads what some of a user's licences are. [`LicencesRead`] → [`Licences`].
pub const LICENCES_READ: &str = "/licences/read";

/// A licence that one of the account's users creates.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LicenceMade {
    /// The user who signed.
    pub username: Username,
    /// The name of the product that the user signed.
    pub product: String,
    /// UCloud's number.
    pub number: CoreResourceId,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LicencesRead {
    /// One of the account's users.
    pub username: Username,
    /// UCloud's numbers: at most [`countersign_keys::store::licences::LICENCES_MAX`].
    pub numbers: Vec<CoreResourceId>,
}

/// Of the numbers that were asked for, those that are the user's licences.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Licences {
    pub licences: Vec<KnownLicence>,
}

#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KnownLicence {
    /// UCloud's number.
    pub number: CoreResourceId,
    /// What a script gets. A secret of the site that the user's jobs may read, so there is no
    /// `Debug`.
    pub value: String,
}
