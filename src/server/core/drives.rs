//! Users' drives at Core: accounts report which of the configured drives they have, and the server
//! registers them.
//!
//! Core learns the drive's id, title and owner, never a path. An account can report drives only for
//! its own users, and only drives of the configuration. The account's own instance decides what a
//! drive opens.

use std::sync::Arc;

use countersign_keys::identity::{Uid, Username};
use countersign_keys::store::drives::{DRIVES_MAX, DriveRejection};
use countersign_keys::store::registry::NotChanged;

use crate::http::reply::Refusal;
use crate::state::Server;
use crate::turns::Asker;
use countersign_config::Drive;
use countersign_ipc::server_protocol::{
    DriveTable, DrivesReport, Empty, MadeDrive, Making, MakingAnswer, NumberedDrive, RemovedDrive,
};

/// Records the drives that an account reports, and returns Core's numbers for them.
pub(crate) async fn report(server: &Arc<Server>, uid: Uid, report: DrivesReport) -> Result<DriveTable, Refusal> {
    let DrivesReport { mut ids } = report;
    if ids.len() > DRIVES_MAX {
        return Err(Refusal::bad_request(format!("an account has at most {DRIVES_MAX} drives")));
    }
    let served = server.config.served();
    ids.retain(|id| configured(&served.drives, id).is_some());
    let usernames = server.records.usernames(uid)?;
    let records = Arc::clone(&server.records);
    let work = move || {
        let (mut drives, mut added) = (Vec::new(), 0_usize);
        for username in usernames {
            added = added.saturating_add(records.add_drives(&username, &ids)?);
            drives.extend(records.drives(&username)?);
        }
        Ok((drives, added))
    };
    let (drives, added) = server.blocking(Asker::Account(uid), work).await?;
    if added > 0 {
        tracing::info!(%uid, added, "recorded drives of an account");
        server.entries.notify_one();
    }
    let numbered = drives.into_iter().filter_map(|drive| Some(NumberedDrive { number: drive.core_id?, id: drive.id }));
    Ok(DriveTable { drives: numbered.collect() })
}

/// Records a drive that one of the account's users creates. UCloud asked for it, so it is not
/// registered there again.
pub(crate) async fn make(server: &Arc<Server>, uid: Uid, made: MadeDrive) -> Result<MakingAnswer, Refusal> {
    let MadeDrive { username, number, id } = made;
    may_make(server, uid, &username, &id)?;
    let records = Arc::clone(&server.records);
    let work = move || match records.add_made_drive(&username, &id, &number) {
        Ok(()) => Ok(Making::Noted),
        Err(NotChanged::Rejected(DriveRejection::NumberTaken | DriveRejection::Renumbered)) => Ok(Making::NumberTaken),
        Err(NotChanged::Rejected(DriveRejection::TooMany)) => Ok(Making::TooMany),
        Err(NotChanged::Rejected(DriveRejection::Exists | DriveRejection::Unknown)) => Ok(Making::IdTaken),
        Err(NotChanged::Failed(failure)) => Err(failure.into()),
    };
    let outcome = server.blocking(Asker::Account(uid), work).await?;
    tracing::info!(%uid, ?outcome, "recorded a drive that a user makes");
    Ok(MakingAnswer { outcome })
}

/// Removes a drive that one of the account's users deleted.
pub(crate) async fn remove(server: &Arc<Server>, uid: Uid, removed: RemovedDrive) -> Result<Empty, Refusal> {
    let RemovedDrive { username, id } = removed;
    may_make(server, uid, &username, &id)?;
    let records = Arc::clone(&server.records);
    server.blocking(Asker::Account(uid), move || Ok(records.forget_drive(&username, &id)?)).await?;
    tracing::info!(%uid, "removed a drive of a user");
    Ok(Empty {})
}

/// Checks that the account acts for its own user, and on a drive that users may create.
fn may_make(server: &Server, uid: Uid, username: &Username, id: &str) -> Result<(), Refusal> {
    if !configured(&server.config.served().drives, id).is_some_and(|(drive, _)| drive.is_made()) {
        return Err(Refusal::bad_request("users cannot create a drive with this id"));
    }
    if !server.records.usernames(uid)?.contains(username) {
        return Err(Refusal::not_found("this account is not connected to that UCloud user"));
    }
    Ok(())
}

/// The configured drive to which an id belongs, and the title for that id.
pub(crate) fn configured<'c>(drives: &'c [Drive], id: &str) -> Option<(&'c Drive, String)> {
    drives.iter().find_map(|drive| Some((drive, drive.title_of(id)?)))
}
