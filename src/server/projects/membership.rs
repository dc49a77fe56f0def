//! Takes up Core's events about projects: the durable record first, then the table.

use std::sync::Arc;

use countersign_keys::identity::ProjectId;
use countersign_keys::store::projects::{AppliedGroup, ProjectRecord};

use super::rules::{self, NotTaken, Taken};
use super::table::Room;
use crate::audit::record::AuditedAction;
use crate::events::project::SeenProject;
use crate::http::reply::{Refusal, blocking};
use crate::state::Server;
use countersign_ipc::alarm::Alarm;

/// The name of a removal in the audit log.
const REMOVED: &str = "projects.removed";

/// Takes up an event. A failure of the store or of the audit log changes nothing.
pub(crate) async fn take_up(server: &Arc<Server>, seen: &SeenProject) -> Result<(), Refusal> {
    let Some(config) = &server.config.projects else { return Ok(()) };
    let _one_at_a_time = server.projects.writing.lock().await;
    let now = server.clock.now()?;
    let known = server.projects.one(&seen.id);
    let mut record = known.clone().unwrap_or_else(|| rules::unknown(seen.id.clone()));
    let elsewhere = server.projects.removed_elsewhere(&seen.id, now);
    let taken = match rules::take_up(&mut record, seen, config.removals, elsewhere, now) {
        Ok(taken) => taken,
        Err(reason @ NotTaken::Old) => {
            tracing::debug!(project = %seen.id, %reason, "ignored event");
            return Ok(());
        }
        Err(reason @ NotTaken::Early) => {
            tracing::warn!(project = %seen.id, %reason, "ignored event");
            return Ok(());
        }
    };
    if known.as_ref() == Some(&record) {
        return Ok(());
    }
    let displaced = match known.map_or_else(|| server.projects.room(), |_| Room::Free) {
        Room::Free => None,
        Room::Of(displaced) => Some(displaced),
        Room::None => {
            tracing::warn!(project = %seen.id, "ignored event: there are as many projects as there can be");
            return Ok(());
        }
    };
    record_removals(server, &seen.id, &taken)?;
    write(server, record, displaced).await?;
    server.projects.news.notify_one();
    if !taken.held.is_empty() {
        tracing::warn!(project = %seen.id, members = taken.held.len(), "held back removals");
        server.alarms.raise(Alarm::ProjectRemovals, taken.held.first());
    }
    Ok(())
}

/// Records what a project's group is.
pub(crate) async fn note_applied(
    server: &Arc<Server>,
    project: &ProjectId,
    applied: AppliedGroup,
) -> Result<(), Refusal> {
    let _one_at_a_time = server.projects.writing.lock().await;
    let Some(record) = server.projects.one(project) else { return Ok(()) };
    write(server, ProjectRecord { applied: Some(applied), ..record }, None).await
}

/// Records removals before they are done (P9).
fn record_removals(server: &Server, project: &ProjectId, taken: &Taken) -> Result<(), Refusal> {
    for (username, role) in &taken.removed {
        let note = format!("{project} {}", role.word());
        server.record(&AuditedAction {
            username: Some(username),
            note: Some(&note),
            ..AuditedAction::of("core", REMOVED)
        })?;
    }
    Ok(())
}

/// Writes a changed record. The caller holds [`super::table::ProjectTable::writing`].
async fn write(server: &Arc<Server>, record: ProjectRecord, displaced: Option<ProjectId>) -> Result<(), Refusal> {
    let (records, written, removed) = (Arc::clone(&server.records), record.clone(), displaced.clone());
    blocking(move || Ok(records.note_project(&written, removed.as_ref())?)).await?;
    let mut projects = server.projects.lock();
    if let Some(displaced) = displaced {
        projects.remove(&displaced);
    }
    projects.insert(record.id.clone(), record);
    Ok(())
}
