//! Decisions of administrators about members that Core lists.

use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::store::projects::ProjectRecord;

use super::listing::{require_administrator, what_waits};
use super::rules::{self, Confirmed};
use crate::audit::record::AuditedAction;
use crate::connections::approval::asker;
use crate::http::reply::{Refusal, blocking};
use crate::state::Server;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    DecidedMember, Empty, PROJECTS_DECIDE, PROJECTS_DECIDED_MAX, ProjectsDecided, ProjectsDecision,
};

/// Decides about members of one project: all of them or none.
pub(crate) async fn decide(server: &Arc<Server>, uid: Uid, decided: ProjectsDecided) -> Result<Empty, Refusal> {
    require_administrator(server, uid)?;
    let ProjectsDecided { project, members, decision } = decided;
    if members.is_empty() || members.len() > PROJECTS_DECIDED_MAX {
        return Err(Refusal::bad_request(format!("name 1 to {PROJECTS_DECIDED_MAX} members")));
    }
    let _one_at_a_time = server.projects.writing.lock().await;
    let now = server.clock.now()?;
    let unknown = || Refusal::not_found("UCloud has described no project of this id");
    let mut record = server.projects.one(&project).ok_or_else(unknown)?;
    let asker = asker(uid);
    let mut notes = Vec::new();
    for decided in &members {
        if !is_as_seen(&record, decided) {
            let why = format!("{}: UCloud has changed this member since: look again", decided.username);
            return Err(Refusal::new(ErrorCode::Conflict, why));
        }
        let username = &decided.username;
        let note = match decision {
            ProjectsDecision::Approve => rules::approve(&mut record, username, &asker, now).map(|done| match done {
                Confirmed::Admitted(role) => format!("approve {project} {}", role.word()),
                Confirmed::Removed => format!("remove {project}"),
            }),
            ProjectsDecision::Reject => {
                rules::reject(&mut record, username).map(|role| format!("reject {project} {}", role.word()))
            }
        };
        notes.push(note.map_err(|why| Refusal::bad_request(format!("{username}: {why}")))?);
    }
    // Recorded before it is done (P9).
    for (decided, note) in members.iter().zip(&notes) {
        let action = AuditedAction::of(&asker, PROJECTS_DECIDE);
        server.record(&AuditedAction { username: Some(&decided.username), note: Some(note), ..action })?;
    }
    let needs_number = record.group.is_none() && record.members.values().any(|one| one.confirmed().is_some());
    let (records, written) = (Arc::clone(&server.records), record.clone());
    record.group = blocking(move || {
        if needs_number {
            return Ok(Some(records.number_project(&written)?));
        }
        records.note_project(&written, None)?;
        Ok(written.group)
    })
    .await?;
    server.projects.lock().insert(project, record);
    server.projects.news.notify_one();
    Ok(Empty {})
}

/// Whether the member is what the administrator saw: Core could name a higher role in between.
fn is_as_seen(record: &ProjectRecord, decided: &DecidedMember) -> bool {
    let member = record.members.get(&decided.username);
    member.is_none_or(|member| member.role == decided.role && what_waits(member) == decided.waits)
}
