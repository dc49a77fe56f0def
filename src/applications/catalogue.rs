//! The applications that an administrator approved, and the evidence that one may start.
//!
//! An approved application is a file of root's that holds the whole invocation
//! (`FOLDER/NAME/VERSION.json`, see [`mod@file_name`]). That text runs, never Core's: Core's only
//! has to have the same digest. Nothing else can make a [`Startable`].

mod file_name;

use std::path::{Path, PathBuf};

use countersign_config::admin_file::{self, FileReason};
use countersign_config::{Accept, Applications};
use countersign_keys::identity::Uid;

pub use crate::catalogue::file_name::NameRejection;
use crate::invocation::{Digest, INVOCATION_MAX, Invocation, InvocationRejection};

/// Most applications that are listed.
const LISTED_MAX: usize = 10_000;

/// The folder of approved applications.
#[derive(Clone, Debug)]
pub struct Catalogue {
    applications: Applications,
    reader: Uid,
}

/// An application as an administrator approved it. Only [`Catalogue`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    name: String,
    version: String,
    invocation: Invocation,
}

/// An application that runs only the script which the user signed as a parameter. Nothing of Core's
/// word is in it. Only [`Catalogue`] makes one.
#[derive(Clone, Debug)]
pub struct WorkflowOnly {
    name: String,
    version: String,
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
    /// No application of this name and version was approved.
    #[error("the application is not approved at this computing centre")]
    Unknown,
    /// Core sent another application under the name and version of an approved one.
    #[error("the application is not the one that was approved at this computing centre")]
    Different,
    #[error(transparent)]
    Name(#[from] NameRejection),
    /// The approved file, or its folder, is not as it must be.
    #[error("the approved application cannot be read")]
    File(#[source] FileReason),
    /// The approved file is not an application.
    #[error("the approved application is damaged")]
    Damaged(#[source] InvocationRejection),
}

impl NotApproved {
    /// Whether an approval would help: then the application is offered for review.
    pub const fn is_for_review(&self) -> bool {
        matches!(self, Self::Unknown | Self::Different)
    }
}

/// An entry of the list of approved applications.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listed {
    pub name: String,
    pub version: String,
    pub path: PathBuf,
}

impl Catalogue {
    /// Files must belong to root or to `reader`, the account that reads them.
    pub fn at(applications: &Applications, reader: Uid) -> Self {
        Self { applications: applications.clone(), reader }
    }

    /// The application of this name and version, as it was approved.
    pub fn approved(&self, name: &str, version: &str) -> Result<Approved, NotApproved> {
        if !self.applications.accept.contains(&Accept::Approved) {
            return Err(NotApproved::Unknown);
        }
        let invocation = self.read(name, version)?;
        Ok(Approved { name: name.to_owned(), version: version.to_owned(), invocation })
    }

    /// What may start as this name and version, if Core says that `sent` is what it is.
    pub fn startable(&self, name: &str, version: &str, sent: &Invocation) -> Result<Startable, NotApproved> {
        match self.approved(name, version) {
            Ok(approved) if approved.digest() == sent.digest() => Ok(Startable::Approved(approved)),
            Ok(_) => Err(NotApproved::Different),
            Err(NotApproved::Unknown) if sent.is_workflow_only() => self.workflow_only(name, version),
            Err(refused) => Err(refused),
        }
    }

    /// What may start as this name and version, without a word of Core: for a preview. An
    /// application that is not approved can only be a workflow's.
    pub fn without_core(&self, name: &str, version: &str) -> Result<Startable, NotApproved> {
        match self.approved(name, version) {
            Ok(approved) => Ok(Startable::Approved(approved)),
            Err(NotApproved::Unknown) => self.workflow_only(name, version),
            Err(refused) => Err(refused),
        }
    }

    fn workflow_only(&self, name: &str, version: &str) -> Result<Startable, NotApproved> {
        if !self.applications.accept.contains(&Accept::Workflow) {
            return Err(NotApproved::Unknown);
        }
        Ok(Startable::WorkflowOnly(WorkflowOnly { name: name.to_owned(), version: version.to_owned() }))
    }

    /// The file of an application, whether it is there or not.
    pub fn path(&self, name: &str, version: &str) -> Result<PathBuf, NameRejection> {
        Ok(self.applications.folder.join(file_name::of(name, version)?))
    }

    /// The approved text, whatever `applications.accept` says.
    pub fn read(&self, name: &str, version: &str) -> Result<Invocation, NotApproved> {
        let path = self.path(name, version)?;
        let file =
            |reason: FileReason| if reason.is_absence() { NotApproved::Unknown } else { NotApproved::File(reason) };
        for folder in [Some(self.applications.folder.as_path()), path.parent()].into_iter().flatten() {
            admin_file::check_directory(folder, self.reader).map_err(file)?;
        }
        let max = u64::try_from(INVOCATION_MAX).unwrap_or(u64::MAX);
        let text = admin_file::read_text(&path, max, self.reader).map_err(file)?;
        Invocation::parse(text.as_bytes()).map_err(NotApproved::Damaged)
    }

    /// Every approved application, by name and version. Files of other names are none.
    pub fn list(&self) -> Result<Vec<Listed>, std::io::Error> {
        let mut listed = Vec::new();
        for (name, folder) in entries(&self.applications.folder, file_name::read)? {
            for (version, path) in entries(&folder, file_name::read_version)? {
                if listed.len() >= LISTED_MAX {
                    break;
                }
                listed.push(Listed { name: name.clone(), version, path });
            }
        }
        listed.sort();
        Ok(listed)
    }
}

/// The entries of a folder whose names are written by [`mod@file_name`]; none without a folder.
fn entries(folder: &Path, read: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, PathBuf)>, std::io::Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(LISTED_MAX) {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(&read) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

impl Approved {
    pub const fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    pub const fn digest(&self) -> Digest {
        self.invocation.digest()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }
}

impl WorkflowOnly {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }
}

#[cfg(any(test, fuzzing))]
impl Startable {
    /// Without a file, for tests.
    pub(crate) fn approved_without_file(name: &str, version: &str, invocation: Invocation) -> Self {
        Self::Approved(Approved { name: name.to_owned(), version: version.to_owned(), invocation })
    }

    /// Without a configuration, for tests.
    pub(crate) fn workflow_without_configuration(name: &str, version: &str) -> Self {
        Self::WorkflowOnly(WorkflowOnly { name: name.to_owned(), version: version.to_owned() })
    }
}

#[cfg(test)]
mod tests;
