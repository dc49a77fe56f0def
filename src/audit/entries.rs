//! Writes records: one line each, handed to the kernel before anything is forwarded, so that `kill
//! -9` loses no record of a forwarded request (P9).
//!
//! A file has a number and its date. The next file begins when it is full or its day has passed.
//! One process writes a log, and another builds its tree (`signer`): a record costs one write and
//! no hashing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use time::Date;

use super::layout::{LogLayout, RECORD_MAX, Segment};
use super::space::Space;
use countersign_os::locked_file::LockedFile;

/// Bytes read at a time to find the start of a torn line. A record is shorter.
const TAIL: usize = RECORD_MAX + 2;

/// The newest file of records; this process is its only writer.
#[derive(Debug)]
pub(super) struct Entries {
    layout: LogLayout,
    /// A new file begins after this many bytes, or on the next day.
    segment_max: u64,
    lock: LockedFile,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    number: u64,
    /// `None` for a file of an earlier process: its first record begins another file.
    date: Option<Date>,
    /// Where its last complete line ends.
    end: u64,
    is_torn: bool,
}

impl Entries {
    /// Opens the newest file and removes an incomplete last line: nothing was forwarded for it.
    pub(super) fn open(layout: LogLayout, segment_max: u64) -> io::Result<Self> {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(layout.entries().join("lock"))?;
        let lock = LockedFile::take(lock).map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process writes this log"),
            TryLockError::Error(error) => error,
        })?;
        let current = layout.segments()?.pop().map(Current::take_up).transpose()?;
        let segment_max = Space::of(&lock).map_or(segment_max, |space| segment_max.min(space.segment_max()));
        Ok(Self { layout, segment_max, lock, current })
    }

    /// Whether the remaining space is reserved for admitted requests. `false` if the file system
    /// does not tell.
    pub(super) fn is_short_of_space(&self) -> bool {
        Space::of(&self.lock).is_ok_and(Space::is_short)
    }

    /// Whether there is room for a record. `true` if the file system does not tell.
    pub(super) fn has_room(&self) -> bool {
        Space::of(&self.lock).map_or(true, Space::has_room)
    }

    /// Writes one line, which ends with a newline, whole or not at all.
    pub(super) fn append(&mut self, line: &[u8], date: Date) -> io::Result<()> {
        if line.len() > RECORD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the record is too long"));
        }
        let is_over =
            |current: &Current| current.end >= self.segment_max || current.date.is_some_and(|begun| begun < date);
        let current = match &mut self.current {
            Some(current) if !is_over(current) => current,
            other => {
                let number = other.as_ref().map_or(1, |last| last.number.saturating_add(1));
                let segment = self.layout.segment(number, date);
                if let Some(last) = other {
                    // Readers continue in the next file only after a complete one.
                    last.mend()?;
                }
                other.insert(Current::begin(&segment, date)?)
            }
        };
        current.append(line)
    }
}

impl Current {
    fn begin(segment: &Segment, date: Date) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&segment.path)?;
        Ok(Self { file, number: segment.number, date: Some(date), end: 0, is_torn: false })
    }

    fn take_up(segment: Segment) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).open(&segment.path)?;
        let length = file.metadata()?.len();
        let tail = length.min(u64::try_from(TAIL).unwrap_or(u64::MAX));
        file.seek(SeekFrom::Start(length.saturating_sub(tail)))?;
        let mut bytes = Vec::with_capacity(TAIL);
        file.read_to_end(&mut bytes)?;
        let torn = bytes.iter().rev().take_while(|byte| **byte != b'\n').count();
        if torn == bytes.len() && length > tail {
            return Err(io::Error::other("the newest file of records has a line that is none"));
        }
        let end = length.saturating_sub(u64::try_from(torn).unwrap_or(u64::MAX));
        let date = segment.date();
        let mut current = Self { file, number: segment.number, date, end, is_torn: torn > 0 };
        current.mend()?;
        Ok(current)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        let written = match self.file.write(line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.file.write(line)?,
            written => written?,
        };
        if written < line.len() {
            // A partial line would corrupt the next one.
            self.is_torn = true;
            self.mend()?;
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.end = self.end.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.end)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use time::Month;

    use super::*;

    fn day(day: u8) -> Date {
        Date::from_calendar_date(2026, Month::November, day).unwrap()
    }

    fn log() -> (tempfile::TempDir, LogLayout) {
        let directory = tempfile::tempdir().unwrap();
        let layout = LogLayout::new(directory.path().to_owned());
        fs::create_dir(layout.entries()).unwrap();
        (directory, layout)
    }

    fn files(layout: &LogLayout) -> Vec<(String, String)> {
        let name = |segment: &Segment| segment.path.file_name().unwrap().to_str().unwrap().to_owned();
        let segments = layout.segments().unwrap();
        segments.iter().map(|segment| (name(segment), fs::read_to_string(&segment.path).unwrap())).collect()
    }

    #[test]
    fn a_day_or_a_full_file_is_followed_by_the_next() {
        let (_directory, layout) = log();
        let mut entries = Entries::open(layout.clone(), 6).unwrap();
        for (line, of) in [("a\n", 23), ("b\n", 23), ("c\n", 23), ("d\n", 23), ("e\n", 24), ("f\n", 23)] {
            entries.append(line.as_bytes(), day(of)).unwrap();
        }
        drop(entries);
        Entries::open(layout.clone(), 6).unwrap().append(b"g\n", day(24)).unwrap();
        Entries::open(layout.clone(), 6).unwrap().append(b"h\n", day(25)).unwrap();
        let want = [
            ("000001-2026-11-23.jsonl", "a\nb\nc\n"),
            ("000002-2026-11-23.jsonl", "d\n"),
            ("000003-2026-11-24.jsonl", "e\nf\ng\n"),
            ("000004-2026-11-25.jsonl", "h\n"),
        ];
        assert_eq!(files(&layout), want.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_torn_line_is_taken_off() {
        let (_directory, layout) = log();
        Entries::open(layout.clone(), 100).unwrap().append(b"a\n", day(23)).unwrap();
        for torn in ["b", "bb", "{\"half\": \"of a li"] {
            let path = layout.segments().unwrap().pop().unwrap().path;
            OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
            Entries::open(layout.clone(), 100).unwrap().append(b"c\n", day(23)).unwrap();
        }
        assert_eq!(files(&layout)[0].1, "a\nc\nc\nc\n");
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_written() {
        let (_directory, layout) = log();
        let mut entries = Entries::open(layout.clone(), 100).unwrap();
        assert!(entries.append(&[b'x'; RECORD_MAX + 1], day(23)).is_err());
        entries.append(b"a\n", day(23)).unwrap();
        assert!(Entries::open(layout.clone(), 100).is_err(), "one process writes");
        fs::remove_dir_all(layout.entries()).unwrap();
        assert!(entries.append(b"b\n", day(24)).is_err(), "there is no directory for the next file");
    }
}
