//! Registers users' drives at Core, one at a time, with back-off.
//!
//! Before it repeats a registration whose response was lost, it searches Core for the drive. It
//! does the same when Core says that an id exists.

use std::sync::Arc;

use countersign_keys::identity::Username;
use countersign_keys::store::drives::{CoreDriveId, Drive, DriveRejection};
use countersign_keys::store::registry::NotChanged;
use countersign_keys::time::Timestamp;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::client::{Call, CoreCalls, CoreFailure};
use super::drives;
use super::schedule::Schedule;
use crate::http::reply::{Refusal, blocking};
use crate::state::{Server, log_failure};
use countersign_ipc::alarm::Alarm;
use countersign_os::log::Chain;

const REGISTER: &str = "/api/files/collections/control/register";
const BROWSE: &str = "/api/files/collections/control/browse";

/// Drives for each read of the store.
const PAGE: usize = 100;

#[derive(Serialize)]
struct Registration<'r> {
    items: [Item<'r>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'r> {
    spec: Specification<'r>,
    provider_generated_id: &'r str,
    created_by: &'r Username,
    project: Option<&'r str>,
    project_all_read: bool,
    project_all_write: bool,
}

#[derive(Serialize)]
struct Specification<'r> {
    title: &'r str,
    product: ProductReference<'r>,
    labels: Option<()>,
}

#[derive(Clone, Copy, Serialize)]
struct ProductReference<'r> {
    id: &'r str,
    category: &'r str,
    provider: &'r str,
}

#[derive(Deserialize)]
struct Registered {
    responses: Vec<Identified>,
}

#[derive(Deserialize)]
struct Identified {
    id: CoreDriveId,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    items: Option<Vec<ListedDrive>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedDrive {
    id: CoreDriveId,
    #[serde(default)]
    provider_generated_id: Option<String>,
    #[serde(default)]
    owner: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    #[serde(default)]
    created_by: Option<String>,
}

/// Tries every drive that is due.
pub(crate) async fn round(
    server: &Arc<Server>,
    core: &CoreCalls,
    schedule: &mut Schedule,
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut after: Option<Drive> = None;
    while schedule.everybody_may(now) {
        let served = server.config.served();
        let page = server.records.drives_to_register(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for drive in page {
            if !schedule.may(&drive.username, now) || !is_connected_at_core(server, &drive.username)? {
                continue;
            }
            let Some((drive_of, title)) = drives::configured(&served.drives, &drive.id) else { continue };
            let Some(product) = drive_of.product_among(&served.products) else {
                tracing::warn!(drive = drive.id, "cannot register drives at Core: no product of type storage");
                return Ok(());
            };
            let product = ProductReference {
                id: &product.name,
                category: &product.category,
                provider: server.config.provider.id.as_str(),
            };
            let core_id = drive_of.id_at_core(&drive.username, &drive.id);
            let wanted = Wanted { drive: &drive, id: &core_id, title: &title, product };
            match register(server, core, wanted, now).await? {
                Ok(number) => {
                    tracing::info!(username = %drive.username, drive = drive.id, number = number.as_str(), "registered a drive at Core");
                    schedule.succeeded(&drive.username);
                    server.changed();
                }
                Err(failure) => {
                    log_failure("cannot register a drive at Core", &failure);
                    if schedule.failed(&drive.username, &failure, now).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Only drives of users who are connected at Core are registered.
fn is_connected_at_core(server: &Server, username: &Username) -> Result<bool, Refusal> {
    let connection = server.records.user(username)?.and_then(|user| user.connection);
    Ok(connection.is_some_and(|connection| connection.core_told && connection.over.is_none()))
}

/// A drive as it is registered.
#[derive(Clone, Copy)]
struct Wanted<'r> {
    drive: &'r Drive,
    /// Its id at Core.
    id: &'r str,
    title: &'r str,
    product: ProductReference<'r>,
}

async fn register(
    server: &Arc<Server>,
    core: &CoreCalls,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> Result<Result<CoreDriveId, CoreFailure>, Refusal> {
    let drive = wanted.drive;
    let there = if drive.asked { find(core, wanted, now).await } else { Ok(None) };
    let number = match there {
        Ok(Some(number)) => number,
        Err(failure) => return Ok(Err(failure)),
        Ok(None) => {
            let (records, noted) = (Arc::clone(&server.records), drive.clone());
            blocking(move || records.note_asked(&noted.username, &noted.id).map_err(|error| Refusal::failure(&error)))
                .await?;
            match ask(core, wanted, now).await {
                Ok(number) => number,
                Err(failure) => return Ok(Err(failure)),
            }
        }
    };
    let (records, noted, core_id) = (Arc::clone(&server.records), drive.clone(), number.clone());
    let noted = blocking(move || Ok(records.note_registered(&noted.username, &noted.id, &core_id))).await?;
    match noted {
        Ok(()) => Ok(Ok(number)),
        // Core's number contradicts the store: the drive stays without a number.
        Err(error) => {
            let Drive { username, id, .. } = drive;
            let number = number.as_str();
            tracing::error!(%username, id, number, cause = %Chain(&error), "refused Core's number for a drive");
            if let NotChanged::Rejected(DriveRejection::Renumbered | DriveRejection::NumberTaken) = error {
                server.alarms.raise(Alarm::DriveNumber, Some(username));
            }
            Ok(Err(CoreFailure::Form { call: REGISTER }))
        }
    }
}

/// Registers the drive. On 409 (the id exists), Core's drive must be this one.
async fn ask(core: &CoreCalls, wanted: Wanted<'_>, now: Timestamp) -> Result<CoreDriveId, CoreFailure> {
    let item = Item {
        spec: Specification { title: wanted.title, product: wanted.product, labels: None },
        provider_generated_id: wanted.id,
        created_by: &wanted.drive.username,
        project: None,
        project_all_read: false,
        project_all_write: false,
    };
    let answer = match core.ask(&Call::post(REGISTER, &Registration { items: [item] })?, now).await {
        Err(CoreFailure::Status { call, status: status @ StatusCode::CONFLICT }) => {
            return find(core, wanted, now).await?.ok_or(CoreFailure::Status { call, status });
        }
        answer => answer?,
    };
    let form = CoreFailure::Form { call: REGISTER };
    let registered: Registered =
        serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: REGISTER })?;
    registered.responses.into_iter().next().map(|registered| registered.id).ok_or(form)
}

/// The drive, if Core has it: by its id at Core, or by the id without kind and owner that earlier
/// versions registered.
async fn find(core: &CoreCalls, wanted: Wanted<'_>, now: Timestamp) -> Result<Option<CoreDriveId>, CoreFailure> {
    let username = wanted.drive.username.as_str();
    for id in [wanted.id, &wanted.drive.id] {
        let parameters = [("itemsPerPage", "250"), ("filterCreatedBy", username), ("filterProviderIds", id)];
        let answer = core.ask(&Call::get(BROWSE, &parameters), now).await?;
        let listed: Listed = serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: BROWSE })?;
        let is_it = |found: &ListedDrive| {
            let created_by = found.owner.as_ref().and_then(|owner| owner.created_by.as_deref());
            found.provider_generated_id.as_deref() == Some(id) && created_by == Some(username)
        };
        if let Some(found) = listed.items.unwrap_or_default().into_iter().find(is_it) {
            return Ok(Some(found.id));
        }
    }
    Ok(None)
}
