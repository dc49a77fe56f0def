//! The user's keys, as the server and the user's own file have them.

use countersign_keys::identity::KeyId;
use countersign_keys::keyring::{Algorithm, FINGERPRINT_WORDS, KeyState};
use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;
use countersign_keys::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::ipc::messages::{KEYS_LIST, Keys, KeysList, ListedKey};
use crate::user::own::NotDone;
use crate::user::own::server::AskServer;
use crate::user::pinned::PinnedKeys;

/// The keys of the account's users.
#[derive(Debug)]
pub(super) struct OwnKeys {
    pinned: PinnedKeys,
    server: AskServer,
}

/// One key, as its owner's page shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    kid: KeyId,
    name: String,
    algorithm: Algorithm,
    state: KeyState,
    fingerprint: String,
    words: [String; FINGERPRINT_WORDS],
    created: Timestamp,
    expires: Timestamp,
    last_used: Option<Timestamp>,
    /// Whether the instance takes it, too.
    pinned: bool,
}

impl OwnKeys {
    pub(super) const fn new(pinned: PinnedKeys, server: AskServer) -> Self {
        Self { pinned, server }
    }

    /// `keys.list`: the keys that the server has of the user who asks.
    pub(super) async fn list(&self, permit: &Permit<'_, '_, OwnRequest>) -> Result<Value, NotDone> {
        let pinned = self.pinned.ids_of(permit.username())?;
        let question = KeysList { username: Some(permit.username().clone()) };
        let Keys { keys } = self.server.ask(KEYS_LIST, &question).await?;
        let shown: Vec<Shown> = keys.into_iter().map(|key| shown(key, &pinned)).collect();
        Ok(json!({ "keys": serde_json::to_value(shown)? }))
    }
}

fn shown(key: ListedKey, pinned: &[KeyId]) -> Shown {
    let ListedKey { kid, algorithm, state, fingerprint, words, name, created, expires, last_used, .. } = key;
    Shown {
        kid,
        name,
        algorithm,
        state,
        fingerprint,
        words,
        created,
        expires,
        last_used,
        pinned: pinned.contains(&kid),
    }
}
