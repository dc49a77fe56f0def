//! The records that the stand-in Core keeps for its users: logins, and the resources that they
//! made. Their number is bounded by the test.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_portal::core::token_header;
use countersign_portal::{CoreKeys, Fault, now};
use serde_json::{Value, json};

/// How long a login token is valid: as at UCloud, ten minutes.
const TOKEN_LIFETIME_S: i64 = 10 * 60;

/// A drive that a user made, or a job that a user started: as Core keeps it.
#[derive(Clone)]
pub(super) struct Resource {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) kind: Kind,
    /// The resource as Core sends it.
    pub(super) whole: Value,
}

/// The type of a resource.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Kind {
    Drive,
    Job,
}

/// An SSH key of a user.
#[derive(Clone)]
pub(super) struct SshKey {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) title: String,
    pub(super) key: String,
}

#[derive(Default)]
struct Kept {
    /// By token: username and end in seconds since 1970.
    logins: HashMap<String, (String, i64)>,
    resources: Vec<Resource>,
    ssh_keys: Vec<SshKey>,
    last_key: u64,
}

/// The records of the user API.
#[derive(Default)]
pub(super) struct Held(Mutex<Kept>);

impl Held {
    /// Makes a login token.
    pub(super) fn login(&self, keys: &CoreKeys, username: &str) -> Result<String, Fault> {
        let (now, end) = (now(), now().saturating_add(TOKEN_LIFETIME_S));
        let claims = json!({
            "iss": "cloud.sdu.dk", "sub": username, "role": "USER", "principalType": "password", "aud": "all:write",
            "iat": now, "exp": end, "uid": 7, "firstNames": username, "lastName": "", "orgId": null,
        });
        let token = keys.token(&token_header(), &claims)?;
        self.lock().logins.insert(token.clone(), (username.to_owned(), end));
        Ok(token)
    }

    /// The user of a token that is valid.
    pub(super) fn user(&self, token: &str) -> Option<String> {
        self.lock().logins.get(token).filter(|(_, end)| *end > now()).map(|(username, _)| username.clone())
    }

    pub(super) fn add(&self, resource: Resource) {
        self.lock().resources.push(resource);
    }

    pub(super) fn remove(&self, id: &str) {
        self.lock().resources.retain(|resource| resource.id != id);
    }

    /// The user's resources of a kind.
    pub(super) fn of(&self, username: &str, kind: Kind) -> Vec<Resource> {
        let resources = self.lock();
        resources.resources.iter().filter(|one| one.username == username && one.kind == kind).cloned().collect()
    }

    /// Changes a resource as Core keeps it.
    pub(super) fn alter(&self, id: &str, alter: impl FnOnce(&mut Value)) {
        if let Some(resource) = self.lock().resources.iter_mut().find(|resource| resource.id == id) {
            alter(&mut resource.whole);
        }
    }

    /// Adds an SSH key, and returns its id.
    pub(super) fn add_key(&self, username: &str, title: &str, key: &str) -> String {
        let mut kept = self.lock();
        kept.last_key = kept.last_key.saturating_add(1);
        let id = kept.last_key.to_string();
        let key = SshKey {
            id: id.clone(),
            username: username.to_owned(),
            title: title.to_owned(),
            key: key.trim().to_owned(),
        };
        kept.ssh_keys.push(key);
        id
    }

    pub(super) fn remove_keys(&self, username: &str, ids: &[String]) {
        self.lock().ssh_keys.retain(|key| key.username != username || !ids.contains(&key.id));
    }

    pub(super) fn keys(&self, username: &str) -> Vec<SshKey> {
        self.lock().ssh_keys.iter().filter(|key| key.username == username).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
