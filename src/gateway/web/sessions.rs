//! The open web sessions: which cookie is of which user, and for which host.
//!
//! Lives in memory. After a restart of the gateway, users open their interfaces again from UCloud.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_config::WebPlace;
use countersign_ipc::web::{WebSecret, WebSecretHash};
use countersign_ipc::web_connections::WebConnections;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::session::SESSION_MAX_S;
use tokio::time::Instant;

use super::body::SentBody;

/// Most sessions in all: 16 MiB.
const SESSIONS_MAX: usize = 65_536;

/// Most sessions of one user: as many as an instance keeps.
const EACH_MAX: usize = 128;

/// The longest session. The instance also ends one that is not used.
const AGE_MAX: Duration = Duration::from_secs(SESSION_MAX_S.unsigned_abs());

/// An open session.
pub(crate) struct WebSession {
    username: Username,
    /// The key that signed the opening; `None` if the site asks for no proof.
    kid: Option<KeyId>,
    place: WebPlace,
    connections: WebConnections<SentBody>,
    began: Instant,
}

impl fmt::Debug for WebSession {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WebSession").field("username", &self.username).field("place", &self.place).finish()
    }
}

impl WebSession {
    pub(crate) fn new(username: Username, kid: Option<KeyId>, place: WebPlace) -> Self {
        Self { username, kid, place, connections: WebConnections::default(), began: Instant::now() }
    }

    pub(crate) const fn username(&self) -> &Username {
        &self.username
    }

    pub(crate) const fn kid(&self) -> Option<KeyId> {
        self.kid
    }

    pub(crate) const fn place(&self) -> &WebPlace {
        &self.place
    }

    /// Connections to the instance, closed when the session ends.
    pub(crate) const fn connections(&self) -> &WebConnections<SentBody> {
        &self.connections
    }
}

/// Evidence that the cookie of a request is of an open session of the request's host.
#[derive(Debug)]
pub(crate) struct WebPermit {
    session: Arc<WebSession>,
    secret: WebSecret,
}

impl WebPermit {
    pub(crate) const fn session(&self) -> &Arc<WebSession> {
        &self.session
    }

    pub(crate) const fn secret(&self) -> &WebSecret {
        &self.secret
    }
}

/// All open sessions, by the hash of their secrets. A user's oldest gives way to a new one.
#[derive(Debug, Default)]
pub(crate) struct WebSessions(Mutex<HashMap<WebSecretHash, Arc<WebSession>>>);

impl WebSessions {
    pub(crate) fn keep(&self, secret: &WebSecret, session: WebSession) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_theirs = |kept: &Arc<WebSession>| kept.username == session.username;
        let is_full = sessions.len() >= SESSIONS_MAX;
        if is_full || sessions.values().filter(|kept| is_theirs(kept)).count() >= EACH_MAX {
            sessions.retain(|_, kept| kept.began.elapsed() < AGE_MAX);
            let oldest =
                sessions.iter().filter(|(_, kept)| is_full || is_theirs(kept)).min_by_key(|(_, kept)| kept.began);
            let oldest = oldest.map(|(hash, _)| *hash);
            if let Some(gone) = oldest.and_then(|hash| sessions.remove(&hash)) {
                gone.connections.close();
            }
        }
        sessions.insert(secret.hash(), Arc::new(session));
    }

    /// Permits a secret at the interface of its session and at no other.
    pub(crate) fn permit(&self, secret: WebSecret, place: &WebPlace) -> Option<WebPermit> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&secret.hash())?;
        let is_open = session.place == *place && session.began.elapsed() < AGE_MAX;
        let session = Arc::clone(session);
        is_open.then_some(WebPermit { session, secret })
    }

    /// How many are kept, expired ones included.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends a session and its open sockets.
    pub(crate) fn end(&self, session: &Arc<WebSession>) {
        session.connections.close();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, kept| !Arc::ptr_eq(kept, session));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(username: &str, place: &str) -> WebSession {
        WebSession::new(Username::parse(username).unwrap(), None, WebPlace::parse(place).unwrap())
    }

    fn secret(number: usize) -> WebSecret {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        WebSecret::new(bytes)
    }

    #[test]
    fn j06_a_cookie_of_one_job_opens_no_other() {
        let sessions = WebSessions::default();
        sessions.keep(&secret(1), session("alice", "1-0"));
        let find = |number, place: &str| sessions.permit(secret(number), &WebPlace::parse(place).unwrap());
        assert!(find(1, "1-0").is_some());
        for place in ["2-0", "1-1", "1-0-1"] {
            assert!(find(1, place).is_none(), "{place}");
        }
        assert!(find(2, "1-0").is_none());
        sessions.end(find(1, "1-0").unwrap().session());
        assert!(find(1, "1-0").is_none());
    }

    #[test]
    fn a_users_oldest_session_gives_way_and_nobody_elses() {
        let sessions = WebSessions::default();
        let place = WebPlace::parse("1-0").unwrap();
        sessions.keep(&secret(0), session("bob", "1-0"));
        for number in 1..=EACH_MAX + 1 {
            sessions.keep(&secret(number), session("alice", "1-0"));
        }
        assert!(sessions.permit(secret(0), &place).is_some(), "another user's");
        assert_eq!(sessions.0.lock().unwrap().len(), EACH_MAX + 1);
        assert!(sessions.permit(secret(EACH_MAX + 1), &place).is_some());
    }
}
