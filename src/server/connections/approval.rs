//! Operations of local accounts on their own connections and keys, over the public IPC socket.
//!
//! The peer's uid is the only identity of the caller. An account approves only for itself.
//! Administrators may end connections and cannot begin any: only the account that pinned a key
//! activates it (P2, P3).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::enrolment::{Code, Ticket};
use countersign_keys::identity::{Uid, Username};
use countersign_keys::keyring::{Algorithm, KeyRecord, Protocol, VerificationKey};
use countersign_keys::store::records::{Begun, Ticket as TicketRecord, TicketState};
use countersign_keys::store::registry::{Authority, Naming, NewConnection, NotChanged, RegistryRejection, Sharing};
use countersign_keys::time::Timestamp;

use super::tickets::{NO_SUCH_OFFER, begin, is_unconfirmed, page_url, refusal, refuse_begun_at_core};
use super::user_mapper;
use crate::audit::record::AuditedAction;
use crate::http::reply::{Refusal, key_name, key_refused, not_changed, registry_refusal};
use crate::instances::table::NoInstance;
use crate::state::{Server, log_failure};
use crate::turns::Asker;
use countersign_config::{Launch, Mapper, V1};
use countersign_home::accounts::{Account, AccountRejection};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::gateway_protocol::Ended;
use countersign_ipc::server_protocol::{
    self as ipc, Approve, Approved, Await, Awaited, Empty, Find, KeyAdd, KeyRevoke, Offer, POLL_MAX_S, Remove, Removed,
    Start, Started,
};

/// Told to the user of an account for which no instance starts. The server's log has the reason.
const NOT_SERVED: &str = "no instance may run for this account (it may have expired, or sudo may not serve its group): ask the provider's staff";

/// Describes the offer that a code names, after every check that could refuse this uid's approval.
pub(crate) async fn find(server: &Arc<Server>, uid: Uid, find: Find) -> Result<Offer, Refusal> {
    let now = server.clock.now()?;
    let code = parse_code(&find.code)?;
    account_of(server, uid, None).await?;
    let ticket = server.records.ticket_of_code(&code, now).map_err(refusal)?;
    ticket.may_approve(uid, now).map_err(|rejection| refusal(NotChanged::Rejected(rejection)))?;
    refuse_unconfirmed(server, &ticket)?;
    refuse_other_mapping(server, uid, &ticket)?;
    refuse_mapped_elsewhere(server, uid, &ticket.username).await?;
    offer_message(server, &ticket, now)
}

/// Approves an offer: the key is active from now on, and Core will be told.
pub(crate) async fn approve(server: &Arc<Server>, uid: Uid, approve: Approve) -> Result<Approved, Refusal> {
    let now = server.clock.now()?;
    let code = parse_code(&approve.code)?;
    parse_key(&approve.instance_key, Algorithm::Es256)?;
    let account = account_of(server, uid, Some(approve.account)).await?;
    let ticket = server.records.ticket_of_code(&code, now).map_err(refusal)?;
    let offer = ticket.may_approve(uid, now).map_err(|rejection| refusal(NotChanged::Rejected(rejection)))?;
    refuse_unconfirmed(server, &ticket)?;
    refuse_mapped_elsewhere(server, uid, &ticket.username).await?;
    try_out(server, &account).await?;
    let expires = now.plus(server.config.served().intent.key_lifetime_s);
    let new = NewConnection {
        key: KeyRecord { created: now, expires, ..offer.key.clone() },
        uid,
        account: account.name,
        instance_key: approve.instance_key,
        sharing: server.sharing(),
        naming: match server.config.mapping.by {
            Mapper::Ticket => Naming::ByTicket,
            Mapper::Command { .. } => Naming::BySite,
        },
    };
    let (username, kid) = (new.key.owner.clone(), new.key.kid);
    let note = format!("account {}", new.account);
    server.record(&AuditedAction {
        username: Some(&username),
        kid: Some(kid),
        note: Some(&note),
        ..AuditedAction::of(&asker(uid), ipc::CONNECT_APPROVE)
    })?;
    let records = Arc::clone(&server.records);
    let displaced =
        server.blocking(Asker::Account(uid), move || records.approve(&code, &new, now).map_err(refusal)).await?;
    tracing::info!(%username, %uid, %kid, "connection approved");
    if let Some(displaced) = displaced {
        tracing::warn!(%username, uid = %displaced.uid, by = %uid, "replaced a connection that UCloud never confirmed");
        if server.records.usernames(displaced.uid)?.is_empty() {
            server.instances.stop(displaced.uid);
        }
    }
    // A gateway may have cached the absence of the key, and an earlier expiry for the other keys.
    server.invalidations.tell(Ended::User { username: username.clone() }).await;
    server.entries.notify_one();
    server.changed();
    Ok(Approved { username, kid, uid, key_expires: expires })
}

/// Begins a connection here, for this uid only. Reveals nothing about the named user: a local
/// account that knows only the name must not learn whether and to which account that user is
/// connected (V69).
pub(crate) async fn start(server: &Arc<Server>, uid: Uid, start: Start) -> Result<Started, Refusal> {
    account_of(server, uid, None).await?;
    refuse_second_user(server, uid, &start.username)?;
    let (asker, bound_to) = (asker(uid), Some(uid));
    let action = AuditedAction::of(&asker, ipc::CONNECT_START);
    let ticket = begin(server, &action, start.username, Begun::AtTheCentre, bound_to).await?;
    let text = ticket.text.expose();
    Ok(Started { url: format!("{}#{text}", page_url(server)), ticket: text.clone(), until: ticket.until })
}

/// Waits for a change of a ticket that this uid began.
pub(crate) async fn wait_for_offer(server: &Arc<Server>, uid: Uid, wait: Await) -> Result<Awaited, Refusal> {
    let unknown = || Refusal::not_found(NO_SUCH_OFFER);
    let hash = Ticket::parse(&wait.ticket).map_err(|_malformed| unknown())?.hash();
    let mut changes = server.changes.subscribe();
    let mut stop = server.stop.subscribe();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(POLL_MAX_S);
    loop {
        changes.mark_unchanged();
        let now = server.clock.now()?;
        let ticket = server.records.ticket(&hash, now).map_err(refusal)?;
        if ticket.bound_to != Some(uid) || ticket.begun != Begun::AtTheCentre {
            return Err(unknown());
        }
        match &ticket.state {
            TicketState::Open => {}
            TicketState::Offered { .. } if is_unconfirmed(server, &ticket)? => {}
            TicketState::Offered { .. } => return Ok(Awaited::Offered { offer: offer_message(server, &ticket, now)? }),
            TicketState::Approved { .. } => return Ok(Awaited::Approved),
            TicketState::Dead { why } => return Ok(Awaited::Dead { why: *why }),
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(Awaited::Open),
            () = tokio::time::sleep_until(deadline) => return Ok(Awaited::Open),
        }
    }
}

/// Ends connections: the caller's own, or any as an administrator.
pub(crate) async fn remove(server: &Arc<Server>, uid: Uid, remove: Remove) -> Result<Removed, Refusal> {
    let usernames = match remove.username {
        Some(username) => vec![username],
        None => server.records.usernames(uid)?,
    };
    if usernames.is_empty() {
        return Err(registry_refusal(RegistryRejection::NotConnected));
    }
    for username in &usernames {
        let authority = authority_over(server, uid, username)?;
        server.disconnect(authority, username.clone(), &AuditedAction::of(&asker(uid), ipc::CONNECT_REMOVE)).await?;
    }
    Ok(Removed { usernames })
}

/// Activates a key that the account has already pinned.
pub(crate) async fn add_key(server: &Arc<Server>, uid: Uid, add: KeyAdd) -> Result<Empty, Refusal> {
    let now = server.clock.now()?;
    account_of(server, uid, None).await?;
    let owner = one_user(server, uid, add.username)?;
    let key = parse_key(&add.spki, add.algorithm)?;
    if add.protocol == Protocol::V1
        && (server.config.served().intent.v1 == V1::Refused || add.algorithm != Algorithm::Rs256)
    {
        return Err(key_refused("a key of version 1 must be an RS256 key, and the site must set intent.accept_v1"));
    }
    if add.expires <= now || add.expires > now.plus(server.config.served().intent.key_lifetime_s) {
        return Err(key_refused("the key's expiry must be between now and the longest configured lifetime"));
    }
    let name = key_name(&add.name)?;
    let record = KeyRecord::new(owner, add.kid, &key, add.protocol, (now, add.expires), name);
    let (username, kid) = (record.owner.clone(), record.kid);
    server.record(&AuditedAction {
        username: Some(&username),
        kid: Some(kid),
        ..AuditedAction::of(&asker(uid), ipc::KEYS_ADD)
    })?;
    let records = Arc::clone(&server.records);
    server.blocking(Asker::Account(uid), move || records.add_key(uid, &record).map_err(not_changed)).await?;
    tracing::info!(%username, %uid, %kid, "key added");
    server.invalidations.tell(Ended::Key { username, kid }).await;
    server.changed();
    Ok(Empty {})
}

/// Revokes a key. Returns when no gateway accepts it any more (P6).
pub(crate) async fn revoke_key(server: &Arc<Server>, uid: Uid, revoke: KeyRevoke) -> Result<Empty, Refusal> {
    let username = match revoke.username {
        Some(username) => username,
        None => one_user(server, uid, None)?,
    };
    let authority = authority_over(server, uid, &username)?;
    let (records, user, kid) = (Arc::clone(&server.records), username.clone(), revoke.kid);
    server.record(&AuditedAction {
        username: Some(&username),
        kid: Some(kid),
        ..AuditedAction::of(&asker(uid), ipc::KEYS_REVOKE)
    })?;
    server.blocking(authority, move || records.revoke_key(authority, &user, &kid).map_err(not_changed)).await?;
    tracing::info!(%username, by = %uid, %kid, "key revoked");
    server.invalidations.tell(Ended::Key { username, kid }).await;
    server.changed();
    Ok(Empty {})
}

/// The caller's name in the decision log.
pub(crate) fn asker(uid: Uid) -> String {
    format!("uid-{uid}")
}

/// Whether a uid is an administrator of this server: root, or the server's own account.
pub(crate) fn is_administrator(uid: Uid) -> bool {
    uid.0 == 0 || uid.0 == nix::unistd::geteuid().as_raw()
}

/// The user of this uid: the named one, or the only one.
pub(crate) fn one_user(server: &Server, uid: Uid, named: Option<Username>) -> Result<Username, Refusal> {
    let mut own = server.records.usernames(uid)?;
    if let Some(named) = named {
        own.retain(|username| *username == named);
    }
    match own.as_slice() {
        [username] => Ok(username.clone()),
        [] => Err(registry_refusal(RegistryRejection::NotConnected)),
        _ => Err(Refusal::bad_request("this account is connected to several UCloud users: name one")),
    }
}

/// The uid's authority over a user: that of the account over its own users, of an administrator
/// over all others.
pub(crate) fn authority_over(server: &Server, uid: Uid, username: &Username) -> Result<Authority, Refusal> {
    let is_own = server.records.usernames(uid)?.contains(username);
    Ok(if is_administrator(uid) && !is_own { Authority::Administrator } else { Authority::Account(uid) })
}

fn parse_code(typed: &str) -> Result<Code, Refusal> {
    Code::parse(typed).map_err(|rejection| Refusal::bad_request(rejection.to_string()))
}

fn parse_key(spki: &str, algorithm: Algorithm) -> Result<VerificationKey, Refusal> {
    let der = STANDARD.decode(spki).map_err(|_malformed| key_refused("the key is not base64"))?;
    VerificationKey::from_spki_der(&der, algorithm).map_err(|rejection| key_refused(rejection.to_string()))
}

/// The caller's account, checked. Where instances are launched, the server's own account has none:
/// an attacker who controls the server must not be able to act as any user (P3). Where none is
/// launched, an account only owns its keys, and every account but root is accepted.
async fn account_of(server: &Server, uid: Uid, expected: Option<String>) -> Result<Account, Refusal> {
    let uid_min = server.config.served().uid_min;
    let is_launched = server.config.instances.launch == Launch::Sudo;
    if is_launched && uid.0 == nix::unistd::geteuid().as_raw() {
        return Err(Refusal::new(ErrorCode::AccountRefused, "the server's own account has no instance"));
    }
    if !is_launched && uid.0 != 0 {
        let name = server.blocking(Asker::Account(uid), move || Ok(Account::name_of(uid))).await?;
        return Ok(Account { uid, name: name.or(expected).unwrap_or_else(|| uid.to_string()) });
    }
    let accounts = server.accounts.clone();
    let work = move || {
        accounts.check(uid, expected.as_deref(), uid_min).map_err(|rejection| match rejection {
            AccountRejection::Database(_) | AccountRejection::Shells(_) | AccountRejection::ExpiryUnknown { .. } => {
                Refusal::failure(&rejection)
            }
            AccountRejection::Root
            | AccountRejection::System { .. }
            | AccountRejection::Nobody(_)
            | AccountRejection::Unknown(_)
            | AccountRejection::Ambiguous { .. }
            | AccountRejection::Renamed { .. }
            | AccountRejection::Locked { .. }
            | AccountRejection::Shell { .. }
            | AccountRejection::Expired { .. } => Refusal::new(ErrorCode::AccountRefused, rejection.to_string()),
        })
    };
    server.blocking(Asker::Account(uid), work).await
}

/// Starts an instance of the account, where instances are launched, before the approval is
/// acknowledged: only sudo knows whether it serves the account.
async fn try_out(server: &Server, account: &Account) -> Result<(), Refusal> {
    if server.config.instances.launch != Launch::Sudo {
        return Ok(());
    }
    server.instances.try_out(account, Instant::now()).await.map_err(|no_instance| match no_instance {
        NoInstance::Refused(_) => Refusal::new(ErrorCode::AccountRefused, NOT_SERVED),
        NoInstance::Launch(_) | NoInstance::Died(_) | NoInstance::Slow(_) | NoInstance::Failing(_) => {
            Refusal::failure(&no_instance)
        }
    })
}

/// Refuses an offer that cannot be approved, before anything about the named user is revealed.
fn refuse_unconfirmed(server: &Server, ticket: &TicketRecord) -> Result<(), Refusal> {
    refuse_begun_at_core(server, ticket)?;
    if is_unconfirmed(server, ticket)? {
        return Err(registry_refusal(RegistryRejection::Unconfirmed));
    }
    Ok(())
}

/// Refuses early what the approval's transaction would refuse, before the user pins the key. Only
/// for a ticket whose name Core or the site has confirmed.
fn refuse_other_mapping(server: &Server, uid: Uid, ticket: &TicketRecord) -> Result<(), Refusal> {
    let connection = server.records.user(&ticket.username)?.and_then(|user| user.connection);
    if connection.is_some_and(|connection| connection.uid != uid && connection.is_confirmed) {
        return Err(registry_refusal(RegistryRejection::UserMappedOtherwise));
    }
    refuse_second_user(server, uid, &ticket.username)
}

/// Refuses a second user for an account, unless accounts may be shared.
fn refuse_second_user(server: &Server, uid: Uid, username: &Username) -> Result<(), Refusal> {
    let others = server.records.usernames(uid)?;
    if server.sharing() == Sharing::OneUser && others.iter().any(|other| other != username) {
        return Err(registry_refusal(RegistryRejection::AccountMappedOtherwise));
    }
    Ok(())
}

/// If the site's program maps users, only the uid that it names may approve. The answer is the
/// same for a user that it does not know and for one of another account.
async fn refuse_mapped_elsewhere(server: &Server, uid: Uid, username: &Username) -> Result<(), Refusal> {
    let Mapper::Command { program, arguments } = &server.config.mapping.by else {
        return Ok(());
    };
    match user_mapper::ask(program, arguments, username).await {
        Ok(mapped) if mapped == uid => return Ok(()),
        Ok(mapped) => {
            tracing::warn!(%username, %uid, %mapped, "the user mapper named another account");
            server.alarms.raise(Alarm::MapperDisagrees, Some(username));
        }
        Err(failure) => log_failure("the user mapper named no account", &failure),
    }
    Err(Refusal::new(
        ErrorCode::OfAnotherAccount,
        "this centre does not connect that UCloud user to your account: ask its staff if it should",
    ))
}

fn offer_message(
    server: &Server,
    ticket: &countersign_keys::store::records::Ticket,
    now: Timestamp,
) -> Result<Offer, Refusal> {
    let TicketState::Offered { offer } = &ticket.state else {
        return Err(Refusal::new(ErrorCode::Conflict, "no key was offered for this ticket"));
    };
    let key = offer.key.verification_key().map_err(|rejection| Refusal::failure(&rejection))?;
    Ok(Offer {
        code: offer.code.as_str().to_owned(),
        ticket_hash: ticket.hash.into(),
        username: ticket.username.clone(),
        spki: offer.key.spki.clone(),
        algorithm: offer.key.algorithm,
        kid: offer.key.kid,
        fingerprint: key.fingerprint(),
        name: offer.key.name.clone(),
        offered: offer.at,
        address: offer.address.clone(),
        begun: ticket.begun,
        until: ticket.until,
        key_expires: now.plus(server.config.served().intent.key_lifetime_s),
        provider: server.config.provider.id.as_str().to_owned(),
        origin: server.config.provider.origin.as_str().to_owned(),
    })
}
