//! A key store with many users, written record by record: enrolling each through the connection
//! flow would take hours and measure something else. If the records' format changes, the server
//! refuses the store with an error.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::keyring::{Algorithm, KeyRecord, Protocol, VerificationKey};
use countersign_keys::store::jobs::{Job, key_of};
use countersign_keys::store::records::{Connection, User};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::{Store, StoreFailure, Table};
use countersign_keys::time::Timestamp;
use serde::Serialize;

use crate::error::BenchError;
use crate::signer;

/// The first byte of every record.
const RECORD_VERSION: u8 = 1;
/// First uid: above every account of a machine on which this may run.
const UID_FIRST: u32 = 2_000_000;
/// Half a year, the default lifetime of a key.
const KEY_LIFETIME_S: i64 = 180 * 24 * 3600;

/// A user to enrol.
pub(crate) struct Enrolled {
    pub(crate) username: Username,
    pub(crate) kid: KeyId,
    pub(crate) key: VerificationKey,
    /// SubjectPublicKeyInfo of the instance's signing key. Any valid key works if no session is
    /// opened.
    pub(crate) instance_key: Vec<u8>,
}

impl Enrolled {
    /// A user with this name and key.
    pub(crate) fn new(
        username: &str,
        kid: &str,
        spki: &[u8],
        algorithm: signer::Algorithm,
    ) -> Result<Self, BenchError> {
        let algorithm = match algorithm {
            signer::Algorithm::Es256 => Algorithm::Es256,
            signer::Algorithm::Ed25519 => Algorithm::EdDsa,
        };
        Ok(Self {
            username: Username::parse(username).map_err(|_| BenchError::Keys("a username"))?,
            kid: KeyId::parse(kid).map_err(|_| BenchError::Keys("a key id"))?,
            key: VerificationKey::from_spki_der(spki, algorithm).map_err(|_| BenchError::Keys("a public key"))?,
            instance_key: spki.to_vec(),
        })
    }

    /// The key's record.
    pub(crate) fn record(&self, now_s: i64) -> KeyRecord {
        let now = Timestamp::from_seconds(now_s);
        let lifetime = (now, now.plus(KEY_LIFETIME_S));
        KeyRecord::new(self.username.clone(), self.kid, &self.key, Protocol::V2, lifetime, "bench".to_owned())
    }
}

/// Creates a store in `directory` with these users, each connected to an account that need not
/// exist.
pub(crate) fn store(directory: &Path, users: Vec<Enrolled>, now_s: i64) -> Result<(), BenchError> {
    let store = SledStore::open(directory).map_err(BenchError::Store)?;
    for (uid, user) in (UID_FIRST..).zip(users) {
        write(&store, user, Uid(uid), &format!("bench{uid}"), now_s).map_err(BenchError::Store)?;
    }
    Ok(())
}

/// Creates a store in `directory` with these users, all connected to that account. If there are
/// several, the account's own list has the last one alone: gateway and instance do not read it.
pub(crate) fn store_of(
    directory: &Path,
    users: Vec<Enrolled>,
    uid: Uid,
    account: &str,
    now_s: i64,
) -> Result<(), BenchError> {
    let store = SledStore::open(directory).map_err(BenchError::Store)?;
    users.into_iter().try_for_each(|user| write(&store, user, uid, account, now_s)).map_err(BenchError::Store)
}

/// Adds these jobs to the store in `directory`.
pub(crate) fn add_jobs(directory: &Path, jobs: &[Job]) -> Result<(), BenchError> {
    let store = SledStore::open(directory).map_err(BenchError::Store)?;
    let add = |job: &Job| put(&store, Table::Jobs, &key_of(&job.core_id, job.uid), job);
    jobs.iter().try_for_each(add).map_err(BenchError::Store)
}

fn write(store: &SledStore, user: Enrolled, uid: Uid, account: &str, now_s: i64) -> Result<(), StoreFailure> {
    let record = user.record(now_s);
    let Enrolled { username, kid, key: _, instance_key } = user;
    let connection = Connection {
        uid,
        account: account.to_owned(),
        since: Timestamp::from_seconds(now_s),
        instance_key: STANDARD.encode(instance_key),
        core_told: true,
        renewed: None,
        over: None,
        is_confirmed: true,
    };
    let name = username.as_str().as_bytes();
    let key_of = [name, &[0], kid.as_bytes()].concat();
    put(store, Table::Keys, &key_of, &record)?;
    put(store, Table::Uids, &uid.0.to_be_bytes(), &[&username])?;
    put(store, Table::Users, name, &User { username: username.clone(), connection: Some(connection), kids: vec![kid] })
}

fn put(store: &SledStore, table: Table, key: &[u8], record: &impl Serialize) -> Result<(), StoreFailure> {
    let mut value = vec![RECORD_VERSION];
    serde_json::to_writer(&mut value, record).map_err(|_| StoreFailure::Damaged { table: table.name() })?;
    store.write_lazily(table, key, value)
}
