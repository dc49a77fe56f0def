//! A store under a seal: counts every change and seals its result before acknowledging it
//! ([`super::seal`]).
//!
//! Refuses to open a store that disagrees with its seal (P8, V74). A change whose seal cannot be
//! written is not acknowledged, and blocks the next change. The revocation of a key or passkey is
//! recorded outside of the store first, so that it survives the loss of the store.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::passkeys::{PasskeyState, Passkeys};
use super::seal::{Agreement, ContentDigest, Disagreement, InnerSeal, Seal, compare};
use super::seal_file::{NotOpened, RevocationId, SealFile, SealFileFailure};
use super::typed::key_of_users;
use super::{Change, Entry, Interrupted, Store, StoreFailure, Table, Transaction, Verdict, decode, encode};
use crate::identity::Username;
use crate::keyring::{KeyRecord, KeyState};

/// The key of the store's own seal, among the counters.
const INNER_SEAL: &[u8] = b"seal";

/// Entries for each read of a full scan.
const READ_AT_ONCE: usize = 4_096;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnsealedStore {
    /// The store, its seal or its revocations disagree.
    #[error(
        "{directory}: {why}. A key that was revoked may be active in it. Put the newest state back, or see \
         `countersign state accept --help`"
    )]
    Disagrees {
        /// The state directory.
        directory: PathBuf,
        /// How they disagree.
        why: Disagreement,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// A store and its seal.
pub struct SealedStore<S> {
    store: S,
    /// Locked for the whole of a change, so changes run one at a time.
    file: Mutex<SealFile>,
}

impl<S: Store> SealedStore<S> {
    /// Puts a store under the seal in the state directory. Creates the seal for a store without
    /// one.
    ///
    /// # Errors
    /// Store and seal disagree, or an I/O error.
    pub fn open(store: S, directory: &Path) -> Result<Self, UnsealedStore> {
        let failure = |failure| unsealed(directory, failure);
        let opened = SealFile::open(directory).map_err(failure)?;
        let inner = inner_seal(&store)?;
        let content = content_of(&store)?;
        let agreement =
            compare(opened.as_ref().map(SealFile::seal), inner.as_ref(), content).map_err(|why| failure(why.into()))?;
        let seal = Seal { changes: inner.map_or(0, |inner| inner.changes), content };
        let mut file = match (agreement, opened) {
            (Agreement::Same | Agreement::OneAhead, Some(file)) => file,
            (_, None) | (Agreement::Unsealed, Some(_)) => SealFile::create(directory, seal).map_err(failure)?,
        };
        if agreement == Agreement::OneAhead {
            file.keep(seal).map_err(StoreFailure::from)?;
        }
        let unfinished: HashSet<RevocationId> = file.take_tail().into_iter().collect();
        let sealed = Self { store, file: Mutex::new(file) };
        if !unfinished.is_empty() {
            sealed.revoke(&unfinished)?;
        }
        Ok(sealed)
    }

    /// Completes recorded revocations that did not reach the store before the process ended.
    fn revoke(&self, unfinished: &HashSet<RevocationId>) -> Result<(), StoreFailure> {
        for key in active_keys(&self.store)? {
            if unfinished.contains(&RevocationId::of_key(&key.owner, key.kid)) {
                let revoked = KeyRecord { state: KeyState::Revoked, ..key };
                let record = encode(Table::Keys, &revoked)?;
                let place = key_of(&revoked);
                self.transact(&|transaction| {
                    transaction.write(Table::Keys, &place, record.clone())?;
                    Ok(Verdict::Commit)
                })?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, SealFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for SealedStore<S> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.store.read(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Entry>, StoreFailure> {
        self.store.scan(table, prefix, after, count)
    }

    fn transact(&self, change: &Change<'_>) -> Result<(), StoreFailure> {
        let mut file = self.lock();
        // The store must never be more than one change ahead of the seal. Otherwise an honest crash
        // looks like an old seal.
        let inner = inner_seal(&self.store)?;
        if let Some(inner) = inner.filter(|inner| inner.changes > file.seal().changes) {
            file.keep(Seal { changes: inner.changes, content: inner.content })?;
        }
        let (sealing, noted, next) = (RefCell::new(&mut *file), RefCell::new(HashSet::new()), RefCell::new(None));
        self.store.transact(&|transaction| {
            next.replace(None);
            let watched = Watched { inner: transaction, before: RefCell::default() };
            let verdict = change(&watched)?;
            if verdict == Verdict::Abort {
                return Ok(verdict);
            }
            let Some(changed) = watched.changed(sealing.borrow().seal())? else { return Ok(verdict) };
            let new: Vec<RevocationId> =
                changed.revoked.into_iter().filter(|id| noted.borrow_mut().insert(*id)).collect();
            sealing.borrow_mut().note_revocations(&new).map_err(StoreFailure::from)?;
            transaction.write(Table::Counters, INNER_SEAL, encode(Table::Counters, &changed.seal)?)?;
            next.replace(Some(changed.seal));
            Ok(verdict)
        })?;
        if let Some(InnerSeal { changes, content, .. }) = next.into_inner() {
            file.keep(Seal { changes, content })?;
        }
        Ok(())
    }

    /// Only for times of last use, which the seal does not cover and which may be lost.
    fn write_lazily(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreFailure> {
        if table.is_sealed() {
            return Err(StoreFailure::Damaged { table: table.name() });
        }
        self.store.write_lazily(table, key, value)
    }
}

/// Values of table keys.
type Held = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A transaction that remembers the earlier values of the keys it writes.
struct Watched<'t> {
    inner: &'t dyn Transaction,
    before: RefCell<Held>,
}

struct Changed {
    seal: InnerSeal,
    revoked: Vec<RevocationId>,
}

impl Watched<'_> {
    fn remember(&self, table: Table, key: &[u8]) -> Result<(), Interrupted> {
        let place = (table, key.to_owned());
        if table.is_sealed() && !self.before.borrow().contains_key(&place) {
            let before = self.inner.read(table, key)?;
            self.before.borrow_mut().insert(place, before);
        }
        Ok(())
    }

    /// The next seal, and the revocations; `None` if no value changed.
    fn changed(&self, sealed: &Seal) -> Result<Option<Changed>, Interrupted> {
        let (mut content, mut revoked, mut is_changed) = (sealed.content, Vec::new(), false);
        for (&(table, ref key), before) in &*self.before.borrow() {
            let after = self.inner.read(table, key)?;
            if after == *before {
                continue;
            }
            is_changed = true;
            if let Some(value) = before {
                content.remove(table, key, value);
            }
            if let Some(value) = &after {
                content.add(table, key, value);
            }
            revoked.extend(revocations(table, key, before.as_deref(), after.as_deref())?);
        }
        let seal = InnerSeal { changes: sealed.changes.saturating_add(1), content, before: sealed.content };
        Ok(is_changed.then_some(Changed { seal, revoked }))
    }
}

impl Transaction for Watched<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Interrupted> {
        self.inner.read(table, key)
    }

    fn write(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), Interrupted> {
        self.remember(table, key)?;
        self.inner.write(table, key, value)
    }

    fn remove(&self, table: Table, key: &[u8]) -> Result<(), Interrupted> {
        self.remember(table, key)?;
        self.inner.remove(table, key)
    }
}

/// The keys and passkeys that are active before the change and not after it. Their revocation is
/// final, whatever happens to the store.
fn revocations(
    table: Table,
    key: &[u8],
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<Vec<RevocationId>, StoreFailure> {
    match table {
        Table::Keys => {
            let read = |value: Option<&[u8]>| -> Result<Option<KeyRecord>, StoreFailure> {
                value.map(|value| decode(table, value)).transpose()
            };
            let is_active = |record: &KeyRecord| record.state == KeyState::Active;
            let (before, after) = (read(before)?, read(after)?);
            if after.as_ref().is_some_and(is_active) || before.as_ref().is_some_and(|before| !is_active(before)) {
                return Ok(Vec::new());
            }
            let ended = after.or(before);
            Ok(ended.map(|record| RevocationId::of_key(&record.owner, record.kid)).into_iter().collect())
        }
        Table::Passkeys => {
            let owner = std::str::from_utf8(key).ok().and_then(|name| Username::parse(name).ok());
            let owner = owner.ok_or(StoreFailure::Damaged { table: table.name() })?;
            let active = |value: Option<&[u8]>| -> Result<HashSet<String>, StoreFailure> {
                let theirs: Option<Passkeys> = value.map(|value| decode(table, value)).transpose()?;
                let passkeys = theirs.map(|theirs| theirs.passkeys).unwrap_or_default();
                let active = passkeys.into_iter().filter(|passkey| passkey.state == PasskeyState::Active);
                Ok(active.map(|passkey| passkey.id).collect())
            };
            let after = active(after)?;
            let ended = active(before)?.into_iter().filter(|id| !after.contains(id));
            Ok(ended.map(|id| RevocationId::of_passkey(&owner, &id)).collect())
        }
        Table::Users
        | Table::Uids
        | Table::Uses
        | Table::Tickets
        | Table::TicketsBySender
        | Table::TicketsByAge
        | Table::Codes
        | Table::Outbox
        | Table::Counters
        | Table::PasskeyIds
        | Table::Drives
        | Table::DriveOutbox
        | Table::Tasks
        | Table::Jobs
        | Table::Links
        | Table::LinkIds
        | Table::Licences
        | Table::EndedJobs
        | Table::Projects
        | Table::Usages
        | Table::UsageTotals
        | Table::DriveUsages => Ok(Vec::new()),
    }
}

/// The fate of the keys when the administrator accepts a state that disagrees with its seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeysAccepted {
    /// A key stays active if it is active in the store and not in the list of revocations, which
    /// must be complete.
    Keep,
    /// All keys are revoked and all passkeys removed.
    Revoke,
}

/// The effect of accepting a state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Accepted {
    /// Keys that stay active.
    pub active: usize,
    /// Keys that were active in the store and are now revoked.
    pub revoked: usize,
    /// Passkeys removed.
    pub passkeys: usize,
    /// Unfinished connections, which must be begun again.
    pub tickets: usize,
}

/// Seals a store as it is, after removing every right that may have been revoked. If interrupted,
/// the store still disagrees with its seal, and the caller repeats the call.
///
/// # Errors
/// Keys are to be kept and the list of revocations is incomplete, or the store or the system
/// failed.
pub fn accept<S: Store>(store: &S, directory: &Path, keys: KeysAccepted) -> Result<Accepted, UnsealedStore> {
    let failure = |failure| unsealed(directory, failure);
    match SealFile::open(directory).map_err(failure) {
        Ok(Some(_)) | Err(UnsealedStore::Disagrees { why: Disagreement::Copied, .. }) => {}
        // Without a seal the number of revocations is unknown.
        Ok(None) if keys == KeysAccepted::Keep => {
            let changes = inner_seal(store)?.map_or(0, |inner| inner.changes);
            return Err(failure(Disagreement::SealMissing { changes }.into()));
        }
        Err(refused @ UnsealedStore::Disagrees { .. }) if keys == KeysAccepted::Keep => return Err(refused),
        Ok(None) | Err(UnsealedStore::Disagrees { .. }) => {}
        Err(failed @ UnsealedStore::Store(_)) => return Err(failed),
    }
    let listed = super::seal_file::revocations(directory).map_err(failure)?;
    let is_revoked = |id: &RevocationId| keys == KeysAccepted::Revoke || listed.contains(id);
    let mut done = Accepted::default();
    for record in active_keys(store)? {
        if !is_revoked(&RevocationId::of_key(&record.owner, record.kid)) {
            done.active = done.active.saturating_add(1);
            continue;
        }
        let value = encode(Table::Keys, &KeyRecord { state: KeyState::Revoked, ..record.clone() })?;
        write(store, Table::Keys, &key_of(&record), Some(value))?;
        done.revoked = done.revoked.saturating_add(1);
    }
    for_each(store, Table::Passkeys, &mut |key, value| {
        let mut theirs: Passkeys = decode(Table::Passkeys, value)?;
        let owner = std::str::from_utf8(key).ok().and_then(|name| Username::parse(name).ok());
        let owner = owner.ok_or(StoreFailure::Damaged { table: Table::Passkeys.name() })?;
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut theirs.passkeys)
            .into_iter()
            .partition(|passkey| is_revoked(&RevocationId::of_passkey(&owner, &passkey.id)));
        for passkey in &gone {
            write(store, Table::PasskeyIds, &crate::jws::sha256(&[passkey.id.as_bytes()]), None)?;
        }
        done.passkeys = done.passkeys.saturating_add(gone.len());
        theirs.passkeys = left;
        let value = if theirs.passkeys.is_empty() { None } else { Some(encode(Table::Passkeys, &theirs)?) };
        write(store, Table::Passkeys, key, value)
    })?;
    for table in [Table::Tickets, Table::Codes] {
        for_each(store, table, &mut |key, _| {
            done.tickets = done.tickets.saturating_add(usize::from(table == Table::Tickets));
            write(store, table, key, None)
        })?;
    }
    let changes = inner_seal(store)?.map_or(0, |inner| inner.changes).max(SealFile::changes_in(directory));
    let content = content_of(store)?;
    let seal = Seal { changes: changes.saturating_add(1), content };
    let inner = InnerSeal { changes: seal.changes, content, before: content };
    write(store, Table::Counters, INNER_SEAL, Some(encode(Table::Counters, &inner)?))?;
    SealFile::create(directory, seal).map_err(failure)?;
    Ok(done)
}

fn unsealed(directory: &Path, failure: NotOpened) -> UnsealedStore {
    match failure {
        NotOpened::Disagrees(why) => UnsealedStore::Disagrees { directory: directory.to_owned(), why },
        NotOpened::File(failure) => StoreFailure::from(failure).into(),
    }
}

impl From<SealFileFailure> for StoreFailure {
    fn from(failure: SealFileFailure) -> Self {
        Self::Seal(Box::new(failure))
    }
}

fn write<S: Store>(store: &S, table: Table, key: &[u8], value: Option<Vec<u8>>) -> Result<(), StoreFailure> {
    store.transact(&|transaction| {
        match &value {
            Some(value) => transaction.write(table, key, value.clone())?,
            None => transaction.remove(table, key)?,
        }
        Ok(Verdict::Commit)
    })
}

fn inner_seal<S: Store>(store: &S) -> Result<Option<InnerSeal>, StoreFailure> {
    store.read(Table::Counters, INNER_SEAL)?.map(|value| decode(Table::Counters, &value)).transpose()
}

/// Digests the whole sealed content.
fn content_of<S: Store>(store: &S) -> Result<ContentDigest, StoreFailure> {
    let mut content = ContentDigest::default();
    for table in Table::ALL.into_iter().filter(|table| table.is_sealed()) {
        for_each(store, table, &mut |key, value| {
            if table != Table::Counters || key != INNER_SEAL {
                content.add(table, key, value);
            }
            Ok(())
        })?;
    }
    Ok(content)
}

fn active_keys<S: Store>(store: &S) -> Result<Vec<KeyRecord>, StoreFailure> {
    let mut keys = Vec::new();
    for_each(store, Table::Keys, &mut |_, value| {
        let key: KeyRecord = decode(Table::Keys, value)?;
        if key.state == KeyState::Active {
            keys.push(key);
        }
        Ok(())
    })?;
    Ok(keys)
}

type Each<'e> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreFailure> + 'e;

fn for_each<S: Store>(store: &S, table: Table, each: &mut Each<'_>) -> Result<(), StoreFailure> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let entries = store.scan(table, b"", after.as_deref(), READ_AT_ONCE)?;
        for (key, value) in &entries {
            each(key, value)?;
        }
        match entries.into_iter().last() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

fn key_of(key: &KeyRecord) -> Vec<u8> {
    key_of_users(&key.owner, key.kid.as_bytes())
}
