//! This account's own record of each job: the authority for every later call on that id.
//!
//! A record is written before `sbatch` is run, with the random tag that the job will carry, so that
//! a job whose number is not on record can be found (protocol, section 12).

use countersign_keys::identity::{CoreJobId, LinkName, Project, Username};
use countersign_slurm::SlurmJobId;
use serde::{Deserialize, Serialize};

use super::interfaces::Interfaces;

/// What is known of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The user who signed.
    pub(crate) username: Username,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<Project>,
    /// The name and version that the user signed.
    pub(crate) application: (String, String),
    /// Marks the job at Slurm, in its comment.
    pub(crate) tag: String,
    /// When it was about to be submitted, in Unix seconds.
    pub(crate) begun_at: i64,
    /// The drive and the names below it of the job's folder.
    pub(crate) folder: JobFolder,
    pub(crate) nodes: u32,
    /// What users can open of it.
    #[serde(default, skip_serializing_if = "Interfaces::is_empty")]
    pub(crate) interfaces: Interfaces,
    /// The public links that the user signed for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<JobLink>,
    pub(crate) state: RecordState,
}

/// The folder of a job, in a configured drive.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobFolder {
    /// The id of the drive.
    pub(crate) drive: String,
    /// The folder with a folder for each job.
    pub(crate) within: String,
    pub(crate) job: CoreJobId,
}

impl JobFolder {
    /// The UCloud path, with the drive by this name: its id, or UCloud's number of it.
    pub(crate) fn path(&self, drive: &str) -> String {
        format!("/{drive}/{}/{}", self.within, self.job)
    }

    /// The UCloud path of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path(&self.drive))
    }
}

/// A public link of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobLink {
    pub(crate) name: LinkName,
    /// The port on the job's first node that the user signed; `None` for the application's own web
    /// interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RecordState {
    /// `sbatch` may be running, or may have been cut short.
    AboutToSubmit,
    Submitted {
        slurm_id: SlurmJobId,
    },
    /// There is no such job at Slurm, or none any more.
    Ended {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slurm_id: Option<SlurmJobId>,
    },
}

impl Record {
    /// Slurm's number of the job, if it was submitted.
    pub(crate) const fn slurm_id(&self) -> Option<SlurmJobId> {
        match self.state {
            RecordState::AboutToSubmit => None,
            RecordState::Submitted { slurm_id } => Some(slurm_id),
            RecordState::Ended { slurm_id } => slurm_id,
        }
    }

    /// Its link of that name.
    pub(crate) fn link(&self, name: &LinkName) -> Option<&JobLink> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// The ports on a node that users may reach, without the one that the script chooses.
    pub(crate) fn ports(&self, rank: u32) -> Vec<u16> {
        let mut ports = self.interfaces.ports(rank);
        if rank == 0 {
            ports.extend(self.links.iter().filter_map(|link| link.port));
        }
        ports
    }

    pub(crate) fn in_state(&self, state: RecordState) -> Self {
        Self { state, ..self.clone() }
    }
}
