//! Expiry of connections (`connection.expires_after`): users prove at the centre from time to time
//! that the account is still theirs.
//!
//! The gateway sees the end of a connection as the expiry of each key, so a key is refused from
//! that second on, without any action of the server. The periodic check stops the instance and
//! tells Core. Instances gain no trust in the server: like a revocation here, an expiry binds
//! gateway and server only.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::keyring::{KeyRecord, KeyState};
use countersign_keys::store::StoreFailure;
use countersign_keys::store::records::{Connection, User};
use countersign_keys::time::Timestamp;

use crate::audit::record::AuditedAction;
use crate::http::reply::{Refusal, blocking};
use crate::state::{Records, Server, log_failure};
use countersign_ipc::gateway_protocol::{Ended, Signer};

/// Users for each read of the store.
const PAGE: usize = 500;

/// Longest time between two checks. A connection approved in between ends later than all earlier
/// ones.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Shortest time between two checks.
const LOOK_SELDOM: Duration = Duration::from_millis(500);

/// The state of a user's connection at some moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Not connected.
    None,
    /// Connected.
    InForce(Connection),
    /// Expired.
    Over(Connection),
}

/// An expired connection whose end is not recorded yet.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Due {
    username: Username,
    approved: Timestamp,
    end: Timestamp,
}

impl Server {
    /// When a connection expires.
    pub(crate) fn end_of(&self, connection: &Connection) -> Option<Timestamp> {
        connection.end(self.config.served().connection.expires_after_s)
    }

    /// The state of a user's connection at that moment.
    pub(crate) fn standing(&self, username: &Username, now: Timestamp) -> Result<Standing, StoreFailure> {
        Ok(match self.records.user(username)?.and_then(|user| user.connection) {
            None => Standing::None,
            Some(connection) if self.end_of(&connection).is_some_and(|end| now >= end) => Standing::Over(connection),
            Some(connection) => Standing::InForce(connection),
        })
    }

    /// A user's key with this id, in any state. It expires with the connection at the latest.
    pub(crate) fn key(&self, username: &Username, kid: &KeyId) -> Result<Option<KeyRecord>, StoreFailure> {
        let key = self.records.key(username, kid)?;
        match key {
            Some(key) => Ok(self.within_connection(username, vec![key])?.pop()),
            None => Ok(None),
        }
    }

    /// A user's valid keys of version 1. They expire with the connection at the latest.
    pub(crate) fn keys_v1(&self, username: &Username, now: Timestamp) -> Result<Vec<KeyRecord>, StoreFailure> {
        let mut keys = self.within_connection(username, self.records.keys_v1(username, now)?)?;
        keys.retain(|key| now < key.expires);
        Ok(keys)
    }

    /// Whether the user could sign a valid intent at that moment.
    pub(crate) fn signer(&self, username: &Username, now: Timestamp) -> Result<Signer, StoreFailure> {
        let Some(user) = self.records.user(username)? else { return Ok(Signer::NotConnected) };
        if !matches!(self.standing(username, now)?, Standing::InForce(_)) {
            return Ok(Signer::NotConnected);
        }
        let speaks = |key: &KeyRecord| key.state == KeyState::Active && now < key.expires;
        Ok(if self.records.keys(&user)?.iter().any(speaks) { Signer::HasKey } else { Signer::NoKey })
    }

    fn within_connection(&self, username: &Username, mut keys: Vec<KeyRecord>) -> Result<Vec<KeyRecord>, StoreFailure> {
        let connection = self.records.user(username)?.and_then(|user| user.connection);
        if let Some(end) = connection.and_then(|connection| self.end_of(&connection)) {
            for key in &mut keys {
                key.expires = key.expires.min(end);
            }
        }
        Ok(keys)
    }

    /// Ends every expired connection: tells gateway and Core, and stops the instance. Returns the
    /// next known expiry.
    pub(crate) async fn end_what_is_over(&self, lasts_s: i64, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        let records = Arc::clone(&self.records);
        let (due, next) = blocking(move || Ok(look(&records, lasts_s, now)?)).await?;
        for due in due {
            self.end_one(due).await?;
        }
        Ok(next)
    }

    async fn end_one(&self, due: Due) -> Result<(), Refusal> {
        let Due { username, approved, end } = due;
        let note = format!("approved at {}", approved.seconds());
        self.record(&AuditedAction {
            username: Some(&username),
            note: Some(&note),
            ..AuditedAction::of("server", "connection.over")
        })?;
        let (records, user) = (Arc::clone(&self.records), username.clone());
        let Some(uid) = blocking(move || Ok(records.note_over(&user, approved, end)?)).await? else {
            return Ok(());
        };
        tracing::info!(%username, %uid, "connection expired");
        // The keys have already expired. This ends open sessions.
        self.invalidations.tell(Ended::User { username }).await;
        self.instances.stop(uid);
        self.entries.notify_one();
        self.changed();
        Ok(())
    }
}

/// The expired connections that are not recorded, and the next expiry after that moment.
fn look(records: &Records, lasts_s: i64, now: Timestamp) -> Result<(Vec<Due>, Option<Timestamp>), StoreFailure> {
    let (mut due, mut next): (Vec<Due>, Option<Timestamp>) = (Vec::new(), None);
    let mut after: Option<Username> = None;
    loop {
        let page = records.users_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok((due, next));
        };
        after = Some(last.username.clone());
        for User { username, connection, .. } in page {
            let Some(connection) = connection.filter(|connection| connection.over.is_none()) else { continue };
            let approved = connection.approved();
            let end = approved.plus(lasts_s);
            if now >= end {
                due.push(Due { username, approved, end });
            } else {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
    }
}

/// Ends connections until the server ends. A reload may change when they expire, and whether.
pub(crate) async fn keep_ending(server: Arc<Server>) {
    let (mut stop, mut reloads) = (server.stop.subscribe(), server.reloads.subscribe());
    loop {
        let pause = match server.config.served().connection.expires_after_s {
            Some(lasts_s) => end_now(&server, lasts_s).await,
            None => LOOK_EVERY,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = reloads.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Ends what is over. Returns when to look again.
async fn end_now(server: &Arc<Server>, lasts_s: i64) -> Duration {
    let longest = Duration::from_secs(lasts_s.unsigned_abs()).min(LOOK_EVERY);
    let pause = match server.clock.now() {
        Ok(now) => match server.end_what_is_over(lasts_s, now).await {
            Ok(next) => next.map_or(longest, |next| Duration::from_secs(next.since(now).unsigned_abs())),
            // The cause is in the log already. Expired keys are refused in the meantime.
            Err(_failure) => LOOK_EVERY,
        },
        Err(failure) => {
            log_failure("cannot end expired connections", &failure);
            LOOK_EVERY
        }
    };
    pause.clamp(LOOK_SELDOM, longest.max(LOOK_SELDOM))
}
