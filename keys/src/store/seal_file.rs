//! Writes the seal and the list of revocations, in two small files beside the store
//! ([`super::seal`]).
//!
//! `store.seal` has two halves, which are written in turn, so that an interrupted write leaves the
//! other. It records its own inode and time of birth: if they differ, the file is a copy, and with
//! it the whole directory. `store.revoked` is append-only. Each record has a digest over all
//! records before it, and the seal has their number.
//!
//! The order of writes is: revocations, store, seal. A revocation is therefore never lost, and an
//! honest crash never leaves the store behind its seal.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the store's own files")]

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::seal::{ContentDigest, Disagreement, SEAL_FILE, Seal};
use crate::identity::{KeyId, Username};
use crate::jws::{sha256, sha256_of_texts};

/// The list of revocations, in the state directory.
pub const REVOCATIONS_FILE: &str = "store.revoked";

/// Name and version of the format.
const MAGIC: [u8; 8] = *b"csseal01";

/// Length of a half, in bytes: seven fields and a digest over them.
const HALF: usize = 8 + 8 + 32 + 8 + 32 + 8 + 16 + 32;

/// Offset of the second half, in bytes. It has its own page and disk sector, so that no write
/// touches both halves.
const HALF_APART: u64 = 4096;

/// Length of a revocation record, in bytes: the id, and a digest over all records so far.
const RECORD: usize = 64;

/// The id of a revoked key or passkey of a user. A revocation is final.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RevocationId([u8; 32]);

impl RevocationId {
    /// The id of a user's key.
    #[must_use]
    pub fn of_key(owner: &Username, kid: KeyId) -> Self {
        Self(sha256_of_texts(&[b"key", owner.as_str().as_bytes(), kid.as_bytes()]))
    }

    /// The id of a user's passkey, by its credential id.
    #[must_use]
    pub fn of_passkey(owner: &Username, credential: &str) -> Self {
        Self(sha256_of_texts(&[b"passkey", owner.as_str().as_bytes(), credential.as_bytes()]))
    }
}

/// An I/O error on the seal or the revocations.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path}")]
pub struct SealFileFailure {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Why a seal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The files do not have the content that was written.
    #[error(transparent)]
    Disagrees(#[from] Disagreement),
    /// An I/O error.
    #[error(transparent)]
    File(#[from] SealFileFailure),
}

/// The two files, open. The lock on the state directory ensures that only one process has them.
#[derive(Debug)]
pub struct SealFile {
    directory: PathBuf,
    file: File,
    kept: Kept,
    birth: Birth,
    /// Revocations beyond those that the seal counts: the process ended before the store had them.
    tail: Vec<RevocationId>,
}

/// The content of a half.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Kept {
    seal: Seal,
    /// The number of revocations.
    revocations: u64,
    /// The digest over all revocations.
    chain: [u8; 32],
}

/// The properties that distinguish a file from its copies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Birth {
    inode: u64,
    /// Time of creation, in nanoseconds since 1970; 0 if the file system does not record it.
    at_ns: u128,
}

impl SealFile {
    /// Opens the seal in this directory; `None` if there is none.
    ///
    /// # Errors
    /// The seal is damaged or a copy, revocations are missing, or an I/O error.
    pub fn open(directory: &Path) -> Result<Option<Self>, NotOpened> {
        let path = directory.join(SEAL_FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open", &path))?,
        };
        let mut halves = [0, HALF_APART].map(|at| read_half(&file, at)).into_iter().flatten().collect::<Vec<_>>();
        halves.sort_by_key(|(kept, _)| kept.seal.changes);
        let Some((mut kept, birth)) = halves.pop() else { return Err(Disagreement::SealDamaged.into()) };
        let (count, mut records) = (kept.revocations, read_revocations(directory)?);
        let is_whole = match count.checked_sub(1) {
            None => true,
            Some(last) => usize::try_from(last)
                .ok()
                .and_then(|last| records.get(last))
                .is_some_and(|record| record.chain == kept.chain),
        };
        if !is_whole {
            return Err(Disagreement::Revocations.into());
        }
        // Checked last: "copied" then means an undamaged copy.
        if birth_of(&file).map_err(failed("look at", &path))? != birth {
            return Err(Disagreement::Copied.into());
        }
        let tail = records.split_off(usize::try_from(count).unwrap_or(usize::MAX).min(records.len()));
        if let Some(last) = tail.last() {
            kept.revocations = count.saturating_add(u64::try_from(tail.len()).unwrap_or(0));
            kept.chain = last.chain;
        }
        let tail = tail.into_iter().map(|record| record.id).collect();
        Ok(Some(Self { directory: directory.to_owned(), file, kept, birth, tail }))
    }

    /// Writes a seal in this directory, replacing any other. Keeps the list of revocations, as far
    /// as it can be read.
    ///
    /// # Errors
    /// An I/O error.
    pub fn create(directory: &Path, seal: Seal) -> Result<Self, NotOpened> {
        let (path, aside) = (directory.join(SEAL_FILE), directory.join(format!("{SEAL_FILE}.new")));
        let records = read_revocations(directory)?;
        let chain = records.last().map_or([0; 32], |record| record.chain);
        let kept = Kept { seal, revocations: u64::try_from(records.len()).unwrap_or(0), chain };
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &aside)(error).into()),
            Ok(()) | Err(_) => {}
        }
        let make = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&aside)?;
            let birth = birth_of(&file)?;
            file.write_all_at(&half(&kept, birth), 0)?;
            file.write_all_at(&half(&kept, birth), HALF_APART)?;
            file.sync_all()?;
            std::fs::rename(&aside, &path)?;
            File::open(directory)?.sync_all()?;
            Ok((file, birth))
        };
        let (file, birth) = make().map_err(failed("make", &path))?;
        Ok(Self { directory: directory.to_owned(), file, kept, birth, tail: Vec::new() })
    }

    /// The number of changes under the seal of that directory, 0 if it cannot be read. Also for a
    /// copy.
    #[must_use]
    pub fn changes_in(directory: &Path) -> u64 {
        let Ok(file) = File::open(directory.join(SEAL_FILE)) else { return 0 };
        let halves = [0, HALF_APART].map(|at| read_half(&file, at));
        halves.into_iter().flatten().map(|(kept, _)| kept.seal.changes).max().unwrap_or(0)
    }

    /// The seal.
    #[must_use]
    pub const fn seal(&self) -> &Seal {
        &self.kept.seal
    }

    /// Returns the revocations that were recorded and may not be in the store.
    pub(super) fn take_tail(&mut self) -> Vec<RevocationId> {
        std::mem::take(&mut self.tail)
    }

    /// Writes the seal of a change that is in the store. Durable on return.
    pub(super) fn keep(&mut self, seal: Seal) -> Result<(), SealFileFailure> {
        let kept = Kept { seal, ..self.kept };
        let at = if seal.changes.is_multiple_of(2) { 0 } else { HALF_APART };
        let written = self.file.write_all_at(&half(&kept, self.birth), at).and_then(|()| self.file.sync_data());
        written.map_err(failed("write", &self.directory.join(SEAL_FILE)))?;
        self.kept = kept;
        Ok(())
    }

    /// Appends revocations before the store has them. Durable on return.
    pub(super) fn note_revocations(&mut self, ids: &[RevocationId]) -> Result<(), SealFileFailure> {
        if ids.is_empty() {
            return Ok(());
        }
        let path = self.directory.join(REVOCATIONS_FILE);
        let is_new = self.kept.revocations == 0;
        let at = self.kept.revocations.saturating_mul(64);
        let (mut bytes, mut chain) = (Vec::with_capacity(ids.len().saturating_mul(RECORD)), self.kept.chain);
        for id in ids {
            chain = sha256(&[&chain, &id.0]);
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&chain);
        }
        let write = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            // Cuts off an incomplete record of a killed process.
            file.set_len(at)?;
            file.write_all_at(&bytes, at)?;
            file.sync_data()?;
            if is_new { File::open(&self.directory)?.sync_all() } else { Ok(()) }
        };
        write().map_err(failed("write", &path))?;
        self.kept.chain = chain;
        self.kept.revocations = self.kept.revocations.saturating_add(u64::try_from(ids.len()).unwrap_or(0));
        Ok(())
    }
}

/// Every id in the list of revocations of that directory, whatever the seal says of it.
///
/// # Errors
/// The list cannot be read.
pub fn revocations(directory: &Path) -> Result<HashSet<RevocationId>, NotOpened> {
    Ok(read_revocations(directory)?.into_iter().map(|record| record.id).collect())
}

struct Record {
    id: RevocationId,
    chain: [u8; 32],
}

/// Reads the records up to the first whose digest does not match, such as one that was not written
/// completely.
fn read_revocations(directory: &Path) -> Result<Vec<Record>, NotOpened> {
    let path = directory.join(REVOCATIONS_FILE);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed("read", &path))?,
    };
    let blocks = bytes.as_chunks::<RECORD>().0;
    let (mut records, mut before) = (Vec::with_capacity(blocks.len()), [0; 32]);
    for block in blocks {
        let (Some(id), Some(chain)) = (block.first_chunk::<32>(), block.last_chunk::<32>()) else { break };
        if sha256(&[&before, id]) != *chain {
            break;
        }
        before = *chain;
        records.push(Record { id: RevocationId(*id), chain: *chain });
    }
    Ok(records)
}

fn half(kept: &Kept, birth: Birth) -> [u8; HALF] {
    let Kept { seal: Seal { changes, content }, revocations, chain } = kept;
    let body = [
        &MAGIC[..],
        &changes.to_be_bytes(),
        &content.to_bytes(),
        &revocations.to_be_bytes(),
        chain,
        &birth.inode.to_be_bytes(),
        &birth.at_ns.to_be_bytes(),
    ]
    .concat();
    let mut bytes = [0; HALF];
    for (to, from) in bytes.iter_mut().zip(body.iter().chain(&sha256(&[&body]))) {
        *to = *from;
    }
    bytes
}

fn read_half(file: &File, at: u64) -> Option<(Kept, Birth)> {
    let mut bytes = [0; HALF];
    file.read_exact_at(&mut bytes, at).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (changes, rest) = rest.split_first_chunk::<8>()?;
    let (content, rest) = rest.split_first_chunk::<32>()?;
    let (revocations, rest) = rest.split_first_chunk::<8>()?;
    let (chain, rest) = rest.split_first_chunk::<32>()?;
    let (inode, rest) = rest.split_first_chunk::<8>()?;
    let at_ns = rest.first_chunk::<16>()?;
    let seal = Seal { changes: u64::from_be_bytes(*changes), content: ContentDigest::from_bytes(content) };
    let kept = Kept { seal, revocations: u64::from_be_bytes(*revocations), chain: *chain };
    let birth = Birth { inode: u64::from_be_bytes(*inode), at_ns: u128::from_be_bytes(*at_ns) };
    (*magic == MAGIC && bytes == half(&kept, birth)).then_some((kept, birth))
}

fn birth_of(file: &File) -> io::Result<Birth> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(Birth { inode: metadata.ino(), at_ns: born.map_or(0, |born| born.as_nanos()) })
}

fn failed<'p>(step: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> SealFileFailure + use<'p> {
    move |source| SealFileFailure { step, path: path.to_owned(), source }
}
