//! Licences: which product each of a user's numbers stands for, and what it gives a job.
//!
//! The kernel names the account, and the account's own instance has verified the user's signature.
//! The key of a licence leaves the server for a user who has signed for that licence, and for
//! no other user. Creation, deletion and each reading are recorded (P9).

use std::sync::Arc;

use countersign_config::{Licence, Product, ProductKind};
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    Empty, KnownLicence, LICENCES_MAKE, LICENCES_READ, LICENCES_REMOVE, LicenceMade, Licences, LicencesRead,
    ResourceRemoved,
};
use countersign_keys::identity::Uid;
use countersign_keys::store::licences::{LicenceRecord, LicenceRejection};
use countersign_keys::store::registry::NotChanged;

use crate::http::reply::Refusal;
use crate::resources::{check_own_user, note};
use crate::state::Server;
use crate::turns::Asker;

/// Records a licence that one of the account's users creates.
pub(crate) async fn make(server: &Arc<Server>, uid: Uid, made: LicenceMade) -> Result<Empty, Refusal> {
    let LicenceMade { username, product, number } = made;
    check_own_user(server, uid, &username)?;
    licence(server, &product).ok_or_else(|| Refusal::not_found("this provider has no such licence"))?;
    let licence = LicenceRecord { username, uid, core_id: number, product, created: server.clock.now()? };
    note(
        server,
        uid,
        LICENCES_MAKE,
        &licence.username,
        &format!("licence {} of {}", licence.core_id, licence.product),
    )?;
    tracing::info!(%uid, username = %licence.username, product = licence.product, "records a licence");
    let records = Arc::clone(&server.records);
    let work = move || {
        records.add_licence(&licence).map_err(|not_added| match not_added {
            NotChanged::Rejected(rejection @ LicenceRejection::NumberTaken) => {
                Refusal::new(ErrorCode::Conflict, rejection.to_string())
            }
            NotChanged::Rejected(rejection @ LicenceRejection::TooMany) => Refusal::too_many(rejection.to_string()),
            NotChanged::Failed(failure) => failure.into(),
        })
    };
    server.blocking(Asker::Account(uid), work).await?;
    Ok(Empty {})
}

/// Removes a licence that one of the account's users deletes.
pub(crate) async fn remove(server: &Arc<Server>, uid: Uid, removed: ResourceRemoved) -> Result<Empty, Refusal> {
    let ResourceRemoved { username, number } = removed;
    check_own_user(server, uid, &username)?;
    note(server, uid, LICENCES_REMOVE, &username, &format!("licence {number} at UCloud"))?;
    let records = Arc::clone(&server.records);
    server.blocking(Asker::Account(uid), move || Ok(records.forget_licence(&username, &number)?)).await?;
    Ok(Empty {})
}

/// What a job of one of the account's users gets of these licences.
pub(crate) async fn read(server: &Arc<Server>, uid: Uid, asked: LicencesRead) -> Result<Licences, Refusal> {
    check_own_user(server, uid, &asked.username)?;
    let known = known(server, uid, &asked)?;
    if !known.is_empty() {
        let named: Vec<String> = known.iter().map(|(of, _)| format!("{} of {}", of.core_id, of.product)).collect();
        note(server, uid, LICENCES_READ, &asked.username, &format!("licences {}", named.join(", ")))?;
    }
    let work = move || {
        let value = |(record, licence): (LicenceRecord, Licence)| {
            let value = licence.value().map_err(|error| Refusal::failure(&error))?;
            Ok(KnownLicence { number: record.core_id, value: value.expose().clone() })
        };
        Ok(Licences { licences: known.into_iter().map(value).collect::<Result<_, Refusal>>()? })
    };
    server.blocking(Asker::Account(uid), work).await
}

/// Of the numbers that are asked for, those that the user has signed for with this account, of
/// products that there still are.
fn known(server: &Server, uid: Uid, asked: &LicencesRead) -> Result<Vec<(LicenceRecord, Licence)>, Refusal> {
    let LicencesRead { username, numbers } = asked;
    let own = server.records.licences(username)?.into_iter();
    let own = own.filter(|record| record.uid == uid && numbers.contains(&record.core_id));
    Ok(own.filter_map(|record| licence(server, &record.product).map(|licence| (record, licence))).collect())
}

/// What the licences of a product are.
fn licence(server: &Server, product: &str) -> Option<Licence> {
    let is_it = |known: &&Product| known.kind == ProductKind::License && known.name == product;
    server.config.slurm.as_ref()?;
    server.config.served().products.iter().find(is_it)?.licence.clone()
}

#[cfg(test)]
mod tests;
