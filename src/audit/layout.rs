//! The layout of a log's directory, for the processes that write, sign and check it.
//!
//! ```text
//! entries/000001-2026-11-23.jsonl   the records, a line each, oldest file first
//! segments                          which record each of those files begins with
//! checkpoint                        size and root hash, signed: C2SP tlog-checkpoint
//! checkpoints                       earlier ones: one for each file of records
//! tile/0/x001/234                   the tree's hashes: C2SP tlog-tiles
//! pruned                            from which record on there are records, signed
//! vkey                              the public key
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use time::Date;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::tree::{Hash, Tree, WIDTH, edge_widths};

/// The date in a file's name.
const DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");

/// Longest record, in bytes: the most that an entry bundle of tlog-tiles can hold.
pub(crate) const RECORD_MAX: usize = 65_535;

/// A log's directory.
#[derive(Clone, Debug)]
pub struct LogLayout {
    directory: PathBuf,
}

/// A file of records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Counted from 1.
    pub number: u64,
    pub path: PathBuf,
}

impl Segment {
    /// The day in its name.
    pub fn date(&self) -> Option<Date> {
        let name = self.path.file_stem()?.to_str()?;
        Date::parse(name.split_once('-')?.1, DATE).ok()
    }
}

impl LogLayout {
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of the files of records.
    pub fn entries(&self) -> PathBuf {
        self.directory.join("entries")
    }

    /// The latest checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.directory.join("checkpoint")
    }

    /// One checkpoint for each finished file of records.
    pub fn checkpoints(&self) -> PathBuf {
        self.directory.join("checkpoints")
    }

    /// The first record of each file: lines with the file's number and the record's index.
    pub fn segment_list(&self) -> PathBuf {
        self.directory.join("segments")
    }

    /// The signed statement of what was deleted.
    pub fn pruned(&self) -> PathBuf {
        self.directory.join("pruned")
    }

    /// The public key.
    pub fn public_key(&self) -> PathBuf {
        self.directory.join("vkey")
    }

    /// The files of records, oldest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(self.entries())? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(number) = name.to_str().and_then(number_of) {
                segments.push(Segment { number, path: entry.path() });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        Ok(segments)
    }

    pub fn segment(&self, number: u64, date: Date) -> Segment {
        Segment { number, path: self.entries().join(format!("{number:06}-{date}.jsonl")) }
    }

    /// The number of each file of records and the index of its first record, in order, as far as
    /// known.
    ///
    /// # Errors
    /// If the list cannot be read, or is malformed.
    pub fn first_records(&self) -> io::Result<Vec<(u64, u64)>> {
        let text = read_if_there(&self.segment_list())?;
        let lines = text.lines().map(|line| {
            let (number, first) = line.split_once(' ')?;
            Some((number.parse().ok()?, first.parse().ok()?))
        });
        let list: Option<Vec<(u64, u64)>> = lines.collect();
        let list = list.ok_or_else(|| io::Error::other("malformed line in the list of segments"))?;
        // It has one canonical form, written file after file.
        let written: String = list.iter().map(|(number, first)| format!("{number} {first}\n")).collect();
        let is_in_order = list.iter().zip(1..).all(|((number, _), place)| *number == place) && list.is_sorted();
        if written == text && is_in_order { Ok(list) } else { Err(io::Error::other("malformed list of segments")) }
    }

    /// A tile's file; `width` is that of a partial tile.
    pub fn tile(&self, level: u8, index: u64, width: usize) -> PathBuf {
        let path = self.full_tile(level, index);
        if width < WIDTH { partials(&path).join(width.to_string()) } else { path }
    }

    fn full_tile(&self, level: u8, index: u64) -> PathBuf {
        let digits = format!("{index:03}");
        let padding = (3_usize.saturating_sub(digits.len() % 3)) % 3;
        let digits = format!("{}{digits}", "0".repeat(padding));
        let (groups, _) = digits.as_bytes().as_chunks::<3>();
        let mut path = self.directory.join("tile").join(level.to_string());
        for (place, group) in groups.iter().enumerate() {
            let is_last = place.saturating_add(1) == groups.len();
            let group = String::from_utf8_lossy(group);
            path.push(if is_last { group.into_owned() } else { format!("x{group}") });
        }
        path
    }

    /// The first `width` hashes of a tile, from the full tile or from a partial one at least as
    /// wide.
    ///
    /// # Errors
    /// If there is none.
    pub fn read_tile(&self, level: u8, index: u64, width: usize) -> io::Result<Vec<Hash>> {
        let full = self.full_tile(level, index);
        // A file of another length than its name says is not a tile.
        let read = |path: &Path, width: usize| -> io::Result<Vec<u8>> {
            let bytes = fs::read(path)?;
            if bytes.len() == width.saturating_mul(32) { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
        };
        let wider = || {
            let mut widths: Vec<usize> = fs::read_dir(partials(&full))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|found| *found >= width)
                .collect();
            widths.sort_unstable();
            let found = widths.first().ok_or(io::ErrorKind::NotFound)?;
            read(&partials(&full).join(found.to_string()), *found)
        };
        let bytes = match read(&self.tile(level, index, width), width) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match read(&full, WIDTH) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => wider()?,
                read => read?,
            },
            read => read?,
        };
        let hashes: Vec<Hash> = bytes.as_chunks::<32>().0.iter().take(width).map(|bytes| Hash(*bytes)).collect();
        if hashes.len() == width { Ok(hashes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Stores a tile, full or partial.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_tile(&self, level: u8, index: u64, hashes: &[Hash]) -> io::Result<()> {
        let path = self.tile(level, index, hashes.len());
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        match replace(&path, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                replace(&path, &bytes)?;
            }
            written => written?,
        }
        if hashes.len() == WIDTH {
            // The full tile replaces the partial ones.
            match fs::remove_dir_all(partials(&path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Deletes the tiles before record `first` that no later proof or tree needs. Those before
    /// `before` are already gone.
    ///
    /// # Errors
    /// If one cannot be deleted.
    pub fn remove_tiles(&self, before: u64, first: u64) -> io::Result<()> {
        let (mut from, mut until) = (before, first);
        for level in 0..8 {
            from >>= 8;
            until >>= 8;
            for index in from..until {
                match fs::remove_file(self.full_tile(level, index)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The tree of that size, from the tiles.
    ///
    /// # Errors
    /// If a tile is missing.
    pub fn tree_at(&self, size: u64) -> io::Result<Tree> {
        let mut edge = Vec::new();
        let mut above = size;
        for (level, width) in (0..=u8::MAX).zip(edge_widths(size)) {
            above >>= 8;
            edge.push(if width == 0 { Vec::new() } else { self.read_tile(level, above, width)? });
        }
        Tree::resumed(size, edge).ok_or_else(|| io::Error::other("the tiles do not fit the size"))
    }
}

/// The directory of a tile's partial forms.
fn partials(full: &Path) -> PathBuf {
    let mut name = full.as_os_str().to_owned();
    name.push(".p");
    name.into()
}

fn number_of(name: &str) -> Option<u64> {
    let (number, rest) = name.split_once('-')?;
    (rest.ends_with(".jsonl") && number.len() >= 6).then(|| number.parse().ok()).flatten()
}

/// Reads a small file; a missing one counts as empty.
///
/// # Errors
/// If it exists and cannot be read.
pub(crate) fn read_if_there(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Replaces a file atomically, so that a reader never sees a part of it.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = aside(path);
    fs::write(&name, bytes)?;
    fs::rename(name, path)
}

/// As [`replace`], and durable: a loss of power after it returns changes nothing.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn replace_for_good(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = aside(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&name)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(name, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_the_formats_paths() {
        let layout = LogLayout::new("/log".into());
        let check = |level, index, width, want: &str| {
            assert_eq!(layout.tile(level, index, width), Path::new("/log").join(want));
        };
        check(0, 1_234_067, 256, "tile/0/x001/x234/067");
        check(0, 1_234_067, 8, "tile/0/x001/x234/067.p/8");
        check(1, 0, 256, "tile/1/000");
        check(2, 999, 1, "tile/2/999.p/1");
        check(2, 1000, 256, "tile/2/x001/000");
    }

    #[test]
    fn a_tile_is_read_from_whatever_is_at_least_as_wide() {
        let directory = tempfile::tempdir().unwrap();
        let layout = LogLayout::new(directory.path().to_owned());
        let hashes: Vec<Hash> = (0..=255).map(|byte| Hash([byte; 32])).collect();
        let some = |count: usize| hashes[..count].to_vec();
        assert!(layout.read_tile(0, 5, 3).is_err());
        layout.write_tile(0, 5, &some(7)).unwrap();
        assert!(layout.read_tile(0, 5, 8).is_err());
        assert_eq!(layout.read_tile(0, 5, 3).unwrap(), some(3));
        layout.write_tile(0, 5, &some(256)).unwrap();
        assert_eq!(layout.read_tile(0, 5, 8).unwrap(), some(8));
        assert!(!layout.tile(0, 5, 7).exists());
    }

    #[test]
    fn segments_are_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let layout = LogLayout::new(directory.path().to_owned());
        fs::create_dir(layout.entries()).unwrap();
        let date = Date::from_calendar_date(2026, time::Month::November, 23).unwrap();
        for number in [1_000_000, 2, 999_999] {
            fs::write(layout.segment(number, date).path, "").unwrap();
        }
        for other in ["x", "000001", "000001-2026-11-23.jsonl.gz", "1-x.jsonl", "00000x-x.jsonl"] {
            fs::write(layout.entries().join(other), "").unwrap();
        }
        let numbers: Vec<u64> = layout.segments().unwrap().iter().map(|segment| segment.number).collect();
        assert_eq!(numbers, [2, 999_999, 1_000_000]);
        assert!(layout.segment(2, date).path.ends_with("entries/000002-2026-11-23.jsonl"));
    }
}
