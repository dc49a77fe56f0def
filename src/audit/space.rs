//! Free space on a log's file system.

use std::fs::File;
use std::io;

use nix::sys::statfs::fstatfs;

/// Fraction of a file system reserved for records of admitted requests.
const RESERVE_PART: u64 = 8;

/// Largest reserve, in bytes: some million records.
const RESERVE_MAX: u64 = 256 * 1024 * 1024;

/// Free space below which nothing can be written for long, in bytes: some hundred records.
const ROOM_MIN: u64 = 64 * 1024;

/// Fraction of a file system for one file of records, so that old files can be deleted before it is
/// full.
const SEGMENT_PART: u64 = 64;

/// The size and free space of a file system, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Space {
    size: u64,
    free: u64,
}

impl Space {
    /// Those of the file's file system.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let statistics = fstatfs(file)?;
        let block = u64::try_from(statistics.block_size()).unwrap_or(0);
        let (size, free) = (statistics.blocks(), statistics.blocks_available());
        Ok(Self { size: size.saturating_mul(block), free: free.saturating_mul(block) })
    }

    /// Whether no more is free than the reserve.
    pub(super) const fn is_short(self) -> bool {
        let part = self.size / RESERVE_PART;
        self.free < if part < RESERVE_MAX { part } else { RESERVE_MAX }
    }

    /// Whether some records still fit.
    pub(super) const fn has_room(self) -> bool {
        self.free >= ROOM_MIN
    }

    /// Longest file of records.
    pub(super) const fn segment_max(self) -> u64 {
        self.size / SEGMENT_PART
    }
}

/// A fraction of the file's file system, in bytes.
///
/// # Errors
/// If the system does not tell.
pub(super) fn share_of(file: &File, part: u64) -> io::Result<u64> {
    Ok(Space::of(file)?.size.checked_div(part).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_an_eighth_and_not_more_than_enough() {
        const MIB: u64 = 1024 * 1024;
        let check = |size, free, want| assert_eq!(Space { size, free }.is_short(), want, "{free} of {size}");
        check(64 * MIB, 8 * MIB, false);
        check(64 * MIB, 8 * MIB - 1, true);
        check(1024 * 1024 * MIB, 256 * MIB, false);
        check(1024 * 1024 * MIB, 256 * MIB - 1, true);
    }

    #[test]
    fn the_system_tells() {
        let file = tempfile::tempfile().unwrap();
        let space = Space::of(&file).unwrap();
        assert!(space.size > space.free && space.size > 0, "{space:?}");
        assert_eq!(share_of(&file, 2).unwrap(), space.size / 2);
    }
}
