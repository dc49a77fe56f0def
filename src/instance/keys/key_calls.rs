//! Lists, renews and removes the user's keys, in the server's store and in the user's pin file.
//!
//! A key works only while both have it. A renewal pins first and activates second; a removal runs
//! in the opposite order. A failure in between leaves a key that opens nothing.

use countersign_keys::bind::Projection;
use countersign_keys::direct::DirectRequest;
use countersign_keys::enrolment::Renewal;
use countersign_keys::identity::{KeyId, Origin, Username};
use countersign_keys::keyring::{
    Algorithm, FINGERPRINT_WORDS, KeyRecord, KeyRejection, KeyState, Protocol, VerificationKey,
};
use countersign_keys::policy::Permit;
use countersign_keys::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::direct::failure::DirectError;
use crate::direct::server_client::ServerClient;
use countersign_home::pin_file::{PinFailure, PinFile, Pinned, WasPinned};
use countersign_ipc::server_protocol::{
    Empty, KEY_NAME_RULE, KEYS_ADD, KEYS_LIST, KEYS_REVOKE, KeyAdd, KeyRevoke, Keys, KeysList, ListedKey, is_key_name,
};
use countersign_os::clock::{Clock, random_bytes};

/// What a renewed key must satisfy.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The provider's own origin, which the proof of possession names.
    pub(crate) audience: Origin,
    /// Lifetime of a key, in seconds.
    pub(crate) lifetime_s: i64,
}

#[derive(Debug)]
pub(crate) struct DirectKeys {
    pins: PinFile,
    server: ServerClient,
    terms: Terms,
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
    /// Whether the key is pinned in the user's account too.
    pinned: bool,
}

/// The state of a key at the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AtServer {
    Active,
    Revoked,
    Unknown,
}

/// A requested key: parsed, with proof that the signer holds it.
struct NewKey {
    key: VerificationKey,
    name: String,
}

impl DirectKeys {
    pub(crate) const fn new(pins: PinFile, server: ServerClient, terms: Terms) -> Self {
        Self { pins, server, terms }
    }

    /// `keys.list`: the server's keys of the requesting user.
    pub(crate) async fn list(&self, permit: &Permit<'_, '_, DirectRequest>) -> Result<Value, DirectError> {
        let owner = permit.username();
        let keys = self.listed(owner).await?;
        let pins = self.with_pins(PinFile::read).await?;
        let is_pinned =
            |kid: KeyId| pins.keys_at(self.pins.provider()).any(|key| key.kid == kid && key.owner == *owner);
        let shown: Vec<Shown> = keys.into_iter().map(|key| shown(key, &is_pinned)).collect();
        Ok(json!({ "keys": serde_json::to_value(shown)? }))
    }

    /// `keys.renew`: the signing key vouches for another, which is pinned here and then activated
    /// at the server. A repeat with the same key resumes where an earlier attempt stopped.
    pub(crate) async fn renew(&self, permit: &Permit<'_, '_, DirectRequest>) -> Result<Value, DirectError> {
        let new = self.new_key(permit)?;
        let now = Clock::System.now()?;
        let lifetime = (now, now.plus(self.terms.lifetime_s));
        let (owner, kid) = (permit.username().clone(), KeyId::from_bytes(random_bytes()?));
        let record = KeyRecord::new(owner, kid, &new.key, Protocol::V2, lifetime, new.name);
        let Pinned { record, was_pinned } = self.with_pins(move |pins| pins.add_once(record)).await?;
        if record.kid == permit.kid() {
            return Err(DirectError::KeyRefused("a renewal takes another key than the one that signs"));
        }
        if record.expires <= now {
            return Err(DirectError::KeyRefused("this key was pinned before, and its time is over"));
        }
        if was_pinned == WasPinned::Yes {
            match self.at_server(&record).await? {
                AtServer::Active => return Ok(renewed(&record)),
                AtServer::Revoked => return Err(DirectError::KeyRefused("this key was revoked")),
                AtServer::Unknown => {}
            }
        }
        if let Err(failure) = self.activate(&record).await {
            self.settle(&record, was_pinned, failure).await?;
        }
        Ok(renewed(&record))
    }

    /// `keys.remove`: removes the pin first, so that the instance refuses the key whatever the
    /// server does.
    pub(crate) async fn remove(&self, permit: &Permit<'_, '_, DirectRequest>) -> Result<Value, DirectError> {
        let kid =
            KeyId::parse(text(permit, "kid")?).map_err(|_| DirectError::Malformed("kid is not the id of a key"))?;
        let owner = permit.username().clone();
        let question = KeyRevoke { username: Some(owner.clone()), kid };
        let was_pinned = self.with_pins(move |pins| pins.remove(&owner, kid)).await?;
        match self.server.ask::<_, Empty>(KEYS_REVOKE, &question).await {
            Ok(Empty {}) => Ok(json!({})),
            Err(error) if error.is_not_found() && was_pinned => Ok(json!({})),
            Err(error) => Err(error.into()),
        }
    }

    fn new_key(&self, permit: &Permit<'_, '_, DirectRequest>) -> Result<NewKey, DirectError> {
        let algorithm = Algorithm::parse(text(permit, "alg")?)
            .ok_or(DirectError::Malformed("alg is none of ES256, EdDSA, PS256 and RS256"))?;
        let name = text(permit, "name")?;
        if !is_key_name(name) {
            return Err(DirectError::KeyRefused(KEY_NAME_RULE));
        }
        let key =
            VerificationKey::from_jwk_value(item(permit)?.parameter("jwk"), algorithm).inspect_err(|rejection| {
                if *rejection == KeyRejection::Private {
                    tracing::error!("ALARM: a private key was sent to the provider");
                }
            })?;
        let renewal = Renewal { origin: &self.terms.audience, username: permit.username(), old: permit.kid() };
        renewal.verify(text(permit, "proof")?, &key)?;
        Ok(NewKey { key, name: name.to_owned() })
    }

    async fn activate(&self, record: &KeyRecord) -> Result<(), DirectError> {
        let Empty {} = self.server.ask(KEYS_ADD, &KeyAdd::of(record)).await?;
        Ok(())
    }

    /// After a failed activation, finds out whether the key is active. The pin is removed only if
    /// it was added by this attempt and the server says that the key is not active. Otherwise it
    /// stays, and opens nothing without the server.
    async fn settle(&self, record: &KeyRecord, was_pinned: WasPinned, failure: DirectError) -> Result<(), DirectError> {
        match self.at_server(record).await {
            Ok(AtServer::Active) => Ok(()),
            Ok(AtServer::Revoked | AtServer::Unknown) if was_pinned == WasPinned::No => {
                let (owner, kid) = (record.owner.clone(), record.kid);
                self.with_pins(move |pins| pins.remove(&owner, kid)).await?;
                Err(failure)
            }
            Ok(AtServer::Revoked | AtServer::Unknown) | Err(_) => Err(failure),
        }
    }

    async fn at_server(&self, record: &KeyRecord) -> Result<AtServer, DirectError> {
        let keys = self.listed(&record.owner).await?;
        let state = keys.iter().find(|key| key.kid == record.kid).map(|key| key.state);
        Ok(match state {
            Some(KeyState::Active) => AtServer::Active,
            Some(KeyState::Revoked) => AtServer::Revoked,
            None => AtServer::Unknown,
        })
    }

    async fn listed(&self, owner: &Username) -> Result<Vec<ListedKey>, DirectError> {
        let Keys { keys } = self.server.ask(KEYS_LIST, &KeysList { username: Some(owner.clone()) }).await?;
        Ok(keys)
    }

    /// Runs file work, which waits for locks, on a blocking thread. Work that has begun finishes
    /// even if its caller is gone.
    async fn with_pins<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PinFile) -> Result<T, PinFailure> + Send + 'static,
    ) -> Result<T, DirectError> {
        let pins = self.pins.clone();
        let done = tokio::task::spawn_blocking(move || work(&pins)).await;
        Ok(done.map_err(|_| DirectError::CutShort)??)
    }
}

/// The one item: direct calls have no other.
fn item<'p, 'b>(permit: &'p Permit<'_, 'b, DirectRequest>) -> Result<&'p Projection<'b>, DirectError> {
    permit.items().projections().first().ok_or(DirectError::Malformed("the request has no item"))
}

fn text<'p>(permit: &'p Permit<'_, '_, DirectRequest>, name: &'static str) -> Result<&'p str, DirectError> {
    item(permit)?.parameter(name).as_str().ok_or(DirectError::Missing(name))
}

fn renewed(record: &KeyRecord) -> Value {
    json!({ "kid": record.kid, "expires": record.expires })
}

fn shown(key: ListedKey, is_pinned: &impl Fn(KeyId) -> bool) -> Shown {
    let ListedKey { kid, algorithm, state, fingerprint, words, name, created, expires, last_used, .. } = key;
    Shown { kid, name, algorithm, state, fingerprint, words, created, expires, last_used, pinned: is_pinned(kid) }
}

#[cfg(test)]
mod tests;
