//! Public links: who owns each, and to which job its requests go.
//!
//! The kernel names the account, and the account's own instance has verified the user's signature.
//! A link is of one user, and at one time of one job, which Slurm says is that account's. Core's
//! numbers decide nothing here. Creation, deletion and the binding to a job are recorded (P9).

use std::sync::Arc;

use countersign_keys::identity::{CoreJobId, LinkName, Uid, Username};
use countersign_keys::store::jobs::Job;
use countersign_keys::store::links::{Link, LinkRejection};
use countersign_keys::store::registry::NotChanged;
use countersign_slurm::Standing;

use crate::audit::record::AuditedAction;
use crate::connections::expiry::Standing as OfConnection;
use crate::http::reply::Refusal;
use crate::jobs::decide::at_core;
use crate::jobs::table::Tracked;
use crate::resources::{check_own_user, note};
use crate::state::{Server, log_failure};
use crate::turns::Asker;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::gateway_protocol::{Ended, LinkTarget};
use countersign_ipc::server_protocol::{
    Empty, KnownLink, LINKS_MAKE, LINKS_REMOVE, LinkForgotten, LinkMade, Links, LinksList, ResourceRemoved,
};

/// Records a link that one of the account's users creates.
pub(crate) async fn make(server: &Arc<Server>, uid: Uid, made: LinkMade) -> Result<Empty, Refusal> {
    let LinkMade { username, name, number } = made;
    may_change(server, uid, &username)?;
    // A creation that its owner repeats takes the link from no job.
    let known = server.records.link(&name)?.filter(|known| known.username == username && known.uid == uid);
    let created = known.map_or(server.clock.now()?, |known| known.created);
    let link = Link { name, username, uid, core_id: number, created };
    note(server, uid, LINKS_MAKE, &link.username, &format!("public link {}", link.name))?;
    let (records, kept) = (Arc::clone(&server.records), link.clone());
    let work = move || {
        records.add_link(&kept).map_err(|not_added| match not_added {
            NotChanged::Rejected(rejection @ (LinkRejection::Taken | LinkRejection::NumberTaken)) => {
                Refusal::new(ErrorCode::Conflict, rejection.to_string())
            }
            NotChanged::Rejected(rejection @ LinkRejection::TooMany) => Refusal::too_many(rejection.to_string()),
            NotChanged::Failed(failure) => failure.into(),
        })
    };
    server.blocking(Asker::Account(uid), work).await?;
    tracing::info!(%uid, username = %link.username, name = %link.name, "recorded a public link");
    Ok(Empty {})
}

/// Removes a link that one of the account's users deletes, here and in the gateway.
pub(crate) async fn remove(server: &Arc<Server>, uid: Uid, removed: ResourceRemoved) -> Result<LinkForgotten, Refusal> {
    let ResourceRemoved { username, number } = removed;
    may_change(server, uid, &username)?;
    note(server, uid, LINKS_REMOVE, &username, &format!("public link {number} at UCloud"))?;
    let (records, owner) = (Arc::clone(&server.records), username.clone());
    let name = server.blocking(Asker::Account(uid), move || Ok(records.forget_link(&owner, &number)?)).await?;
    if let Some(name) = &name {
        tracing::info!(%uid, %username, %name, "removed a public link");
        server.invalidations.tell(Ended::Link { name: name.clone() }).await;
    }
    Ok(LinkForgotten { name })
}

/// The links of one of the account's users, and the jobs that have them.
pub(crate) fn list(server: &Server, uid: Uid, list: &LinksList) -> Result<Links, Refusal> {
    may_change(server, uid, &list.username)?;
    let links = server.records.links(&list.username)?.into_iter().filter(|link| link.uid == uid);
    let known = |link: Link| {
        let job = with_job(server, &link, |tracked| tracked.job.core_id.clone());
        KnownLink { name: link.name, number: link.core_id, job }
    };
    Ok(Links { links: links.map(known).collect() })
}

/// Leaves a reported job the links that are its user's own.
pub(crate) fn keep_own(server: &Server, job: &mut Job) -> Result<(), Refusal> {
    let mut own = Vec::new();
    for name in std::mem::take(&mut job.links) {
        let is_own = |link: &Link| link.username == job.username && link.uid == job.uid;
        if server.config.gateway.links.is_some() && server.records.link(&name)?.as_ref().is_some_and(is_own) {
            own.push(name);
        } else {
            tracing::warn!(job = %job.core_id, uid = %job.uid, %name, "refused to bind a public link to a job");
        }
    }
    job.links = own;
    Ok(())
}

/// Records that a job which has ended gives its links up.
pub(crate) fn record_unbound(server: &Server, job: &Job) {
    if job.links.is_empty() {
        return;
    }
    let note = format!("public links {} of job {}", names(&job.links), job.core_id);
    let action = AuditedAction::of("slurm", "/links/unbind");
    if let Err(failure) = server.record(&AuditedAction { username: Some(&job.username), note: Some(&note), ..action }) {
        log_failure("cannot record the end of a public link", &failure);
    }
}

/// Names in a note.
pub(crate) fn names(links: &[LinkName]) -> String {
    links.iter().map(LinkName::as_str).collect::<Vec<_>>().join(" ")
}

impl Server {
    /// Where a request for a link goes: to its owner's running job, while the owner is connected
    /// with the account that made the link.
    pub(crate) fn link_target(&self, name: &LinkName) -> Result<Option<LinkTarget>, Refusal> {
        let Some(link) = self.records.link(name)? else { return Ok(None) };
        let OfConnection::InForce(connection) = self.standing(&link.username, self.clock.now()?)? else {
            return Ok(None);
        };
        if connection.uid != link.uid {
            return Ok(None);
        }
        let running = |tracked: &Tracked| is_running(tracked).then(|| tracked.job.core_id.clone());
        let job: Option<CoreJobId> = with_job(self, &link, running).flatten();
        Ok(job.map(|job| LinkTarget { username: link.username, job }))
    }
}

/// The job that has a link: of those that were reported with it and have not ended, the first. One
/// from before the link's creation had another of that name, which its owner has deleted.
fn with_job<T>(server: &Server, link: &Link, read: impl Fn(&Tracked) -> T) -> Option<T> {
    let jobs = server.jobs.lock();
    let has_it = |tracked: &&Tracked| {
        let job = &tracked.job;
        let is_owners = job.uid == link.uid && job.username == link.username && job.is_verified;
        is_owners && job.end.is_none() && job.recorded >= link.created && job.links.contains(&link.name)
    };
    jobs.values().filter(has_it).min_by_key(|tracked| (tracked.job.recorded, tracked.job.core_id.clone())).map(read)
}

/// Whether Slurm said last that a job runs; before its first answer, whether Core was told so.
fn is_running(tracked: &Tracked) -> bool {
    match &tracked.seen {
        Some(outcome) => outcome.standing == Standing::Running,
        None => tracked.job.told.as_deref() == Some(at_core(Standing::Running)),
    }
}

/// Checks that the account acts for its own user, where links are offered.
fn may_change(server: &Server, uid: Uid, username: &Username) -> Result<(), Refusal> {
    if server.config.gateway.links.is_none() {
        return Err(Refusal::not_found("this provider offers no public links"));
    }
    check_own_user(server, uid, username)
}

#[cfg(test)]
mod tests;
