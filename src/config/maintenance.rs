//! `[maintenance]`: whether users are served.
//!
//! Requests in flight continue. Core's own calls, connections and pages are served as usual.

use std::collections::BTreeSet;

use countersign_keys::identity::Username;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Maintenance {
    /// No maintenance: all users are served.
    None,
    /// Only these users are served.
    ForAllBut(BTreeSet<Username>),
}

impl Maintenance {
    pub fn admits(&self, username: &Username) -> bool {
        match self {
            Self::None => true,
            Self::ForAllBut(allowed) => allowed.contains(username),
        }
    }
}
