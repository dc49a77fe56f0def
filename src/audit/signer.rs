//! Follows the records: reads each line once it is written, builds the tree, and signs its root.
//!
//! Runs in the server, with a key that no other process reads. A compromised gateway can write
//! false records from then on, but cannot change signed ones. A checkpoint covers only what is on
//! the disk, so that a loss of power does not make an honest log look forged. Refuses a log that
//! contradicts the last checkpoint, at start-up and later (P8).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use time::Date;

use super::checkpoint::{Checkpoint, CheckpointRejection};
use super::layout::{LogLayout, read_if_there, replace_for_good};
use super::note::SigningKey;
use super::reader::{Next, RecordReader};
use super::space::share_of;
use super::tree::{Hash, Leaf, Tree};

/// Full tiles waiting to be written: 0.5 MiB.
const PENDING_MAX: usize = 64;

/// Why a log cannot be signed further.
#[derive(Debug, thiserror::Error)]
pub enum SigningFailure {
    /// An I/O error; a retry may help.
    #[error("{path} cannot be used")]
    File {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The checkpoint was not signed with this key.
    #[error("the checkpoint in {directory} is refused")]
    Checkpoint {
        /// The log's directory.
        directory: PathBuf,
        /// The cause.
        source: CheckpointRejection,
    },
    /// The records differ from those that were signed.
    #[error(
        "the records in {directory} are not those of its checkpoint: {what}. See countersign audit verify; a new log begins where the directory is moved away"
    )]
    Diverged {
        /// The log's directory.
        directory: PathBuf,
        /// The difference.
        what: &'static str,
    },
}

impl SigningFailure {
    /// Whether a retry may help.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// Builds and signs one log.
#[derive(Debug)]
pub struct LogSigner {
    layout: LogLayout,
    key: SigningKey,
    tree: Tree,
    published: Checkpoint,
    /// The file that is read; `None` before the first.
    reading: Option<Reading>,
    /// Full tiles to be stored before the next checkpoint.
    pending: Vec<(u8, u64, Vec<Hash>)>,
    leaf: Leaf,
}

#[derive(Debug)]
struct Reading {
    number: u64,
    path: PathBuf,
    lines: RecordReader,
}

impl LogSigner {
    /// Resumes a log at its checkpoint, or begins one in an empty directory.
    ///
    /// # Errors
    /// If it cannot be read, or differs from what was signed.
    pub fn open(layout: LogLayout, key: SigningKey) -> Result<Self, SigningFailure> {
        let published = match at(&layout.checkpoint(), read_if_there)? {
            note if note.is_empty() => begin(&layout, &key)?,
            note => Checkpoint::open(&note, key.public())
                .map_err(|source| SigningFailure::Checkpoint { directory: layout.directory().to_owned(), source })?,
        };
        let (tree, pending, leaf) = (Tree::default(), Vec::new(), Leaf::default());
        let mut signer = Self { layout, key, tree, published, reading: None, pending, leaf };
        signer.catch_up()?;
        Ok(signer)
    }

    /// Reads and signs the new records. `true` if there is a new checkpoint.
    ///
    /// # Errors
    /// If a file cannot be used, or if records that were read before are gone.
    pub fn step(&mut self) -> Result<bool, SigningFailure> {
        let before = self.published.size;
        loop {
            self.read_on()?;
            let Some(next) = self.following()? else { break };
            // A file with a successor is finished, but may have grown since it was read.
            self.read_on()?;
            self.finish_segment()?;
            self.begin_segment(next)?;
        }
        self.publish()?;
        Ok(self.published.size > before)
    }

    /// Records that were read and that no checkpoint covers yet.
    pub const fn backlog(&self) -> u64 {
        self.tree.size().saturating_sub(self.published.size)
    }

    /// The latest checkpoint, signed.
    pub fn note(&self) -> String {
        self.published.sign(&self.key)
    }

    /// A fraction of the log's file system, in bytes; `None` if the system does not tell.
    pub fn share_of_file_system(&self, part: u64) -> Option<u64> {
        File::open(self.layout.directory()).and_then(|directory| share_of(&directory, part)).ok()
    }

    /// Deletes the oldest files of records: those from days before `since`, and those beyond
    /// `bytes_max` bytes. The newest always stays. A signed statement of the deletion is written
    /// first, and the tiles that later proofs need stay.
    ///
    /// # Errors
    /// If a file cannot be written or deleted.
    pub fn prune(&self, since: Option<Date>, bytes_max: Option<u64>) -> Result<(), SigningFailure> {
        let Some(reading) = &self.reading else { return Ok(()) };
        let mut segments = at(&self.layout.entries(), |_| self.layout.segments())?;
        segments.retain(|segment| segment.number <= reading.number);
        let mut bytes = 0_u64;
        let mut kept = reading.number;
        for segment in segments.iter().rev() {
            let length = at(&segment.path, |path| std::fs::metadata(path))?.len();
            bytes = bytes.saturating_add(length);
            let is_old = since.zip(segment.date()).is_some_and(|(since, date)| date < since);
            let is_too_much = bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
            if (is_old || is_too_much) && segment.number < reading.number {
                break;
            }
            kept = segment.number;
        }
        let deleted: Vec<_> = segments.iter().filter(|segment| segment.number < kept).collect();
        let list = at(&self.layout.segment_list(), |_| self.layout.first_records())?;
        let begins = |number: u64| list.iter().find(|(listed, _)| *listed == number).map(|(_, first)| *first);
        let (Some(oldest), Some(first)) = (deleted.first(), begins(kept)) else { return Ok(()) };
        let statement = self.key.sign(&format!("{}\npruned\n{first}\n", self.key.public().name()));
        at(&self.layout.pruned(), |path| replace_for_good(path, statement.as_bytes()))?;
        let before = begins(oldest.number).unwrap_or(0);
        for segment in deleted {
            at(&segment.path, |path| std::fs::remove_file(path))?;
        }
        at(self.layout.directory(), |_| self.layout.remove_tiles(before, first))?;
        tracing::info!(log = self.key.public().name(), records = first, "deleted oldest records");
        Ok(())
    }

    /// Reads the records of the checkpoint's file up to the checkpoint, and verifies that they are
    /// the signed ones.
    fn catch_up(&mut self) -> Result<(), SigningFailure> {
        let list = at(&self.layout.segment_list(), |_| self.layout.first_records())?;
        let size = self.published.size;
        let Some((number, first)) = list.into_iter().rfind(|(_, first)| *first <= size) else {
            return if size == 0 { Ok(()) } else { Err(self.diverged("the list of its files is gone")) };
        };
        let segments = at(&self.layout.entries(), |_| self.layout.segments())?;
        let found = segments.into_iter().find(|segment| segment.number == number);
        let path = found.ok_or_else(|| self.diverged("the newest file that it covers is gone"))?.path;
        self.tree = at(self.layout.directory(), |_| self.layout.tree_at(first))?;
        let mut lines = at(&path, RecordReader::open)?;
        let mut tiles = Vec::new();
        while self.tree.size() < size {
            if at(&path, |_| lines.next(&mut self.leaf))? != Next::Record {
                return Err(self.diverged("the last ones are gone"));
            }
            self.tree.push(self.leaf.hash(), |tile| tiles.push((tile.level, tile.index, tile.hashes.to_vec())));
        }
        if self.tree.root() != self.published.root {
            return Err(self.diverged("some were changed, or its tiles were"));
        }
        self.reading = Some(Reading { number, path, lines });
        // A loss of power may have lost tiles, but not the records.
        for (level, index, hashes) in tiles {
            if self.layout.read_tile(level, index, hashes.len()).ok().as_ref() != Some(&hashes) {
                self.write_tile(level, index, &hashes)?;
            }
        }
        self.write_edge(0)
    }

    /// Reads to the end of the file.
    fn read_on(&mut self) -> Result<(), SigningFailure> {
        let Some(mut reading) = self.reading.take() else { return Ok(()) };
        let outcome = self.read_lines(&mut reading);
        self.reading = Some(reading);
        outcome
    }

    fn read_lines(&mut self, reading: &mut Reading) -> Result<(), SigningFailure> {
        let length = at(&reading.path, |_| reading.lines.file().metadata())?.len();
        if length < reading.lines.offset() {
            return Err(self.diverged("the last ones were cut off"));
        }
        while at(&reading.path, |_| reading.lines.next(&mut self.leaf))? == Next::Record {
            let pending = &mut self.pending;
            self.tree.push(self.leaf.hash(), |tile| pending.push((tile.level, tile.index, tile.hashes.to_vec())));
            if self.pending.len() >= PENDING_MAX {
                self.write_pending()?;
            }
        }
        Ok(())
    }

    /// The next file.
    fn following(&self) -> Result<Option<(u64, PathBuf)>, SigningFailure> {
        let segments = at(&self.layout.entries(), |_| self.layout.segments())?;
        let wanted = self.reading.as_ref().map_or(1, |reading| reading.number.saturating_add(1));
        let mut later = segments.into_iter().filter(|segment| segment.number >= wanted);
        match later.next() {
            Some(next) if next.number == wanted => Ok(Some((next.number, next.path))),
            Some(_) => Err(self.diverged("a file of records is gone")),
            None => Ok(None),
        }
    }

    /// Finishes the file: signs its end, and syncs everything about it to the disk.
    fn finish_segment(&mut self) -> Result<(), SigningFailure> {
        let Some(mut reading) = self.reading.take() else { return Ok(()) };
        let rest = at(&reading.path, |_| reading.lines.next(&mut self.leaf));
        let is_whole = matches!(rest, Ok(Next::End));
        self.reading = Some(reading);
        if !is_whole {
            rest?;
            return Err(self.diverged("a file ends within a record"));
        }
        self.publish()?;
        let note = self.published.sign(&self.key);
        extend_for_good(&self.layout.checkpoints(), &note)?;
        let directory = self.layout.directory();
        at(directory, |path| Ok(nix::unistd::syncfs(File::open(path)?)?))
    }

    fn begin_segment(&mut self, (number, path): (u64, PathBuf)) -> Result<(), SigningFailure> {
        let lines = at(&path, RecordReader::open)?;
        at(&self.layout.entries(), |entries| File::open(entries)?.sync_all())?;
        extend_for_good(&self.layout.segment_list(), &format!("{number} {}\n", self.tree.size()))?;
        self.reading = Some(Reading { number, path, lines });
        Ok(())
    }

    /// Signs the new records, if there are any.
    fn publish(&mut self) -> Result<(), SigningFailure> {
        let size = self.tree.size();
        if size == self.published.size {
            return Ok(());
        }
        if let Some(reading) = &self.reading {
            at(&reading.path, |_| reading.lines.file().sync_data())?;
        }
        self.write_pending()?;
        self.write_edge(self.published.size)?;
        let checkpoint = Checkpoint { size, root: self.tree.root() };
        store_checkpoint(&self.layout, checkpoint, &self.key)?;
        self.published = checkpoint;
        Ok(())
    }

    fn write_pending(&mut self) -> Result<(), SigningFailure> {
        while let Some((level, index, hashes)) = self.pending.first() {
            self.write_tile(*level, *index, hashes)?;
            self.pending.remove(0);
        }
        Ok(())
    }

    /// Stores the partial tiles that have changed since the tree had that size.
    fn write_edge(&self, since: u64) -> Result<(), SigningFailure> {
        let (mut now, mut then) = (self.tree.size(), since);
        for (level, hashes) in (0..=u8::MAX).zip(self.tree.edge()) {
            let is_changed = now != then;
            now >>= 8;
            then >>= 8;
            if is_changed && !hashes.is_empty() {
                self.write_tile(level, now, hashes)?;
            }
        }
        Ok(())
    }

    fn write_tile(&self, level: u8, index: u64, hashes: &[Hash]) -> Result<(), SigningFailure> {
        let path = self.layout.tile(level, index, hashes.len());
        at(&path, |_| self.layout.write_tile(level, index, hashes))
    }

    fn diverged(&self, what: &'static str) -> SigningFailure {
        SigningFailure::Diverged { directory: self.layout.directory().to_owned(), what }
    }
}

/// Begins a log with a checkpoint of no records, so that a log without a checkpoint has lost it.
fn begin(layout: &LogLayout, key: &SigningKey) -> Result<Checkpoint, SigningFailure> {
    let entries = layout.entries();
    at(&entries, |path| std::fs::create_dir(path).or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) }))?;
    let is_empty = at(&entries, |_| layout.segments())?.is_empty();
    if !is_empty || layout.segment_list().exists() {
        let what = "there are records, and the checkpoint is gone";
        return Err(SigningFailure::Diverged { directory: layout.directory().to_owned(), what });
    }
    at(&layout.public_key(), |path| replace_for_good(path, format!("{}\n", key.public()).as_bytes()))?;
    let nothing = Checkpoint { size: 0, root: Hash::of_nothing() };
    store_checkpoint(layout, nothing, key)?;
    Ok(nothing)
}

fn store_checkpoint(layout: &LogLayout, checkpoint: Checkpoint, key: &SigningKey) -> Result<(), SigningFailure> {
    at(&layout.checkpoint(), |path| replace_for_good(path, checkpoint.sign(key).as_bytes()))
}

fn extend_for_good(path: &Path, line: &str) -> Result<(), SigningFailure> {
    at(path, |path| replace_for_good(path, (read_if_there(path)? + line).as_bytes()))
}

/// Runs an operation on a file; an error names the file.
fn at<T>(path: &Path, deed: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, SigningFailure> {
    deed(path).map_err(|source| SigningFailure::File { path: path.to_owned(), source })
}
