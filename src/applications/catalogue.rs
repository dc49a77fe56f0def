//! The applications that an administrator approved, and the evidence that one may start.

use std::path::PathBuf;

use countersign_config::Applications;
use countersign_keys::identity::Uid;

use crate::invocation::Invocation;

/// The folder of approved applications.
#[derive(Clone, Debug)]
pub struct Catalogue {
    _folder: PathBuf,
}

/// An application as an administrator approved it. Only [`Catalogue`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    invocation: Invocation,
}

/// An application that runs only the script which the user signed as a parameter. Only
/// [`Catalogue`] makes one.
#[derive(Clone, Debug)]
pub struct WorkflowOnly {
    _private: (),
}

/// What may start.
#[derive(Clone, Debug)]
pub enum Startable {
    Approved(Approved),
    WorkflowOnly(WorkflowOnly),
}

/// Why an application may not start.
#[derive(Debug, thiserror::Error)]
pub enum NotApproved {
    /// No version of this name and version was approved.
    #[error("the application is not approved at this computing centre")]
    Unknown,
    /// Core sent another application under the name and version of an approved one.
    #[error("the application is not the one that was approved at this computing centre")]
    Different,
    /// This build has no catalogue.
    #[error("this provider does not offer this")]
    NotOffered,
}

impl Catalogue {
    /// `reader` is the account that reads the approved files.
    pub fn at(applications: &Applications, _reader: Uid) -> Self {
        Self { _folder: applications.folder.clone() }
    }

    /// The application of this name and version, as it was approved.
    pub fn approved(&self, _name: &str, _version: &str) -> Result<Approved, NotApproved> {
        Err(NotApproved::NotOffered)
    }

    /// What may start as this name and version, if Core says that this is what it is.
    pub fn startable(&self, _name: &str, _version: &str, _sent: &Invocation) -> Result<Startable, NotApproved> {
        Err(NotApproved::NotOffered)
    }

    /// What may start as this name and version, without a word of Core: for a preview. An
    /// application that is not approved can only be a workflow's.
    pub fn without_core(&self, _name: &str, _version: &str) -> Result<Startable, NotApproved> {
        Err(NotApproved::NotOffered)
    }
}

impl Approved {
    pub const fn invocation(&self) -> &Invocation {
        &self.invocation
    }
}
