//! The projects on record, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::ProjectId;
use countersign_keys::store::projects::{PROJECTS_MAX, ProjectRecord};
use countersign_keys::time::Timestamp;
use tokio::sync::Notify;

use super::rules::is_recent;

/// The projects. At most [`PROJECTS_MAX`]; one that the centre has never admitted a member of makes
/// room for another.
#[derive(Debug, Default)]
pub(crate) struct ProjectTable {
    projects: Mutex<BTreeMap<ProjectId, ProjectRecord>>,
    /// Held during a change of a project and of its record.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Notified when a group may have to change.
    pub(crate) news: Notify,
}

impl ProjectTable {
    /// The projects that an earlier run of the server has recorded.
    pub(crate) fn left_behind(projects: Vec<ProjectRecord>) -> Self {
        let projects = projects.into_iter().map(|project| (project.id.clone(), project)).collect();
        Self { projects: Mutex::new(projects), ..Self::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectId, ProjectRecord>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn one(&self, id: &ProjectId) -> Option<ProjectRecord> {
        self.lock().get(id).cloned()
    }

    /// How many confirmed members of other projects were removed within the hour.
    pub(crate) fn removed_elsewhere(&self, id: &ProjectId, now: Timestamp) -> usize {
        let projects = self.lock();
        let others = projects.values().filter(|project| project.id != *id);
        others.map(|project| project.removed.iter().filter(|at| is_recent(**at, now)).count()).sum()
    }

    /// Whether there is room for another project, and which one makes it: of those without a group
    /// the one that was changed first.
    pub(crate) fn room(&self) -> Room {
        let projects = self.lock();
        if projects.len() < PROJECTS_MAX {
            return Room::Free;
        }
        let least = projects.values().filter(|project| project.group.is_none()).min_by_key(|one| one.modified_ms);
        least.map_or(Room::None, |project| Room::Of(project.id.clone()))
    }
}

/// The room for another project.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Room {
    Free,
    /// In place of this one.
    Of(ProjectId),
    None,
}
