//! Slurm's number of a job: the only form in which an id reaches a command.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// Not a job's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a job's number at Slurm is a whole number above 0")]
pub struct NoSlurmJobId;

/// A number above 0. `sacct -j ''` lists every job, so no command gets an id that is not one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SlurmJobId(NonZeroU32);

impl SlurmJobId {
    /// Reads digits, without sign, blanks or leading zeros.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<Self, NoSlurmJobId> {
        let is_plain = text.bytes().all(|digit| digit.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| is_plain).map(Self).ok_or(NoSlurmJobId)
    }

    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for SlurmJobId {
    type Error = NoSlurmJobId;

    fn try_from(number: u32) -> Result<Self, NoSlurmJobId> {
        NonZeroU32::new(number).map(Self).ok_or(NoSlurmJobId)
    }
}

impl From<SlurmJobId> for u32 {
    fn from(id: SlurmJobId) -> Self {
        id.get()
    }
}

impl fmt::Display for SlurmJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_above_zero_in_one_spelling() {
        let check = |text: &str, want: Option<u32>| {
            assert_eq!(SlurmJobId::parse(text).ok().map(SlurmJobId::get), want, "{text:?}");
        };
        check("62", Some(62));
        check("4294967295", Some(u32::MAX));
        for bad in
            ["", "0", "00", "062", "+62", "-62", " 62", "62 ", "62\n", "62_1", "62+1", "62,63", "4294967296", "٣"]
        {
            check(bad, None);
        }
    }
}
