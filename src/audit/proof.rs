//! Inclusion proofs: show that one record is in a log, without the log. The proof is the record's
//! path to the root of a checkpoint (RFC 6962, section 2.1.1), in the format c2sp.org/tlog-proof.
//! The record is the proof's extra data, which is not trusted before it is hashed.

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointRejection};
use super::layout::{LogLayout, RECORD_MAX};
use super::note::VerifierKey;
use super::tree::{Hash, Leaf, perfect};

/// First line of a proof.
pub const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A path has at most one hash for each level.
const HASHES_MAX: usize = 64;

/// Why a text proves nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProofRejection {
    /// Not a proof with its record.
    #[error("not a proof that contains its record")]
    Malformed,
    /// Its checkpoint is refused.
    #[error("its checkpoint is refused")]
    Checkpoint(#[from] CheckpointRejection),
    /// The path leads to another root.
    #[error("this record is not in that log")]
    Root,
}

/// A record that is proven to be in a log.
#[derive(Debug)]
pub struct Proven {
    pub index: u64,
    pub record: Vec<u8>,
    /// The signed checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// The sibling hashes on the path from a record to the root of the tree of that size.
///
/// # Errors
/// If a tile is missing, or the tree has no such record.
pub fn path(layout: &LogLayout, index: u64, size: u64) -> io::Result<Vec<Hash>> {
    if index >= size {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (mut low, mut high, mut beside) = (0, size, Vec::new());
    while high.saturating_sub(low) > 1 {
        let split = low.saturating_add(left_width(high.saturating_sub(low)));
        if index < split {
            beside.push(hash_of(layout, split, high)?);
            high = split;
        } else {
            beside.push(hash_of(layout, low, split)?);
            low = split;
        }
    }
    beside.reverse();
    Ok(beside)
}

/// Serialises a proof. `checkpoint` is a signed note.
pub fn to_text(record: &[u8], index: u64, path: &[Hash], checkpoint: &str) -> String {
    let mut text = format!("{FIRST_LINE}\nextra {}\nindex {index}\n", STANDARD.encode(record));
    for hash in path {
        let _ = writeln!(text, "{hash}");
    }
    text.push('\n');
    text.push_str(checkpoint);
    text
}

/// Verifies a proof and returns its record.
///
/// # Errors
/// If the proof is invalid.
pub fn check(text: &str, key: &VerifierKey) -> Result<Proven, ProofRejection> {
    let (proof, checkpoint) = text.split_once("\n\n").ok_or(ProofRejection::Malformed)?;
    let (index, record, path) = parse(proof).ok_or(ProofRejection::Malformed)?;
    let checkpoint = Checkpoint::open(checkpoint, key)?;
    let root = root_by(index, checkpoint.size, Leaf::hash_of(&record), &path);
    if root == Some(checkpoint.root) { Ok(Proven { index, record, checkpoint }) } else { Err(ProofRejection::Root) }
}

fn parse(proof: &str) -> Option<(u64, Vec<u8>, Vec<Hash>)> {
    let mut lines = proof.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let record = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let typed = lines.next()?.strip_prefix("index ")?;
    let index: u64 = typed.parse().ok()?;
    let path = lines.map(Hash::parse).collect::<Option<Vec<_>>>()?;
    let is_good = index.to_string() == typed && record.len() <= RECORD_MAX && path.len() <= HASHES_MAX;
    is_good.then_some((index, record, path))
}

/// The root that a path leads to (RFC 9162, section 2.1.3.2).
fn root_by(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut here, mut last, mut hash) = (index, size.saturating_sub(1), leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if here & 1 == 1 || here == last {
            hash = Hash::node(*beside, hash);
            while here & 1 == 0 && here != 0 {
                here >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(hash, *beside);
        }
        here >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The hash of a subtree.
fn hash_of(layout: &LogLayout, low: u64, high: u64) -> io::Result<Hash> {
    let width = high.saturating_sub(low);
    if !width.is_power_of_two() {
        let split = low.saturating_add(left_width(width));
        return Ok(Hash::node(hash_of(layout, low, split)?, hash_of(layout, split, high)?));
    }
    let level = width.trailing_zeros() / 8;
    let first = low.checked_shr(level.saturating_mul(8)).unwrap_or(0);
    let count = width.checked_shr(level.saturating_mul(8)).unwrap_or(0);
    let (tile, start) = (first >> 8, usize::try_from(first & 255).unwrap_or(0));
    let end = start.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
    let hashes = layout.read_tile(u8::try_from(level).unwrap_or(u8::MAX), tile, end)?;
    Ok(perfect(hashes.get(start..end).unwrap_or_default()))
}

/// The largest power of two below `width`, which is at least 2.
const fn left_width(width: u64) -> u64 {
    width.next_power_of_two() / 2
}
