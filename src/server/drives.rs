//! Users' drives at Core: an account says which of the configured drives it has, and Core is asked to register them.
//!
//! What is told Core is the drive's id, title and owner: no path. An account can report drives for its own users alone, and only
//! such as the configuration has; what one of them opens is for the account's own process to say.

use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::store::drives::DRIVES_MAX;

use super::Server;
use super::answer::{Refusal, apart};
use crate::config::{Config, Drive};
use crate::ipc::messages::{DriveTable, DrivesReport, NumberedDrive};

/// Takes an account's word for which drives it has, and tells what Core calls them.
pub(super) async fn report(server: &Arc<Server>, uid: Uid, report: DrivesReport) -> Result<DriveTable, Refusal> {
    let DrivesReport { mut ids } = report;
    if ids.len() > DRIVES_MAX {
        return Err(Refusal::bad_request(format!("an account has at most {DRIVES_MAX} drives")));
    }
    ids.retain(|id| configured(&server.config, id).is_some());
    let usernames = server.records.usernames(uid)?;
    let records = Arc::clone(&server.records);
    let (drives, added) = apart(move || {
        let (mut drives, mut added) = (Vec::new(), 0_usize);
        for username in usernames {
            added = added.saturating_add(records.add_drives(&username, &ids)?);
            drives.extend(records.drives(&username)?);
        }
        Ok((drives, added))
    })
    .await?;
    if added > 0 {
        tracing::info!(%uid, added, "drives");
        server.errands.notify_one();
    }
    let numbered = drives.into_iter().filter_map(|drive| Some(NumberedDrive { number: drive.core_id?, id: drive.id }));
    Ok(DriveTable { drives: numbered.collect() })
}

/// The drive of the configuration that an id is of, and the title of that one.
pub(super) fn configured<'c>(config: &'c Config, id: &str) -> Option<(&'c Drive, String)> {
    config.drives.iter().find_map(|drive| Some((drive, drive.title_of(id)?)))
}
