//! Lists connections and keys over the public IPC socket: the caller's own, or all for an
//! administrator. Never returns a verification key (P2).

use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::keyring::{KeyRecord, KeyState};
use countersign_keys::store::records::User;
use countersign_keys::time::Timestamp;

use super::approval::{authority_over, is_administrator, one_user};
use crate::http::reply::{Refusal, registry_refusal};
use crate::metrics::look::look;
use crate::state::Server;
use crate::turns::Asker;
use countersign_home::accounts::Account;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::gateway_protocol::Whereabouts;
use countersign_ipc::server_protocol::{
    ConnectList, Connection, Connections, Keys, KeysList, LIST_MAX, ListedKey, Whoami,
};
use countersign_keys::store::registry::{Authority, RegistryRejection};
use countersign_metrics::Snapshot;

/// The connections of this uid, or of all as an administrator.
pub(crate) fn connections(server: &Server, uid: Uid, list: &ConnectList) -> Result<Connections, Refusal> {
    let now = server.clock.now()?;
    if list.all {
        if !is_administrator(uid) {
            return Err(Refusal::new(ErrorCode::NotYours, "only an administrator may list all connections"));
        }
        return all_connections(server, list, now);
    }
    let mut connections = Vec::new();
    for username in server.records.usernames(uid)? {
        if let Some(user) = server.records.user(&username)? {
            connections.extend(connection(server, &user, now)?);
        }
    }
    Ok(Connections { connections, more: false })
}

/// A page of all connections. Skips users who are not connected any more.
fn all_connections(server: &Server, list: &ConnectList, now: Timestamp) -> Result<Connections, Refusal> {
    let mut connections = Vec::new();
    let mut after = list.after.clone();
    loop {
        let page = server.records.users_after(after.as_ref(), LIST_MAX)?;
        let Some(last) = page.last() else {
            return Ok(Connections { connections, more: false });
        };
        after = Some(last.username.clone());
        for user in &page {
            connections.extend(connection(server, user, now)?);
            if connections.len() >= LIST_MAX {
                return Ok(Connections { connections, more: true });
            }
        }
    }
}

/// The keys of a user connected to this uid, or of any user as an administrator.
pub(crate) fn keys(server: &Server, uid: Uid, list: KeysList) -> Result<Keys, Refusal> {
    let username = match list.username {
        Some(username) if authority_over(server, uid, &username)? == Authority::Administrator => username,
        named => one_user(server, uid, named)?,
    };
    let not_connected = || registry_refusal(RegistryRejection::NotConnected);
    let user = server.records.user(&username)?.ok_or_else(not_connected)?;
    let keys = server.records.keys(&user)?;
    Ok(Keys { keys: keys.into_iter().map(|key| listed(server, key)).collect::<Result<_, _>>()? })
}

/// How the server identifies the caller.
pub(crate) async fn whoami(server: &Arc<Server>, uid: Uid) -> Result<Whoami, Refusal> {
    let account = server.blocking(Asker::Account(uid), move || Ok(Account::name_of(uid))).await?;
    Ok(Whoami {
        uid,
        account,
        usernames: server.records.usernames(uid)?,
        provider: server.config.provider.id.as_str().to_owned(),
        origin: server.config.provider.origin.as_str().to_owned(),
        key_lifetime_s: server.config.served().intent.key_lifetime_s.unsigned_abs(),
        administrator: is_administrator(uid),
        untold: if is_administrator(uid) { untold(server)? } else { 0 },
    })
}

/// All metrics of the server, looked up now.
pub(crate) async fn metrics(server: &Arc<Server>, uid: Uid) -> Result<Snapshot, Refusal> {
    if !is_administrator(uid) {
        let why = "only root, or the server's account, sees the metrics here";
        return Err(Refusal::new(ErrorCode::Forbidden, why));
    }
    look(server).await;
    Ok(server.snapshot())
}

/// The number of users about whom Core was not told the current state.
fn untold(server: &Server) -> Result<usize, Refusal> {
    let (mut count, mut after) = (0_usize, None);
    loop {
        let page = server.records.outbox_after(after.as_ref(), LIST_MAX)?;
        count = count.saturating_add(page.len());
        match page.into_iter().next_back() {
            Some(last) => after = Some(last.username),
            None => return Ok(count),
        }
    }
}

fn connection(server: &Server, user: &User, now: Timestamp) -> Result<Option<Connection>, Refusal> {
    let Some(connection) = &user.connection else {
        return Ok(None);
    };
    let keys = server.records.keys(user)?;
    let ends = server.end_of(connection);
    let is_over = ends.is_some_and(|end| now >= end);
    let active = keys.iter().filter(|key| !is_over && key.state == KeyState::Active && now < key.expires).count();
    Ok(Some(Connection {
        username: user.username.clone(),
        uid: connection.uid,
        account: connection.account.clone(),
        since: connection.since,
        active_keys: u32::try_from(active).unwrap_or(u32::MAX),
        core_told: server.records.outbox_entry(&user.username)?.is_none(),
        ends,
        instance_up: matches!(server.instance_of(&user.username)?, Whereabouts::Up(_)),
    }))
}

fn listed(server: &Server, key: KeyRecord) -> Result<ListedKey, Refusal> {
    let verification_key = key.verification_key().map_err(|rejection| Refusal::failure(&rejection))?;
    let last_used = server.records.last_use(&key.owner, &key.kid)?;
    Ok(ListedKey {
        username: key.owner,
        kid: key.kid,
        algorithm: key.algorithm,
        protocol: key.protocol,
        state: key.state,
        fingerprint: verification_key.fingerprint(),
        words: verification_key.words().map(str::to_owned),
        name: key.name,
        created: key.created,
        expires: key.expires,
        last_used,
    })
}
