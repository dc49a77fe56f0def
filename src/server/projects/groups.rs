//! Keeps the site's groups as the projects have them, by the site's own program.
//!
//! Level-triggered: what a group should be is made of the records each time, and the program gets
//! the whole of it. A record says before a run that the group is uncertain, and after it what the
//! group is. So a server that is killed anywhere only repeats. Of Core's words none reaches the
//! program: the group's name is made of the site's prefix and our own number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_config::Groups;
use countersign_home::accounts::AccountRejection;
use countersign_keys::identity::{ProjectId, Uid};
use countersign_keys::store::projects::{AppliedGroup, ProjectRecord};
use countersign_keys::time::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::membership;
use crate::connections::expiry::Standing;
use crate::http::reply::{Refusal, blocking};
use crate::site_program;
use crate::state::{Server, log_failure};
use countersign_ipc::alarm::Alarm;
use countersign_os::log::Chain;

/// The version of what the program gets.
const VERSION: u32 = 1;

/// How long the program may take: a directory on another machine may be slow.
const TIME_MAX: Duration = Duration::from_secs(60);

/// How often all groups are looked at without news.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Pause after a failure of a group, doubled for each further one, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Failures of a group in a row after which the alarm is raised.
const FAILURES_MAX: u32 = 5;

/// What the program gets on its standard input.
#[derive(Debug, Serialize)]
struct Order<'o> {
    version: u32,
    group: &'o str,
    gid: u32,
    /// Login names, in order.
    members: Vec<&'o str>,
    archived: bool,
}

/// What a group should be.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wanted {
    name: String,
    gid: u32,
    members: BTreeMap<String, Uid>,
    is_archived: bool,
}

/// The failures of a group.
#[derive(Clone, Copy, Debug)]
struct Failing {
    in_a_row: u32,
    pause: Duration,
    after: Instant,
}

/// Keeps the groups until the server ends.
pub(crate) async fn run(server: Arc<Server>) {
    let Some(groups) = server.config.projects.as_ref().and_then(|projects| projects.groups.as_ref()) else { return };
    let mut keeper = Keeper::default();
    let mut changes = server.changes.subscribe();
    loop {
        let next = keeper.round(&server, groups).await;
        tokio::select! {
            () = server.projects.news.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// The groups that fail. At most one entry for each project with a group.
#[derive(Debug, Default)]
struct Keeper {
    failing: BTreeMap<ProjectId, Failing>,
}

impl Keeper {
    /// Brings every group up to date that is not, and returns the time to the next look.
    async fn round(&mut self, server: &Arc<Server>, groups: &Groups) -> Duration {
        let ids: Vec<ProjectId> = {
            let projects = server.projects.lock();
            projects.values().filter(|project| project.group.is_some()).map(|project| project.id.clone()).collect()
        };
        let mut next = LOOK_EVERY;
        for id in ids {
            let now = Instant::now();
            if let Some(failing) = self.failing.get(&id).filter(|failing| now < failing.after) {
                next = next.min(failing.after - now);
                continue;
            }
            match keep(server, groups, &id).await {
                Ok(()) => _ = self.failing.remove(&id),
                Err(()) => next = next.min(self.failed(server, id)),
            }
        }
        next
    }

    /// Counts a failure, and returns the pause after it.
    fn failed(&mut self, server: &Server, id: ProjectId) -> Duration {
        let before = self.failing.get(&id).copied();
        let in_a_row = before.map_or(1, |failing| failing.in_a_row.saturating_add(1));
        let pause = before.map_or(PAUSE.0, |failing| failing.pause.saturating_mul(2).min(PAUSE.1));
        if in_a_row == FAILURES_MAX {
            server.alarms.raise(Alarm::ProjectGroup, None);
        }
        self.failing.insert(id, Failing { in_a_row, pause, after: Instant::now() + pause });
        pause
    }
}

/// Brings one group up to date. The cause of a failure is in the log.
async fn keep(server: &Arc<Server>, groups: &Groups, id: &ProjectId) -> Result<(), ()> {
    let now = server.clock.now().map_err(|failure| log_failure("postponed a group", &failure))?;
    let (asked, prefix, gids, project) = (Arc::clone(server), groups.prefix.clone(), groups.gids, id.clone());
    let look = blocking(move || {
        let Some(record) = asked.projects.one(&project) else { return Ok(None) };
        let wanted = wanted(&asked, &prefix, gids, &record, now)?;
        Ok(wanted.map(|wanted| (record, wanted)))
    });
    let Some((record, wanted)) = look.await.map_err(|_logged| ())? else { return Ok(()) };
    let applied = record.applied.unwrap_or_default();
    if applied.is_certain && applied.members == wanted.members && applied.is_archived == wanted.is_archived {
        return Ok(());
    }
    // Whatever becomes of this run, the group may have any of these members.
    let mut possible = applied.members;
    possible.extend(wanted.members.clone());
    let uncertain = AppliedGroup { members: possible.clone(), is_archived: wanted.is_archived, is_certain: false };
    membership::note_applied(server, id, uncertain).await.map_err(|_logged| ())?;
    apply(groups, &wanted).await.map_err(|failure| {
        tracing::error!(group = wanted.name, cause = %Chain(&failure), "cannot change a group");
    })?;
    tracing::info!(group = wanted.name, gid = wanted.gid, members = wanted.members.len(), "changed a group");
    // A process keeps the groups with which it was started.
    for (account, uid) in possible.iter().filter(|(account, _)| !wanted.members.contains_key(*account)) {
        tracing::info!(%uid, account, group = wanted.name, "stopping the instance of a former member");
        server.instances.stop(*uid);
    }
    let certain = AppliedGroup { members: wanted.members, is_archived: wanted.is_archived, is_certain: true };
    membership::note_applied(server, id, certain).await.map_err(|_logged| ())
}

async fn apply(groups: &Groups, wanted: &Wanted) -> Result<(), ApplyFailure> {
    let order = Order {
        version: VERSION,
        group: &wanted.name,
        gid: wanted.gid,
        members: wanted.members.keys().map(String::as_str).collect(),
        archived: wanted.is_archived,
    };
    let input = serde_json::to_vec(&order)?;
    let (program, arguments) = &groups.command;
    site_program::run(program, arguments, &input, TIME_MAX).await?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ApplyFailure {
    #[error("projects.command failed")]
    Program(#[from] site_program::ProgramFailure),
    #[error("the group cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What the group should be: the accounts of the confirmed members who are connected. `None` if
/// there is no gid left.
fn wanted(
    server: &Server,
    prefix: &str,
    (first, last): (u32, u32),
    record: &ProjectRecord,
    now: Timestamp,
) -> Result<Option<Wanted>, Refusal> {
    let Some(number) = record.group else { return Ok(None) };
    let Some(gid) = number.checked_sub(1).and_then(|before| first.checked_add(before)).filter(|gid| *gid <= last)
    else {
        tracing::error!(number, "there is no gid left for a project: extend projects.gids");
        return Err(Refusal::too_many("there is no gid left"));
    };
    let mut members = BTreeMap::new();
    for (username, _) in record.members.iter().filter(|(_, member)| member.confirmed().is_some()) {
        let Standing::InForce(connection) = server.standing(username, now)? else { continue };
        let uid_min = server.config.served().uid_min;
        match server.accounts.check(connection.uid, Some(&connection.account), uid_min) {
            Ok(account) => _ = members.insert(account.name, account.uid),
            Err(failure @ AccountRejection::Database(_)) => return Err(Refusal::failure(&failure)),
            Err(rejection) => {
                tracing::warn!(%username, reason = %rejection, "left a member out of a group");
            }
        }
    }
    Ok(Some(Wanted { name: format!("{prefix}{number}"), gid, members, is_archived: record.is_archived }))
}

#[cfg(test)]
mod tests;
