//! Looks up how much users' drives hold, with a program of the site, and tells Core.
//!
//! Never walks a file system, and opens no path: the program gets drive, path and account as JSON,
//! and answers with a number. Core is told a figure when it has changed, and once an hour. A drive
//! that is gone is told as empty, and forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Username;
use countersign_keys::store::records::Connection;
use countersign_keys::store::usage::{Charged, DriveUsage, Owner};
use countersign_keys::time::Timestamp;
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use super::send::{Figure, ITEMS_MAX, Sent, send};
use super::units::of_bytes;
use crate::connections::expiry::Standing;
use crate::core::client::CoreCalls;
use crate::core::drives::configured;
use crate::http::reply::{Refusal, blocking};
use crate::site_program;
use crate::state::{Server, log_failure};
use countersign_config::{Drive, DriveRoot, Product, UsageReports};

/// Longest time of the program for one drive.
const WITHIN: Duration = Duration::from_secs(20);

/// How often a figure is repeated that has not changed, in seconds.
const REPEAT_S: i64 = 3_600;

/// Users of which the drives are read at a time.
const PAGE: usize = 500;

/// A drive on record, of a connected user.
struct Known {
    username: Username,
    id: String,
    account: String,
    uid: u32,
    path: Option<String>,
    product: Product,
    scope: String,
}

/// A figure that Core is told.
#[derive(Clone)]
enum Due {
    Figure(DriveUsage),
    /// The drive is gone, or has another category: nothing of this share is left.
    Gone(DriveUsage),
}

/// A drive, as the program gets it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    drive: &'a str,
    path: Option<&'a str>,
    account: &'a str,
    uid: u32,
}

/// The program's answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    usage_in_bytes: u64,
}

/// Reports the usage of drives.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    /// Drives whose trouble was logged, until the program answers for them.
    warned: BTreeSet<(Username, String)>,
}

/// Reports until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let Some(reports) = &server.config.accounting else { return };
    if reports.storage_command.is_none() {
        return;
    }
    let mut storage = Storage::default();
    loop {
        let round = match server.clock.now() {
            Ok(now) => storage.round(&server, &core, reports, now).await,
            Err(failure) => Err(failure.into()),
        };
        if let Err(failure) = round {
            log_failure("postponed reports of drives' usage", &failure);
        }
        tokio::time::sleep(reports.every).await;
    }
}

impl Storage {
    /// Looks once at every drive, and tells Core what is new.
    pub(crate) async fn round(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        reports: &UsageReports,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some((program, arguments)) = &reports.storage_command else { return Ok(()) };
        let looked = Arc::clone(server);
        let ((known, connected), told) =
            blocking(move || Ok((known(&looked, now)?, looked.records.drive_usages()?))).await?;
        let mut told: BTreeMap<(Username, String), DriveUsage> =
            told.into_iter().map(|usage| ((usage.username.clone(), usage.id.clone()), usage)).collect();
        let mut due: Vec<Due> = Vec::new();
        for drive in &known {
            let key = (drive.username.clone(), drive.id.clone());
            let before = told.remove(&key);
            match figure(drive, program, arguments).await {
                Ok(figure) => {
                    self.warned.remove(&key);
                    let is_old = |before: &DriveUsage| {
                        let is_same = before.told == figure && before.category == drive.product.category;
                        !is_same || now.since(before.at) >= REPEAT_S
                    };
                    if before.as_ref().is_none_or(is_old) {
                        let (username, id) = key;
                        let (category, scope) = (drive.product.category.clone(), drive.scope.clone());
                        // Of another category it has a share there, which ends.
                        due.extend(before.filter(|before| before.category != category).map(Due::Gone));
                        due.push(Due::Figure(DriveUsage { username, id, category, scope, told: figure, at: now }));
                    }
                }
                Err(why) if self.warned.insert(key) => {
                    tracing::warn!(drive = drive.id, username = %drive.username, why, "cannot look up the usage of a drive");
                }
                Err(_) => {}
            }
        }
        // Drives that are gone. Those of users who are not connected now keep their figures.
        let gone = told.into_values().filter(|usage| connected.contains(&usage.username));
        due.extend(gone.map(Due::Gone));
        for chunk in due.chunks(ITEMS_MAX) {
            if !tell(server, core, chunk, now).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The drives on record of connected users, and those users.
fn known(server: &Server, now: Timestamp) -> Result<(Vec<Known>, BTreeSet<Username>), Refusal> {
    let served = server.config.served();
    let (mut known, mut connected, mut after) = (Vec::new(), BTreeSet::new(), None::<Username>);
    loop {
        let users = server.records.users_after(after.as_ref(), PAGE)?;
        let Some(last) = users.last() else { return Ok((known, connected)) };
        after = Some(last.username.clone());
        for user in users {
            let Standing::InForce(connection) = server.standing(&user.username, now)? else { continue };
            connected.insert(user.username.clone());
            let home = User::from_uid(Uid::from_raw(connection.uid.0)).ok().flatten();
            let home = home.filter(|row| row.name == connection.account).map(|row| row.dir);
            for drive in server.records.drives(&user.username)? {
                let Some((of, _)) = configured(&served.drives, &drive.id) else { continue };
                let Some(product) = of.product_among(&served.products) else { continue };
                known.push(one(&user.username, drive.id, &connection, of, product, home.as_deref()));
            }
        }
    }
}

fn one(
    username: &Username,
    id: String,
    connection: &Connection,
    of: &Drive,
    product: &Product,
    home: Option<&Path>,
) -> Known {
    // The title's placeholders are those of the path.
    let filled = |path: &Path| Drive { title: path.to_str()?.to_owned(), ..of.clone() }.title_of(&id);
    let path = match &of.root {
        DriveRoot::Home(below) => home.and_then(|home| Some(home.join(filled(below)?).to_str()?.to_owned())),
        DriveRoot::Fixed(path) => filled(path),
    };
    let scope = format!("drive-{}", of.id_at_core(username, &id));
    let (account, uid) = (connection.account.clone(), connection.uid.0);
    Known { username: username.clone(), account, uid, path, product: product.clone(), scope, id }
}

/// The units that a drive takes. The reason, if it is not known.
async fn figure(drive: &Known, program: &Path, arguments: &[String]) -> Result<u64, String> {
    let Known { id, account, uid, path, product, .. } = drive;
    let asked = Asked { drive: id, path: path.as_deref(), account, uid: *uid };
    let asked = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
    let answer = site_program::run(program, arguments, &asked, WITHIN).await.map_err(|failure| failure.to_string())?;
    let Answer { usage_in_bytes } = serde_json::from_slice(&answer)
        .map_err(|_error| "the program's answer is not {\"usageInBytes\": N}".to_owned())?;
    of_bytes(product, usage_in_bytes).ok_or_else(|| {
        "it does not fit, or the category counts in another unit than MB, GB, TB, PB, MiB, GiB, TiB, PiB or B, or has periods".to_owned()
    })
}

/// Tells Core figures of drives. Returns whether Core answered.
async fn tell(server: &Arc<Server>, core: &CoreCalls, due: &[Due], now: Timestamp) -> Result<bool, Refusal> {
    let provider = &server.config.provider.id;
    let figures: Vec<Figure> = due.iter().map(figure_of).collect();
    match send(core, provider, &figures, now).await {
        Sent::Booked => note(server, due).await?,
        Sent::Unanswered(failure) => {
            log_failure("cannot tell Core of drives' usage", &failure);
            return Ok(false);
        }
        Sent::Refused(_) => {
            for usage in due {
                match send(core, provider, &[figure_of(usage)], now).await {
                    Sent::Booked => note(server, std::slice::from_ref(usage)).await?,
                    Sent::Unanswered(failure) => {
                        log_failure("cannot tell Core of drives' usage", &failure);
                        return Ok(false);
                    }
                    Sent::Refused(status) => {
                        let (Due::Figure(usage) | Due::Gone(usage)) = usage;
                        tracing::debug!(username = %usage.username, drive = usage.id, %status, "UCloud refused the usage of a drive");
                    }
                }
            }
        }
    }
    Ok(true)
}

fn figure_of(due: &Due) -> Figure {
    let (usage, units) = match due {
        Due::Figure(usage) => (usage, usage.told),
        Due::Gone(usage) => (usage, 0),
    };
    let DriveUsage { username, id, category, scope, .. } = usage;
    let charged = Charged { product: String::new(), category: category.clone(), scope: scope.clone() };
    Figure { owner: Owner::User(username.clone()), charged, usage: units, description: format!("Drive {id}") }
}

/// Notes what Core has acknowledged. A drive that is gone is forgotten.
async fn note(server: &Server, due: &[Due]) -> Result<(), Refusal> {
    let (records, due) = (Arc::clone(&server.records), due.to_vec());
    blocking(move || {
        let mut figures = Vec::new();
        for one in due {
            match one {
                Due::Figure(usage) => figures.push(usage),
                Due::Gone(usage) => records.forget_drive_usage(&usage.username, &usage.id)?,
            }
        }
        Ok(records.note_drive_usages(&figures)?)
    })
    .await
}
