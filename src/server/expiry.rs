//! Connections that last for a time only (`connection.expires_after`): a user proves at the centre
//! from time to time that the account is still theirs.
//!
//! The end of a connection is the end of each of its keys, as the gateway hears it: so a key is
//! refused at that very second, whether or not anybody has looked. Looking is what stops the
//! instance and tells Core. What an instance believes of the server does not grow by this: like a
//! revocation here, an expiry is the server's word and binds gateway and server.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::keyring::{KeyRecord, KeyState};
use countersign_keys::store::StoreFailure;
use countersign_keys::store::records::{Connection, User};
use countersign_keys::time::Timestamp;

use super::record::AuditedAction;
use super::reply::{Refusal, blocking};
use super::state::{Records, Server, log_failure};
use crate::ipc::control::{Ended, Signer};

/// Users read from the store at a time.
const PAGE: usize = 500;

/// The longest between two looks. A connection that is approved meanwhile ends later than any that
/// was there.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The shortest between two looks.
const LOOK_SELDOM: Duration = Duration::from_millis(500);

/// A user's connection at some moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// There is none.
    None,
    /// It is in force.
    InForce(Connection),
    /// Its time is over.
    Over(Connection),
}

/// A connection whose time is over, and of which that has not been noted.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Due {
    username: Username,
    approved: Timestamp,
    end: Timestamp,
}

impl Server {
    /// When a connection ends by itself.
    pub(super) fn end_of(&self, connection: &Connection) -> Option<Timestamp> {
        connection.end(self.config.connection.expires_after_s)
    }

    /// How a user's connection stands at that moment.
    pub(super) fn standing(&self, username: &Username, now: Timestamp) -> Result<Standing, StoreFailure> {
        Ok(match self.records.user(username)?.and_then(|user| user.connection) {
            None => Standing::None,
            Some(connection) if self.end_of(&connection).is_some_and(|end| now >= end) => Standing::Over(connection),
            Some(connection) => Standing::InForce(connection),
        })
    }

    /// A user's key of this id, in any state; it does not outlast the connection.
    pub(super) fn key(&self, username: &Username, kid: &KeyId) -> Result<Option<KeyRecord>, StoreFailure> {
        let key = self.records.key(username, kid)?;
        match key {
            Some(key) => Ok(self.within_connection(username, vec![key])?.pop()),
            None => Ok(None),
        }
    }

    /// A user's keys of version 1 that speak for the user at that moment, for as long as the
    /// connection lasts.
    pub(super) fn keys_v1(&self, username: &Username, now: Timestamp) -> Result<Vec<KeyRecord>, StoreFailure> {
        let mut keys = self.within_connection(username, self.records.keys_v1(username, now)?)?;
        keys.retain(|key| now < key.expires);
        Ok(keys)
    }

    /// Whether an intent of a user could be good at that moment: what the user could sign it with.
    pub(super) fn signer(&self, username: &Username, now: Timestamp) -> Result<Signer, StoreFailure> {
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

    /// Ends what is over: gateway and Core are told, the instance stops. Gives the next end that is
    /// known of.
    pub(super) async fn end_what_is_over(&self, lasts_s: i64, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
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
        tracing::info!(%username, %uid, "a connection's time is over");
        // Its keys are over by themselves; this is for what was opened with them.
        self.invalidations.tell(Ended::User { username }).await;
        self.instances.stop(uid);
        self.errands.notify_one();
        self.changed();
        Ok(())
    }
}

/// What is over and not noted, and the next end after that moment.
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

/// Looks until the server ends, where connections end by themselves at all.
pub(super) async fn keep_ending(server: Arc<Server>) {
    let Some(lasts_s) = server.config.connection.expires_after_s else {
        return;
    };
    let longest = Duration::from_secs(lasts_s.unsigned_abs()).min(LOOK_EVERY);
    let mut stop = server.stop.subscribe();
    loop {
        let pause = match server.clock.now() {
            Ok(now) => match server.end_what_is_over(lasts_s, now).await {
                Ok(next) => next.map_or(longest, |next| Duration::from_secs(next.since(now).unsigned_abs())),
                // With its cause in the log already; nobody is served meanwhile who should not be.
                Err(_failure) => LOOK_EVERY,
            },
            Err(failure) => {
                log_failure("connections cannot be ended", &failure);
                LOOK_EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause.clamp(LOOK_SELDOM, longest.max(LOOK_SELDOM))) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
