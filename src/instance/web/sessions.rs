//! The web sessions of this account: by the hash of their secrets, each for one interface.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_config::{WebHosts, WebPlace};
use countersign_ipc::web::{WebSecret, WebSecretHash};
use countersign_ipc::web_connections::WebConnections;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::session::SESSION_MAX_S;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::jobs::relay::Relay;

/// Most at once: more windows than a user opens.
const SESSIONS_MAX: usize = 128;

/// How long one may be unused: as long as a meeting.
const IDLE_MAX: Duration = Duration::from_secs(2 * 3600);

/// The longest, in all.
const AGE_MAX: Duration = Duration::from_secs(SESSION_MAX_S.unsigned_abs());

/// The way to an application: the relay on its node, and its port there.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) relay: Arc<Relay>,
    pub(crate) port: u16,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Entry {
    place: WebPlace,
    /// The key that signed the opening; `None` if the site asks for no proof.
    key: Option<(Username, KeyId)>,
    way: Mutex<Way>,
    /// To the application, closed when the session ends.
    connections: WebConnections<Incoming>,
    began: Instant,
    used: Mutex<Instant>,
}

impl Entry {
    pub(super) fn new(place: WebPlace, key: Option<(Username, KeyId)>, way: Way) -> Self {
        let now = Instant::now();
        Self {
            place,
            key,
            way: Mutex::new(way),
            connections: WebConnections::default(),
            began: now,
            used: Mutex::new(now),
        }
    }

    pub(super) const fn place(&self) -> &WebPlace {
        &self.place
    }

    pub(super) const fn key(&self) -> Option<&(Username, KeyId)> {
        self.key.as_ref()
    }

    pub(super) const fn connections(&self) -> &WebConnections<Incoming> {
        &self.connections
    }

    pub(super) fn way(&self) -> Way {
        self.way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn go_by(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// It was used just now.
    pub(super) fn used(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_over(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.began.elapsed() >= AGE_MAX || used.elapsed() >= IDLE_MAX || self.connections.is_closed()
    }
}

pub(crate) struct WebSessions {
    /// `None` if this provider offers no web interfaces.
    hosts: Option<WebHosts>,
    entries: Mutex<HashMap<WebSecretHash, Arc<Entry>>>,
}

impl fmt::Debug for WebSessions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WebSessions").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl WebSessions {
    pub(crate) fn at(hosts: Option<WebHosts>) -> Self {
        Self { hosts, entries: Mutex::default() }
    }

    pub(crate) const fn hosts(&self) -> Option<&WebHosts> {
        self.hosts.as_ref()
    }

    /// Keeps a session under its secret's hash; whether there was room.
    pub(super) fn keep(&self, secret: &WebSecret, entry: Entry) -> bool {
        let mut entries = self.entries();
        if entries.len() >= SESSIONS_MAX {
            return false;
        }
        entries.insert(secret.hash(), Arc::new(entry));
        true
    }

    /// The session of a secret, which is used just now, at its own interface and no other.
    pub(super) fn find(&self, secret: &WebSecret, place: &WebPlace) -> Option<Arc<Entry>> {
        let entry = self.entries().get(&secret.hash()).filter(|entry| entry.place == *place).cloned()?;
        entry.used();
        Some(entry)
    }

    /// Ends a session and its open sockets.
    pub(super) fn end(&self, entry: &Arc<Entry>) {
        entry.connections.close();
        self.entries().retain(|_, kept| !Arc::ptr_eq(kept, entry));
    }

    /// How many there are. Ends those that are over.
    pub(crate) fn count(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<WebSecretHash, Arc<Entry>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            let is_over = entry.is_over();
            if is_over {
                entry.connections.close();
            }
            !is_over
        });
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn j06_an_instance_judges_secret_and_host_itself() {
        let (near, _far) = tokio::io::duplex(1024);
        let relay = Arc::new(Relay::over(near).await.unwrap());
        let sessions = WebSessions::at(None);
        let place = |text: &str| WebPlace::parse(text).unwrap();
        let keep = |secret: &WebSecret, at: &str| {
            sessions.keep(secret, Entry::new(place(at), None, Way { relay: Arc::clone(&relay), port: 8080 }))
        };
        let (one, other) = (WebSecret::new([1; 32]), WebSecret::new([2; 32]));
        assert!(keep(&one, "5-0") && keep(&other, "6-0"));
        assert!(sessions.find(&one, &place("5-0")).is_some() && sessions.find(&other, &place("6-0")).is_some());
        for elsewhere in ["6-0", "5-1", "5-0-1"] {
            assert!(sessions.find(&one, &place(elsewhere)).is_none(), "{elsewhere}");
        }
        assert!(sessions.find(&WebSecret::new([3; 32]), &place("5-0")).is_none());
        // One that is used lives on, the other ends.
        tokio::time::advance(IDLE_MAX / 2).await;
        assert!(sessions.find(&one, &place("5-0")).is_some());
        let ended = sessions.find(&other, &place("6-0")).unwrap();
        tokio::time::advance(IDLE_MAX / 2).await;
        assert!(sessions.find(&one, &place("5-0")).is_some());
        tokio::time::advance(IDLE_MAX / 2).await;
        assert_eq!(sessions.count(), 1);
        ended.connections().until_closed().await;
        // Also one that is used ends some time.
        for _ in 0..AGE_MAX.as_secs() / IDLE_MAX.as_secs() {
            sessions.find(&one, &place("5-0"));
            tokio::time::advance(IDLE_MAX - Duration::from_secs(1)).await;
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(sessions.find(&one, &place("5-0")).is_none());
    }
}
