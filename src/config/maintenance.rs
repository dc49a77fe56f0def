//! `[maintenance]`: whether users are served. The server rereads it on `SIGHUP` and tells the
//! gateway.
//!
//! Requests in flight continue. Core's own calls, connections and pages are served as usual.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use countersign_keys::identity::Username;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Reader, Role};

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

/// The present state. Locked for a lookup or an exchange, never across an await.
#[derive(Debug)]
pub struct CurrentMaintenance(RwLock<Maintenance>);

impl CurrentMaintenance {
    pub const fn new(maintenance: Maintenance) -> Self {
        Self(RwLock::new(maintenance))
    }

    pub fn admits(&self, username: &Username) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).admits(username)
    }

    pub fn current(&self) -> Maintenance {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, maintenance: Maintenance) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = maintenance;
    }

    /// Reloads the file for that role. An invalid file changes nothing.
    ///
    /// # Errors
    /// If the file is invalid.
    pub fn reload(&self, file: &Path, role: Role) -> Result<(), ConfigError> {
        let maintenance = Config::load_as(file, Reader::own(role))?.maintenance;
        let is_on = maintenance != Maintenance::None;
        self.set(maintenance);
        tracing::info!(maintenance = is_on, "reloaded configuration");
        Ok(())
    }
}
