//! `[maintenance]`: whether users are served. Read again by the server on `SIGHUP`, which tells the
//! gateway.
//!
//! What is under way goes on; Core's own calls, connections and pages are served as ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use countersign_keys::identity::Username;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Reader, Role};

/// Who is served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Maintenance {
    /// Everybody.
    None,
    /// These users and nobody else.
    ForAllBut(BTreeSet<Username>),
}

impl Maintenance {
    /// Whether this user is served.
    pub(crate) fn admits(&self, username: &Username) -> bool {
        match self {
            Self::None => true,
            Self::ForAllBut(allowed) => allowed.contains(username),
        }
    }
}

/// What is in force at this moment; locked for a lookup or an exchange, and never across a wait.
#[derive(Debug)]
pub(crate) struct CurrentMaintenance(RwLock<Maintenance>);

impl CurrentMaintenance {
    /// Begins with what the configuration says.
    pub(crate) const fn new(maintenance: Maintenance) -> Self {
        Self(RwLock::new(maintenance))
    }

    /// Whether this user is served.
    pub(crate) fn admits(&self, username: &Username) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).admits(username)
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Maintenance {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in force.
    pub(crate) fn set(&self, maintenance: Maintenance) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = maintenance;
    }

    /// Reads the file again, as that process reads it. With anything wrong in it nothing changes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn reload(&self, file: &Path, role: Role) -> Result<(), ConfigError> {
        let maintenance = Config::load_as(file, Reader::own(role))?.maintenance;
        let is_on = maintenance != Maintenance::None;
        self.set(maintenance);
        tracing::info!(maintenance = is_on, "configuration read again");
        Ok(())
    }
}
