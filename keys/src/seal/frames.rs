//! Records in a stream of bytes: each has its length before it, as a big-endian `u32`.

use crate::seal::record::{RECORD_MAX, RECORD_OVERHEAD, RecordRejection};

/// Bytes of a length.
const LENGTH: usize = 4;

/// Collects one record at a time from bytes that arrive in any cuts. Holds at most one record.
#[derive(Debug, Default)]
pub struct Frames {
    length: Vec<u8>,
    record: Vec<u8>,
    is_whole: bool,
}

impl Frames {
    /// Appends the length of a record to come.
    pub fn write_length(record: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(record).unwrap_or(u32::MAX).to_be_bytes());
    }

    /// Takes bytes from `input` until a record is whole. `false`: all bytes are taken, and it is
    /// not.
    ///
    /// # Errors
    /// The record to come has an impossible length.
    pub fn fill(&mut self, input: &mut &[u8]) -> Result<bool, RecordRejection> {
        if std::mem::take(&mut self.is_whole) {
            self.length.clear();
            self.record.clear();
        }
        move_bytes(input, &mut self.length, LENGTH);
        let Ok(length) = <[u8; LENGTH]>::try_from(self.length.as_slice()) else { return Ok(false) };
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| RecordRejection::Long)?;
        if length > RECORD_MAX {
            return Err(RecordRejection::Long);
        }
        if length < RECORD_OVERHEAD {
            return Err(RecordRejection::Short);
        }
        move_bytes(input, &mut self.record, length);
        self.is_whole = self.record.len() == length;
        Ok(self.is_whole)
    }

    /// The record that [`Frames::fill`] has completed.
    pub fn record(&mut self) -> &mut [u8] {
        if self.is_whole { &mut self.record } else { &mut [] }
    }

    /// Whether no record has begun.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        self.is_whole || self.length.is_empty()
    }
}

/// Moves bytes until `to` has `wanted`.
fn move_bytes(input: &mut &[u8], to: &mut Vec<u8>, wanted: usize) {
    let missing = wanted.saturating_sub(to.len());
    let (taken, rest) = input.split_at(missing.min(input.len()));
    to.extend_from_slice(taken);
    *input = rest;
}
