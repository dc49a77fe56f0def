//! Checkpoints (c2sp.org/tlog-checkpoint): a log's size and root hash, signed.

use std::fmt;

use super::note::{NoteRejection, SigningKey, VerifierKey};
use super::tree::Hash;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Number of records.
    pub size: u64,
    pub root: Hash,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CheckpointRejection {
    /// The note is refused.
    #[error(transparent)]
    Note(#[from] NoteRejection),
    /// A note signed by the log's key that is not a checkpoint of this log.
    #[error("not a checkpoint of this log")]
    Text,
}

impl Checkpoint {
    /// Opens the checkpoint in a note. The key's name is the log's origin.
    ///
    /// # Errors
    /// If the key has not signed it, or if it is not a checkpoint of that log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, CheckpointRejection> {
        Self::parse(key.open(note)?, key.name()).ok_or(CheckpointRejection::Text)
    }

    fn parse(text: &str, origin: &str) -> Option<Self> {
        // Extension lines may follow.
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (first, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size_read: u64 = size.parse().ok()?;
        let is_plain = first == origin && size == size_read.to_string() && lines.all(|line| !line.is_empty());
        is_plain.then_some(Self { size: size_read, root: Hash::parse(root)? })
    }

    /// The signed note.
    pub fn sign(self, key: &SigningKey) -> String {
        key.sign(&format!("{}\n{}\n{}\n", key.public().name(), self.size, self.root))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records with the root {}", self.size, self.root)
    }
}

#[cfg(test)]
mod tests {
    use countersign_keys::secret::Secret;

    use super::*;

    #[test]
    fn a_checkpoint_is_a_note_of_three_lines() {
        let key = SigningKey::from_seed("example.com/log", &Secret::new([1; 32])).unwrap();
        let checkpoint = Checkpoint { size: 7, root: Hash([9; 32]) };
        let note = checkpoint.sign(&key);
        assert!(note.starts_with(
            "example.com/log\n7\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n\n\u{2014} example.com/log "
        ));
        assert_eq!(Checkpoint::open(&note, key.public()), Ok(checkpoint));
        let check = |text: &str| {
            let opened = Checkpoint::open(&key.sign(text), key.public());
            assert_eq!(opened, Err(CheckpointRejection::Text), "{text:?}");
        };
        let root = Hash([9; 32]);
        check(&format!("example.com/other\n7\n{root}\n"));
        check(&format!("example.com/log\n07\n{root}\n"));
        check(&format!("example.com/log\n+7\n{root}\n"));
        check(&format!("example.com/log\npruned\n{root}\n"));
        check("example.com/log\n7\nCQk=\n");
        check("example.com/log\n7\n");
        check(&format!("example.com/log\n7\n{root}\n\n"));
        let extended = key.sign(&format!("example.com/log\n7\n{root}\nmore\n"));
        assert_eq!(Checkpoint::open(&extended, key.public()), Ok(checkpoint));
    }
}
