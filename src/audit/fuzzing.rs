//! Fuzz targets of the log: edited logs, and the texts that a checker reads.
//!
//! Every accepted checkpoint, record and proof was signed, and no change of a byte in a kept log
//! goes unnoticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use countersign_keys::secret::Secret;
use time::{Duration, OffsetDateTime};

use super::checkpoint::Checkpoint;
use super::layout::{LogLayout, Segment};
use super::note::{self, SigningKey, VerifierKey};
use super::verify::{self, Trust};
use super::{Decision, DecisionLog, LogSigner, Process, Verdict, proof, witness_format};

/// Two full tiles of 256, and the start of one on the level above.
const RECORDS: u64 = 600;

/// Bytes of a file: some 130 records.
const SEGMENT: u64 = 16 * 1024;

/// Records between two checkpoints.
const EVERY: u64 = 97;

/// A log as a process of the site wrote it and the server signed it.
pub struct Sample {
    layout: LogLayout,
    key: SigningKey,
    /// Every file with its content.
    files: Vec<(PathBuf, Vec<u8>)>,
    records: Vec<Vec<u8>>,
    notes: Vec<String>,
    checkpoints: Vec<Checkpoint>,
    proofs: Vec<(u64, String)>,
}

impl Sample {
    /// Makes the log in that empty directory.
    pub fn make(directory: &Path) -> Self {
        let layout = LogLayout::new(directory.to_owned());
        let key = || SigningKey::from_seed("hpc.example.org/audit", &Secret::new([5; 32])).unwrap();
        let mut signer = LogSigner::open(layout.clone(), key()).unwrap();
        let log = DecisionLog::open(layout.clone(), SEGMENT).unwrap();
        let mut notes = Vec::new();
        for number in 1..=RECORDS {
            log.append(&Decision {
                time: OffsetDateTime::UNIX_EPOCH + Duration::seconds(i64::try_from(number).unwrap()),
                request_id: &format!("r{number}"),
                process: Process::Gateway,
                username: None,
                call: None,
                kid: None,
                decision: Verdict::Forward,
                status: None,
                reason: None,
                sealed: None,
                counted: None,
            })
            .unwrap();
            if number % EVERY == 0 || number == RECORDS {
                assert!(signer.step().unwrap());
                notes.push(fs::read_to_string(layout.checkpoint()).unwrap());
            }
        }
        let records = records_of(&layout.segments().unwrap());
        // The end of each file of records was signed too.
        let earlier = fs::read_to_string(layout.checkpoints()).unwrap();
        let signed = note::split(&earlier).into_iter().chain(notes.iter().map(String::as_str));
        let checkpoints: Vec<Checkpoint> = signed.map(|note| Checkpoint::open(note, key().public()).unwrap()).collect();
        let proof = |index: u64| {
            let path = proof::path(&layout, index, RECORDS).unwrap();
            let record = &records[usize::try_from(index).unwrap()];
            (index, proof::to_text(record, index, &path, notes.last().unwrap()))
        };
        let proofs = [0, 255, 256, 511, RECORDS - 1].map(proof).into();
        let mut files = Vec::new();
        collect(directory, &mut files);
        Self { layout, key: key(), files, records, notes, checkpoints, proofs }
    }

    /// The content of each file.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.files.iter().map(|(_, bytes)| bytes.as_slice())
    }

    /// An attacker replaces bytes in some files, and an auditor who kept the last checkpoint checks
    /// the log.
    pub fn edited(&self, edits: &[(usize, Vec<u8>)]) {
        for (file, bytes) in edits {
            fs::write(&self.files[*file].0, bytes).unwrap();
        }
        let last = *self.checkpoints.last().unwrap();
        let trust = Trust { key: self.key.public().clone(), remembered: vec![last] };
        let report = verify::verify(&self.layout, &trust);
        let is_good = report.as_ref().is_ok_and(|report| report.findings.is_empty());
        let found = records_of(&self.layout.segments().unwrap());
        for (file, _) in edits {
            fs::write(&self.files[*file].0, &self.files[*file].1).unwrap();
        }
        if !is_good {
            assert!(edits.iter().any(|(file, bytes)| self.files[*file].1 != *bytes), "{report:?} of the log as it was");
            return;
        }
        let report = report.unwrap();
        assert_eq!(report.checkpoint, Some(last));
        assert!(found.starts_with(&self.records), "other records, and nothing was found");
        for (file, bytes) in edits {
            let (path, kept) = &self.files[*file];
            let name = path.strip_prefix(self.layout.directory()).unwrap();
            let is_same = match name.to_str().unwrap() {
                // Newer records are trusted until they are signed.
                name if name.starts_with("entries/") => bytes.starts_with(kept),
                // Partial tiles of earlier trees are never used; the checker has its own key.
                name if name.contains(".p/") && !self.is_of_this_tree(path) => true,
                "vkey" => true,
                // A second signature beside the log's changes nothing, and earlier checkpoints may
                // be missing.
                "checkpoint" | "checkpoints" => self.were_signed(&String::from_utf8_lossy(bytes)),
                _ => bytes == kept,
            };
            assert!(is_same, "{} was changed, and nothing was found", name.display());
        }
    }

    fn is_of_this_tree(&self, path: &Path) -> bool {
        let size = RECORDS;
        (0..3_u8).any(|level| {
            let above = size >> (8 * u32::from(level));
            *path == self.layout.tile(level, above >> 8, usize::try_from(above & 255).unwrap())
        })
    }

    fn were_signed(&self, text: &str) -> bool {
        let open = |note: &str| Checkpoint::open(note, self.key.public());
        note::split(text).into_iter().all(|note| open(note).is_ok_and(|opened| self.checkpoints.contains(&opened)))
    }

    /// Seeds: keys, checkpoints as notes and in a system's log, proofs.
    pub fn texts(&self) -> Vec<String> {
        let lines = self
            .notes
            .iter()
            .map(|note| format!("Nov 23 02:00:00 hpc a[7]: {}\n", witness_format::to_line(note).unwrap()));
        let proofs = self.proofs.iter().map(|(_, text)| text.clone());
        let key = self.key.public().to_string();
        [key, self.notes.concat()].into_iter().chain(lines).chain(self.notes.clone()).chain(proofs).collect()
    }

    /// Parses a text as each kind of input of a checker.
    pub fn told(&self, text: &str) {
        let key = self.key.public();
        if let Ok(read) = VerifierKey::parse(text) {
            assert_eq!(read.to_string(), text.trim_end(), "two spellings of one key");
        }
        if let Ok(opened) = Checkpoint::open(text, key) {
            assert!(self.checkpoints.contains(&opened), "nobody signed {opened}");
        }
        assert_eq!(note::split(text).concat(), text, "a file of notes that lost something");
        for note in witness_format::notes(text) {
            if let Ok(opened) = Checkpoint::open(&note, key) {
                assert!(self.checkpoints.contains(&opened), "nobody signed {opened}");
                if let Some(line) = witness_format::to_line(&note) {
                    assert_eq!(witness_format::notes(&line), [note]);
                }
            }
        }
        if let Ok(proven) = proof::check(text, key) {
            let record = &self.records[usize::try_from(proven.index).unwrap()];
            assert_eq!(proven.record, *record, "a proof of what was not logged");
            assert!(self.checkpoints.contains(&proven.checkpoint));
            let part = |text: &str| text.split_once("\n\n").unwrap().0.to_owned();
            let known = self.proofs.iter().find(|(index, _)| *index == proven.index).unwrap();
            assert_eq!(part(text), part(&known.1), "two spellings of one proof");
        }
    }
}

fn records_of(segments: &[Segment]) -> Vec<Vec<u8>> {
    let whole: Vec<u8> = segments.iter().flat_map(|segment| fs::read(&segment.path).unwrap()).collect();
    let lines = whole.split_inclusive(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_suffix(b"\n").map(<[u8]>::to_vec)).collect()
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
}
