//! Reads a file of records line by line, into a reusable buffer for hashing, within the limit of a
//! record.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::layout::RECORD_MAX;
use super::tree::Leaf;

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// What comes next in a file of records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Record,
    /// The end of the file.
    End,
    /// Bytes without a newline up to the end of the file.
    Torn,
    /// More bytes without a newline than a record may have.
    TooLong,
}

/// A file of records, read from its beginning.
#[derive(Debug)]
pub(crate) struct RecordReader {
    file: BufReader<File>,
    /// Where the next record begins.
    offset: u64,
}

impl RecordReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(BUFFER, File::open(path)?), offset: 0 })
    }

    /// Where the next record begins, in bytes.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn file(&self) -> &File {
        self.file.get_ref()
    }

    /// Reads the next record into `leaf`, replacing its content. An incomplete line stays, to be
    /// read again.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn next(&mut self, leaf: &mut Leaf) -> io::Result<Next> {
        leaf.clear();
        let length_max = u64::try_from(RECORD_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.file.by_ref().take(length_max).read_until(b'\n', leaf.bytes_mut())?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if leaf.record().last() == Some(&b'\n') {
            leaf.bytes_mut().pop();
            self.offset = self.offset.saturating_add(read);
            return Ok(Next::Record);
        }
        if read == 0 {
            return Ok(Next::End);
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
        Ok(if read == length_max { Next::TooLong } else { Next::Torn })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_that_is_not_whole_is_read_once_it_is() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (mut lines, mut leaf) = (RecordReader::open(file.path()).unwrap(), Leaf::default());
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::End);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::Record);
        assert_eq!(leaf.record(), b"one");
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::Torn);
        assert_eq!(lines.offset(), 4);
        file.write_all(b"o\n\n").unwrap();
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::Record);
        assert_eq!(leaf.record(), b"two");
        assert_eq!(leaf.hash(), Leaf::hash_of(b"two"));
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::Record);
        assert_eq!(leaf.record(), b"");
        file.write_all(&[b'x'; RECORD_MAX + 1]).unwrap();
        assert_eq!(lines.next(&mut leaf).unwrap(), Next::TooLong);
    }
}
