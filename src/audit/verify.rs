//! Verifies a log offline: hashes every record again and compares the tree with the signed
//! checkpoints.
//!
//! Finds any record that was changed, removed, inserted, moved or cut off, if a checkpoint covers
//! it (P9). From the log alone it cannot find one that was restored whole to an earlier state, or
//! rewritten with its key. Both show against checkpoints kept elsewhere, which are an argument.
//! Records newer than the checkpoint are counted and trusted.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use super::checkpoint::Checkpoint;
use super::checkpoint::CheckpointRejection;
use super::layout::{LogLayout, Segment, read_if_there};
use super::note::{self, VerifierKey};
use super::reader::{Next, RecordReader};
use super::tree::{FullTile, Hash, Leaf, Tree, WIDTH};

/// Most findings listed: after the first, most are its consequences.
const FINDINGS_MAX: usize = 20;

/// Trusted input of a check.
#[derive(Debug)]
pub struct Trust {
    pub key: VerifierKey,
    /// Checkpoints kept elsewhere.
    pub remembered: Vec<Checkpoint>,
}

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The first record that still exists.
    pub first: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The latest checkpoint; `None` if it is refused.
    pub checkpoint: Option<Checkpoint>,
    /// Records that no checkpoint covers yet.
    pub unsigned: u64,
    /// Whether the last line is incomplete: its writer was killed, or is still writing.
    pub is_torn: bool,
    /// Checkpoints kept elsewhere that agree.
    pub agreeing: usize,
    /// Checkpoints kept elsewhere whose records no longer exist.
    pub too_old: usize,
    /// Empty for an intact log. The first bad record comes first.
    pub findings: Vec<Finding>,
}

/// How a record differs from the one logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Another text, and not that of a neighbour.
    Edited,
    /// The record is gone; its successor stands here.
    Removed,
    /// A record that was never logged stands before it.
    Inserted,
    /// A record from further on stands here.
    Moved,
}

#[derive(Debug)]
pub enum Finding {
    /// The checkpoint is refused.
    Checkpoint { file: PathBuf, why: CheckpointRejection },
    /// A record differs from the logged one, and the tiles prove which.
    Record {
        index: u64,
        /// The file that it is in.
        file: PathBuf,
        /// The line there, from 1.
        line: u64,
        change: Change,
    },
    /// A record differs from the logged one, and the tiles do not prove which.
    Records {
        /// The first candidate.
        from: u64,
        /// One more than the last candidate.
        to: u64,
        /// The first that differs from the tiles, if one does.
        suspect: Option<u64>,
    },
    /// Records are missing at the end.
    Missing {
        /// The first of them.
        from: u64,
        /// One more than the last.
        to: u64,
    },
    /// A whole file of records is missing.
    File {
        number: u64,
        /// Its first record.
        from: u64,
    },
    /// Records are missing at the beginning, without a signed statement of their deletion.
    Beginning {
        /// One more than the last of them.
        to: u64,
    },
    /// Another checkpoint covers more than the latest.
    RolledBack { remembered: Checkpoint },
    /// A checkpoint kept elsewhere covers other records.
    Rewritten { remembered: Checkpoint },
    /// A line is not a record.
    Line { index: u64, file: PathBuf },
    /// A tile does not match the records, which are intact.
    Tile {
        level: u8,
        /// Its number on the level.
        index: u64,
    },
    /// The list of files does not match the files.
    List,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint { file, why } => write!(f, "{}: {why}", file.display()),
            Self::Record { index, file, line, change } => {
                let what = match change {
                    Change::Edited => "is not the one that was logged",
                    Change::Removed => "is not the one that was logged: that one was removed",
                    Change::Inserted => "was never logged: it was put in",
                    Change::Moved => "is not the one that was logged: records were put in another order",
                };
                write!(f, "record {index} ({}, line {line}) {what}", file.display())
            }
            Self::Records { from, to, suspect } => {
                let last = to.saturating_sub(1);
                write!(
                    f,
                    "a record between {from} and {last} is not the one that was logged, and neither are the tiles"
                )?;
                suspect.map_or(Ok(()), |index| write!(f, "; record {index} is the first that differs from them"))
            }
            Self::Missing { from, to } => {
                write!(f, "records {from} to {} are missing: the log was cut off", to.saturating_sub(1))
            }
            Self::File { number, from } => {
                write!(f, "file {number:06} of entries/ is missing, which begins with record {from}")
            }
            Self::Beginning { to } => write!(
                f,
                "records 0 to {} are missing, and no statement signed by the log says that they were deleted",
                to.saturating_sub(1)
            ),
            Self::RolledBack { remembered } => write!(
                f,
                "the log was rolled back: a checkpoint of {} records has been signed, its latest covers fewer",
                remembered.size
            ),
            Self::Rewritten { remembered } => write!(
                f,
                "the log was rewritten: its first {} records are not those of a checkpoint kept elsewhere",
                remembered.size
            ),
            Self::Line { index, file } => {
                write!(f, "record {index} ({}) is longer than any record: this is not a line of a log", file.display())
            }
            Self::Tile { level, index } => {
                write!(f, "tile {index} of level {level} is not that of the records, which are as they were signed")
            }
            Self::List => f.write_str("the list in the file segments does not fit the files of records"),
        }
    }
}

/// Checks a whole log.
///
/// # Errors
/// If it cannot be read.
pub fn verify(layout: &LogLayout, trust: &Trust) -> io::Result<Report> {
    let mut check = Check::begin(layout, trust)?;
    check.read_records()?;
    check.conclude()?;
    Ok(check.report)
}

/// The log's latest checkpoint, and the earlier ones in it.
fn own_checkpoints(
    layout: &LogLayout,
    key: &VerifierKey,
    findings: &mut Vec<Finding>,
) -> io::Result<(Option<Checkpoint>, Vec<Checkpoint>)> {
    let mut open = |file: PathBuf, note: &str| {
        Checkpoint::open(note, key).map_err(|why| findings.push(Finding::Checkpoint { file, why })).ok()
    };
    // Reads the earlier first: in a log that is growing, they must not cover more than the latest.
    let earlier = read_if_there(&layout.checkpoints())?;
    let latest = open(layout.checkpoint(), &read_if_there(&layout.checkpoint())?);
    let earlier = note::split(&earlier).into_iter().filter_map(|note| open(layout.checkpoints(), note)).collect();
    Ok((latest, earlier))
}

struct Check<'c> {
    layout: &'c LogLayout,
    tree: Tree,
    /// Roots to be compared, smallest tree first.
    targets: Vec<Target>,
    segments: Vec<Segment>,
    /// The first index of each file of records, as read.
    begun: Vec<u64>,
    list: Vec<(u64, u64)>,
    /// The first difference between records and tiles.
    first_difference: Option<(u64, Change)>,
    /// Size of the largest tree whose signed root matches the records.
    agreed: u64,
    /// Size of the smallest whose root does not.
    disagreed: Option<u64>,
    /// Whether the records match the latest checkpoint.
    is_as_signed: bool,
    bad_tiles: Vec<(u8, u64)>,
    report: Report,
}

struct Target {
    checkpoint: Checkpoint,
    is_remembered: bool,
}

impl<'c> Check<'c> {
    fn begin(layout: &'c LogLayout, trust: &Trust) -> io::Result<Self> {
        let mut findings = Vec::new();
        let (latest, earlier) = own_checkpoints(layout, &trust.key, &mut findings)?;
        // Reads the list before the files: in a log that is growing, it must not name a file that
        // is not there.
        let list = layout.first_records().unwrap_or_else(|_| {
            findings.push(Finding::List);
            Vec::new()
        });
        let segments = layout.segments()?;
        let first = match segments.first() {
            None | Some(Segment { number: 1, .. }) => 0,
            Some(Segment { number, .. }) => {
                let listed = list.iter().find(|(listed, _)| listed == number);
                listed.map_or(0, |(_, first)| *first)
            }
        };
        let is_pruned = first > 0;
        if is_pruned && pruned_until(layout, &trust.key)?.is_none_or(|index| index < first) {
            findings.push(Finding::Beginning { to: first });
        }
        let tree = match layout.tree_at(first) {
            Ok(tree) => tree,
            Err(_) => {
                // The earlier records are gone, and so are their hashes.
                findings.push(Finding::Beginning { to: first });
                Tree::default()
            }
        };
        let mut targets: Vec<Target> = Vec::new();
        let own = latest.into_iter().chain(earlier).map(|checkpoint| Target { checkpoint, is_remembered: false });
        let remembered =
            trust.remembered.iter().map(|checkpoint| Target { checkpoint: *checkpoint, is_remembered: true });
        targets.extend(own.chain(remembered));
        let too_old = targets.iter().filter(|target| target.is_remembered && target.checkpoint.size < first).count();
        for target in &targets {
            let covers_more = latest.is_some_and(|latest| latest.size < target.checkpoint.size);
            if covers_more {
                findings.push(Finding::RolledBack { remembered: target.checkpoint });
            }
        }
        targets.retain(|target| target.checkpoint.size >= first);
        targets.sort_by_key(|target| std::cmp::Reverse(target.checkpoint.size));
        let report = Report {
            first,
            records: 0,
            bytes: 0,
            checkpoint: latest,
            unsigned: 0,
            is_torn: false,
            agreeing: 0,
            too_old,
            findings,
        };
        let (begun, bad_tiles) = (Vec::new(), Vec::new());
        let (first_difference, agreed, disagreed, is_as_signed) = (None, first, None, false);
        Ok(Self {
            layout,
            tree,
            targets,
            segments,
            begun,
            list,
            first_difference,
            agreed,
            disagreed,
            is_as_signed,
            bad_tiles,
            report,
        })
    }

    fn read_records(&mut self) -> io::Result<()> {
        let mut leaf = Leaf::default();
        self.compare_roots();
        let segments = std::mem::take(&mut self.segments);
        let numbers = segments.first().map_or(1, |segment| segment.number)..;
        for (segment, number) in segments.iter().zip(numbers) {
            if segment.number != number {
                self.report.findings.push(Finding::File { number, from: self.tree.size() });
                break;
            }
            self.begun.push(self.tree.size());
            let mut lines = RecordReader::open(&segment.path)?;
            loop {
                match lines.next(&mut leaf)? {
                    Next::Record => self.take(&leaf),
                    Next::End => break,
                    Next::Torn if Some(segment) == segments.last() => {
                        self.report.is_torn = true;
                        break;
                    }
                    Next::Torn | Next::TooLong => {
                        let (index, file) = (self.tree.size(), segment.path.clone());
                        self.report.findings.push(Finding::Line { index, file });
                        break;
                    }
                }
            }
            self.report.bytes = self.report.bytes.saturating_add(lines.offset());
        }
        self.segments = segments;
        Ok(())
    }

    fn take(&mut self, leaf: &Leaf) {
        let Self { tree, layout, first_difference, bad_tiles, report, .. } = self;
        // Records newer than the checkpoint have no tiles yet, or tiles of an unfinished tree.
        let signed = report.checkpoint.map_or(0, |checkpoint| checkpoint.size);
        tree.push(leaf.hash(), |tile| {
            let is_signed = tile.index.saturating_add(1).saturating_mul(span(tile.level)) <= signed;
            if is_signed && !is_stored(layout, &tile) {
                if bad_tiles.len() < FINDINGS_MAX {
                    bad_tiles.push((tile.level, tile.index));
                }
                if tile.level == 0 && first_difference.is_none() {
                    *first_difference = difference(layout, tile.index, tile.hashes);
                }
            }
        });
        report.records = report.records.saturating_add(1);
        if self.targets.last().is_some_and(|target| target.checkpoint.size == self.tree.size()) {
            self.compare_roots();
        }
    }

    /// Compares the root with every checkpoint of this size.
    fn compare_roots(&mut self) {
        let size = self.tree.size();
        let root = self.tree.root();
        while let Some(target) = self.targets.pop_if(|target| target.checkpoint.size == size) {
            let agrees = target.checkpoint.root == root;
            match (agrees, target.is_remembered) {
                (true, true) => self.report.agreeing = self.report.agreeing.saturating_add(1),
                (false, true) => self.report.findings.push(Finding::Rewritten { remembered: target.checkpoint }),
                (_, false) => {}
            }
            if agrees {
                self.agreed = self.agreed.max(size);
            } else if self.disagreed.is_none() {
                self.disagreed = Some(size);
            }
            if self.report.checkpoint == Some(target.checkpoint) {
                self.is_as_signed = agrees;
                self.compare_edge();
            }
        }
    }

    /// Compares the partial tiles of the checkpoint's tree.
    fn compare_edge(&mut self) {
        let mut above = self.tree.size();
        for (level, hashes) in (0..=u8::MAX).zip(self.tree.edge()) {
            above >>= 8;
            if hashes.is_empty()
                || self.layout.read_tile(level, above, hashes.len()).is_ok_and(|stored| stored == *hashes)
            {
                continue;
            }
            self.bad_tiles.push((level, above));
            if level == 0 && self.first_difference.is_none() {
                self.first_difference = difference(self.layout, above, hashes);
            }
        }
    }

    /// Turns the differences into findings.
    fn conclude(&mut self) -> io::Result<()> {
        let size = self.tree.size();
        let Some(checkpoint) = self.report.checkpoint else { return Ok(()) };
        let is_list_right = self.list_fits(checkpoint);
        let mut found = Vec::new();
        if size < checkpoint.size {
            // A tile that the remaining records did not fill.
            if self.first_difference.is_none() {
                self.compare_last_tile();
            }
            found.push(Finding::Missing { from: size, to: checkpoint.size });
        }
        self.report.unsigned = size.saturating_sub(checkpoint.size);
        if self.is_as_signed {
            let tiles = self.bad_tiles.iter().take(FINDINGS_MAX);
            found.extend(tiles.map(|(level, index)| Finding::Tile { level: *level, index: *index }));
            if !is_list_right && !self.report.findings.iter().any(|finding| matches!(finding, Finding::List)) {
                found.push(Finding::List);
            }
        } else if self.first_difference.is_some() || size >= checkpoint.size {
            found.insert(0, self.blame(checkpoint));
        }
        found.append(&mut self.report.findings);
        found.truncate(FINDINGS_MAX);
        self.report.findings = found;
        Ok(())
    }

    fn blame(&self, checkpoint: Checkpoint) -> Finding {
        let suspect = self.first_difference.map(|(index, _)| index);
        match self.first_difference {
            Some((index, change)) if root_of_tiles(self.layout, checkpoint.size) == Some(checkpoint.root) => {
                let place = self.begun.iter().rposition(|begun| *begun <= index).unwrap_or(0);
                let file = self.segments.get(place).map(|segment| segment.path.clone()).unwrap_or_default();
                let begun = self.begun.get(place).copied().unwrap_or(0);
                Finding::Record { index, file, line: index.saturating_sub(begun).saturating_add(1), change }
            }
            _ => Finding::Records { from: self.agreed, to: self.disagreed.unwrap_or(checkpoint.size), suspect },
        }
    }

    fn compare_last_tile(&mut self) {
        if let Some(hashes) = self.tree.edge().first() {
            self.first_difference = difference(self.layout, self.tree.size() >> 8, hashes);
        }
    }

    fn list_fits(&self, checkpoint: Checkpoint) -> bool {
        let newest = self.segments.last().map_or(0, |segment| segment.number);
        if self.list.last().is_some_and(|(number, _)| *number > newest) {
            return false;
        }
        self.segments.iter().zip(&self.begun).all(|(segment, begun)| {
            let listed = self.list.iter().find(|(number, _)| *number == segment.number);
            // A file is listed once its first record is signed.
            listed.map_or(*begun >= checkpoint.size, |(_, first)| first == begun)
        })
    }
}

/// Records under one full tile of that level.
fn span(level: u8) -> u64 {
    1_u64.checked_shl(u32::from(level).saturating_add(1).saturating_mul(8)).unwrap_or(u64::MAX)
}

fn is_stored(layout: &LogLayout, tile: &FullTile<'_>) -> bool {
    layout.read_tile(tile.level, tile.index, WIDTH).is_ok_and(|stored| stored == tile.hashes)
}

/// The first difference between records and a stored tile of level 0, and its kind.
fn difference(layout: &LogLayout, tile: u64, found: &[Hash]) -> Option<(u64, Change)> {
    let stored = (found.len()..=WIDTH).rev().find_map(|width| layout.read_tile(0, tile, width).ok())?;
    let at = found.iter().zip(&stored).position(|(found, stored)| found != stored)?;
    let (found, stored) = (found.get(at..)?, stored.get(at..)?);
    let [here, rest @ ..] = found else { return None };
    let change = match (stored.contains(here), rest.contains(stored.first()?)) {
        (true, false) => Change::Removed,
        (false, true) => Change::Inserted,
        (true, true) => Change::Moved,
        (false, false) => Change::Edited,
    };
    let index = tile.checked_mul(256)?.checked_add(u64::try_from(at).ok()?)?;
    Some((index, change))
}

/// The root of the tiles of level 0.
fn root_of_tiles(layout: &LogLayout, size: u64) -> Option<Hash> {
    let mut tree = Tree::default();
    let oldest = (0..=size >> 8).find(|index| layout.read_tile(0, *index, 1).is_ok())?;
    if oldest > 0 {
        tree = layout.tree_at(oldest.checked_mul(256)?).ok()?;
    }
    for index in oldest..=size >> 8 {
        let width = usize::try_from(size.checked_sub(index.checked_mul(256)?)?.min(256)).ok()?;
        if width > 0 {
            layout.read_tile(0, index, width).ok()?.into_iter().for_each(|hash| tree.push(hash, |_| {}));
        }
    }
    Some(tree.root())
}

/// The first record that was not deleted, according to the log's signed statement.
fn pruned_until(layout: &LogLayout, key: &VerifierKey) -> io::Result<Option<u64>> {
    let note = read_if_there(&layout.pruned())?;
    let prefix = format!("{}\npruned\n", key.name());
    let index = key.open(&note).ok().and_then(|text| text.strip_prefix(&prefix)?.strip_suffix('\n')?.parse().ok());
    Ok(index)
}
