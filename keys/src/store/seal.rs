//! Compares the store with a seal that is kept outside of it, to detect a store that went back in
//! time or was damaged.
//!
//! A database recovers from damage by dropping what it cannot read. In a key store, a dropped
//! revocation makes the key active again (V74). Every change therefore increments a counter and
//! updates a digest of the whole content. A file beside the store has the same two values
//! ([`super::seal_file`]).
//!
//! This detects accidents: damage, a restored copy, a lost write. It does not detect an attacker
//! who can write the state directory, because such an attacker can write both. Against them the
//! user's own pins hold (P3).

use serde::{Deserialize, Serialize};

use super::Table;
use crate::jws::sha256_of_texts;

/// The seal's file, in the state directory.
pub const SEAL_FILE: &str = "store.seal";

/// A digest of a set of entries that is updated entry by entry: the sum of their SHA-256 values,
/// modulo 2^256.
///
/// The order of entries does not matter, and each table and key occurs once.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ContentDigest([u64; 4]);

impl ContentDigest {
    /// Adds an entry.
    pub fn add(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(limbs(table, key, value)) {
            let (sum, first) = limb.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first || second);
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let mut borrow = false;
        for (limb, less) in self.0.iter_mut().zip(limbs(table, key, value)) {
            let (difference, first) = limb.overflowing_sub(less);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (difference, first || second);
        }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *to = limb.to_le_bytes();
        }
        bytes
    }

    /// Makes the digest with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut digest = Self::default();
        for (limb, from) in digest.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*from);
        }
        digest
    }
}

/// Least significant limb first.
fn limbs(table: Table, key: &[u8], value: &[u8]) -> [u64; 4] {
    ContentDigest::from_bytes(&sha256_of_texts(&[table.name().as_bytes(), key, value])).0
}

/// The state of the store after a change, as the file beside it records it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seal {
    /// The number of changes.
    pub changes: u64,
    /// The content after the last change.
    pub content: ContentDigest,
}

/// The same state, as the store itself records it. A store without changes under a seal has none,
/// which counts as zero changes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InnerSeal {
    /// The number of changes.
    pub changes: u64,
    /// The content after the last change.
    pub content: ContentDigest,
    /// The content before it.
    pub before: ContentDigest,
}

/// How the store agrees with its seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Agreement {
    /// No seal yet: a new store, or one of an earlier release.
    Unsealed,
    /// Both record the same state.
    Same,
    /// The store has one change more: the process ended before it wrote the seal.
    OneAhead,
}

/// How the store disagrees with its seal. Each is a reason not to start.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// Acknowledged changes are missing from the store.
    #[error("the store went back: its last {lost} of {changes} changes are missing")]
    WentBack {
        /// The number of missing changes.
        lost: u64,
        /// The number of changes under the seal.
        changes: u64,
    },
    /// The content is not that of the last change.
    #[error("the store is damaged: it does not hold what it held after change {changes}")]
    Damaged {
        /// The last change.
        changes: u64,
    },
    /// The store has changes that the seal does not count.
    #[error("the seal went back: the store has {changes} changes, the seal {sealed}")]
    SealWentBack {
        /// Changes in the store.
        changes: u64,
        /// Changes under the seal.
        sealed: u64,
    },
    /// There is no file.
    #[error("the seal is missing: the store has {changes} changes that were made under one")]
    SealMissing {
        /// Changes in the store.
        changes: u64,
    },
    /// Neither half of the file can be read.
    #[error("the seal is damaged")]
    SealDamaged,
    /// The file is a copy.
    #[error("the state directory is a copy: it was restored from a backup, or moved to another disk")]
    Copied,
    /// The list of revocations is shorter than the seal says, or was changed.
    #[error("the list of revocations is incomplete or was changed")]
    Revocations,
}

/// Compares the file's seal with the store's own record and with the store's content.
///
/// # Errors
/// They disagree.
pub fn compare(
    kept: Option<&Seal>,
    inner: Option<&InnerSeal>,
    content: ContentDigest,
) -> Result<Agreement, Disagreement> {
    let changes = inner.map_or(0, |inner| inner.changes);
    if inner.is_some_and(|inner| inner.content != content) {
        return Err(Disagreement::Damaged { changes });
    }
    let Some(kept) = kept else {
        return if changes == 0 { Ok(Agreement::Unsealed) } else { Err(Disagreement::SealMissing { changes }) };
    };
    match changes.checked_sub(kept.changes) {
        None => Err(Disagreement::WentBack { lost: kept.changes.saturating_sub(changes), changes: kept.changes }),
        Some(0) if kept.content == content => Ok(Agreement::Same),
        Some(0) => Err(Disagreement::Damaged { changes }),
        Some(1) if inner.is_some_and(|inner| inner.before == kept.content) => Ok(Agreement::OneAhead),
        Some(_) => Err(Disagreement::SealWentBack { changes, sealed: kept.changes }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest_of(entries: &[(&[u8], &[u8])]) -> ContentDigest {
        let mut digest = ContentDigest::default();
        for (key, value) in entries {
            digest.add(Table::Keys, key, value);
        }
        digest
    }

    fn inner(changes: u64, content: ContentDigest, before: ContentDigest) -> InnerSeal {
        InnerSeal { changes, content, before }
    }

    #[test]
    fn v74_every_disagreement_has_its_name() {
        let (empty, first, second) = (digest_of(&[]), digest_of(&[(b"a", b"1")]), digest_of(&[(b"a", b"2")]));
        let check = |kept: Option<(u64, ContentDigest)>, stored: Option<InnerSeal>, content, want| {
            let kept = kept.map(|(changes, content)| Seal { changes, content });
            assert_eq!(compare(kept.as_ref(), stored.as_ref(), content), want, "{kept:?} {stored:?}");
        };
        let stored = inner(7, second, first);
        check(None, None, first, Ok(Agreement::Unsealed));
        check(Some((0, first)), None, first, Ok(Agreement::Same));
        check(Some((7, second)), Some(stored), second, Ok(Agreement::Same));
        check(Some((6, first)), Some(stored), second, Ok(Agreement::OneAhead));
        check(Some((6, empty)), Some(stored), second, Err(Disagreement::SealWentBack { changes: 7, sealed: 6 }));
        check(Some((5, first)), Some(stored), second, Err(Disagreement::SealWentBack { changes: 7, sealed: 5 }));
        check(Some((9, second)), Some(stored), second, Err(Disagreement::WentBack { lost: 2, changes: 9 }));
        check(Some((9, second)), None, empty, Err(Disagreement::WentBack { lost: 9, changes: 9 }));
        check(Some((7, second)), Some(stored), first, Err(Disagreement::Damaged { changes: 7 }));
        check(Some((7, first)), Some(stored), second, Err(Disagreement::Damaged { changes: 7 }));
        check(Some((0, first)), None, second, Err(Disagreement::Damaged { changes: 0 }));
        check(None, Some(stored), second, Err(Disagreement::SealMissing { changes: 7 }));
    }

    proptest! {
        #[test]
        fn a_digest_does_not_depend_on_the_way_to_its_set(
            kept in proptest::collection::btree_map(any::<[u8; 2]>(), any::<[u8; 2]>(), 0..20),
            passing in proptest::collection::vec((any::<[u8; 3]>(), any::<[u8; 2]>()), 0..20),
        ) {
            let want = digest_of(&kept.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>());
            let mut got = ContentDigest::default();
            for (key, value) in &passing {
                got.add(Table::Keys, key, value);
            }
            for (key, value) in kept.iter().rev() {
                got.add(Table::Keys, key, value);
            }
            for (key, value) in passing.iter().rev() {
                got.remove(Table::Keys, key, value);
            }
            prop_assert_eq!(got, want);
            prop_assert_eq!(ContentDigest::from_bytes(&got.to_bytes()), got);
            if let Some((key, value)) = kept.iter().next() {
                got.remove(Table::Keys, key, value);
                prop_assert_ne!(got, want);
                got.add(Table::Users, key, value);
                prop_assert_ne!(got, want, "the table counts");
            }
        }
    }
}
