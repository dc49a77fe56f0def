//! The rules of membership: what an event of Core's changes by itself, and what waits.
//!
//! Pure: records in, records out, with the time as an argument. Additions and higher roles wait for
//! a confirmation. Removals and lower roles act at once, except for the last confirmed PI, and up
//! to a number an hour.

use std::collections::BTreeMap;

use countersign_config::Removals;
use countersign_keys::identity::{ProjectId, Username};
use countersign_keys::store::projects::{Member, MemberState, ProjectRecord, ProjectRole};
use countersign_keys::time::Timestamp;

use crate::events::project::SeenProject;

/// The time in which removals are counted, in seconds.
pub(crate) const HOUR_S: i64 = 3_600;

/// How far Core's clock may be ahead, in seconds. An event of a later time would make Core's next
/// ones old.
const AHEAD_MAX_S: i64 = 600;

/// What an event has changed, beside names and roles that wait.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Taken {
    /// Confirmed members that were removed.
    pub(crate) removed: Vec<(Username, ProjectRole)>,
    /// Confirmed members whose removal waits from now on.
    pub(crate) held: Vec<Username>,
}

/// Why an event is ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("it is older than one that was handled")]
    Old,
    #[error("it is of a time that is still to come")]
    Early,
}

/// What waits for a confirmation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waiting {
    Addition,
    HigherRole,
    Removal,
}

/// What a confirmation did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Confirmed {
    Admitted(ProjectRole),
    Removed,
}

/// Why nothing can be decided of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NothingToDecide {
    #[error("UCloud lists no such member in this project")]
    NotListed,
    #[error("nothing waits for a decision about this member")]
    NothingWaits,
    #[error("a removal cannot be rejected: until it is approved the member stays")]
    Removal,
}

/// A project of which nothing is known yet.
pub(crate) const fn unknown(id: ProjectId) -> ProjectRecord {
    ProjectRecord {
        id,
        title: String::new(),
        modified_ms: i64::MIN,
        is_archived: false,
        group: None,
        members: BTreeMap::new(),
        removed: Vec::new(),
        applied: None,
    }
}

/// Whether a removal still counts.
pub(crate) const fn is_recent(removed: Timestamp, now: Timestamp) -> bool {
    now.since(removed) < HOUR_S
}

/// What waits for a confirmation of that member.
pub(crate) fn waiting(member: &Member) -> Option<Waiting> {
    if member.leaving.is_some() {
        return Some(Waiting::Removal);
    }
    if member.rejected == Some(member.role) {
        return None;
    }
    match member.confirmed() {
        None => Some(Waiting::Addition),
        Some(confirmed) if confirmed < member.role => Some(Waiting::HigherRole),
        Some(_) => None,
    }
}

/// Changes a record by an event. `removed_elsewhere` is how many members of other projects were
/// removed within the hour.
pub(crate) fn take_up(
    record: &mut ProjectRecord,
    seen: &SeenProject,
    limits: Removals,
    removed_elsewhere: usize,
    now: Timestamp,
) -> Result<Taken, NotTaken> {
    if seen.modified_ms < record.modified_ms {
        return Err(NotTaken::Old);
    }
    if seen.modified_ms.div_euclid(1_000) > now.plus(AHEAD_MAX_S).seconds() {
        return Err(NotTaken::Early);
    }
    record.modified_ms = seen.modified_ms;
    record.title.clone_from(&seen.title);
    record.is_archived = seen.is_archived;
    record.removed.retain(|at| is_recent(*at, now));
    for (username, role) in &seen.members {
        let member = record.members.entry(username.clone()).or_insert_with(|| Member {
            role: *role,
            since: now,
            state: MemberState::Pending,
            rejected: None,
            leaving: None,
        });
        member.leaving = None;
        if member.role != *role {
            (member.role, member.since, member.rejected) = (*role, now, None);
        }
    }
    let mut taken = Taken::default();
    let gone: Vec<Username> =
        record.members.keys().filter(|username| !seen.members.contains_key(*username)).cloned().collect();
    for username in gone {
        let Some(member) = record.members.get(&username) else { continue };
        let Some(role) = member.confirmed() else {
            record.members.remove(&username);
            continue;
        };
        if member.leaving.is_some() {
            continue;
        }
        let own = record.removed.len();
        let is_due = own < limits.each_hour && own.saturating_add(removed_elsewhere) < limits.all_hour;
        if is_due && !is_last_pi(record, &username) {
            record.members.remove(&username);
            record.removed.push(now);
            taken.removed.push((username, role));
        } else if let Some(member) = record.members.get_mut(&username) {
            member.leaving = Some(now);
            taken.held.push(username);
        }
    }
    lower_roles(record);
    Ok(taken)
}

/// Confirms what waits about a member.
pub(crate) fn approve(
    record: &mut ProjectRecord,
    username: &Username,
    by: &str,
    now: Timestamp,
) -> Result<Confirmed, NothingToDecide> {
    let member = record.members.get_mut(username).ok_or(NothingToDecide::NotListed)?;
    let confirmed = match waiting(member).or(member.rejected.map(|_| Waiting::Addition)) {
        None => return Err(NothingToDecide::NothingWaits),
        Some(Waiting::Removal) => {
            record.members.remove(username);
            Confirmed::Removed
        }
        Some(Waiting::Addition | Waiting::HigherRole) => {
            member.state = MemberState::Confirmed { role: member.role, by: by.to_owned(), at: now };
            member.rejected = None;
            Confirmed::Admitted(member.role)
        }
    };
    lower_roles(record);
    Ok(confirmed)
}

/// Rejects an addition or a higher role, until Core names another role or has not listed the member
/// in between.
pub(crate) fn reject(record: &mut ProjectRecord, username: &Username) -> Result<ProjectRole, NothingToDecide> {
    let member = record.members.get_mut(username).ok_or(NothingToDecide::NotListed)?;
    match waiting(member) {
        None => Err(NothingToDecide::NothingWaits),
        Some(Waiting::Removal) => Err(NothingToDecide::Removal),
        Some(Waiting::Addition | Waiting::HigherRole) => {
            member.rejected = Some(member.role);
            Ok(member.role)
        }
    }
}

/// Takes up every lower role that Core names, but not of the last confirmed PI.
fn lower_roles(record: &mut ProjectRecord) {
    let lowered: Vec<Username> = record
        .members
        .iter()
        .filter(|(_, member)| member.leaving.is_none() && member.confirmed().is_some_and(|role| role > member.role))
        .map(|(username, _)| username.clone())
        .collect();
    for username in lowered {
        if is_last_pi(record, &username) {
            continue;
        }
        if let Some(member) = record.members.get_mut(&username)
            && let MemberState::Confirmed { role, .. } = &mut member.state
        {
            *role = member.role;
        }
    }
}

/// Whether the project has no other confirmed PI who stays.
fn is_last_pi(record: &ProjectRecord, username: &Username) -> bool {
    let is_pi = |member: &Member| member.confirmed() == Some(ProjectRole::Pi);
    record.members.get(username).is_some_and(is_pi)
        && !record.members.iter().any(|(other, member)| other != username && is_pi(member) && member.leaving.is_none())
}

#[cfg(test)]
mod tests;
