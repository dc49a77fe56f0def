//! The drive numbers of one provider and their file: numbers that mean a drive, and numbers that
//! are free because the user deleted the drive.
//!
//! A line is `NUMBER ID`, or `NUMBER ID freed=SECONDS` with the time of the deletion (Unix, in
//! seconds).

use std::collections::BTreeMap;
use std::fmt;

use countersign_keys::store::drives::CoreDriveId;
use countersign_keys::time::Timestamp;

/// Most numbers that mean a drive: those of every drive, several times over.
pub(super) const PINS_MAX: usize = 512;

/// Most free numbers that are remembered. UCloud may not have heard of a deletion: it asks for it
/// again, and its process ends if another drive gets the id meanwhile. Once UCloud reuses the
/// number, it has heard.
pub(super) const FREED_MAX: usize = 512;

/// Longest file, in bytes.
pub(super) const FILE_MAX: usize = (PINS_MAX + FREED_MAX) * 128;

/// Precedes the time in the line of a free number.
const FREED: &str = "freed=";

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Pins {
    /// Bounded by [`PINS_MAX`].
    pinned: BTreeMap<CoreDriveId, String>,
    /// Numbers of deleted drives. Bounded by [`FREED_MAX`].
    freed: BTreeMap<CoreDriveId, Freed>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Freed {
    id: String,
    at: Timestamp,
}

/// Whether a number may be pinned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pinnable<'p> {
    /// The number means nothing.
    Yes,
    /// The number means this drive.
    Means(&'p str),
    /// The drive was deleted, and an intent signed for it may still be valid.
    NotYet,
}

impl Pins {
    /// The id of the drive that a number means.
    pub(super) fn meaning(&self, number: &CoreDriveId) -> Option<&str> {
        self.pinned.get(number).map(String::as_str)
    }

    /// The id of the deleted drive that a number meant, if it has meant nothing since.
    pub(super) fn freed(&self, number: &CoreDriveId) -> Option<&str> {
        self.freed.get(number).map(|freed| freed.id.as_str())
    }

    /// Whether a number may be pinned. `kept_s`: how long an intent from before a deletion may stay
    /// valid, in seconds.
    pub(super) fn pinnable(&self, number: &CoreDriveId, now: Timestamp, kept_s: i64) -> Pinnable<'_> {
        match (self.pinned.get(number), self.freed.get(number)) {
            (Some(id), _) => Pinnable::Means(id),
            (None, Some(freed)) if !freed.is_over(now, kept_s) => Pinnable::NotYet,
            (None, Some(_) | None) => Pinnable::Yes,
        }
    }

    /// How many more numbers can be pinned.
    pub(super) fn room(&self) -> usize {
        PINS_MAX.saturating_sub(self.pinned.len())
    }

    /// Pins a number; the caller has checked [`Self::pinnable`].
    pub(super) fn pin(&mut self, number: CoreDriveId, id: String) {
        self.freed.remove(&number);
        self.pinned.insert(number, id);
    }

    /// Frees the numbers of a deleted drive. While the table of free numbers is full of recent
    /// deletions, the number stays pinned.
    pub(super) fn free(&mut self, id: &str, now: Timestamp, kept_s: i64) {
        let numbers: Vec<CoreDriveId> = self.numbers(id).cloned().collect();
        for number in numbers {
            self.forget_oldest(now, kept_s);
            if self.freed.len() < FREED_MAX && self.pinned.remove(&number).is_some() {
                self.freed.insert(number, Freed { id: id.to_owned(), at: now });
            }
        }
    }

    /// Makes room for one more free number, if the oldest are over.
    fn forget_oldest(&mut self, now: Timestamp, kept_s: i64) {
        while self.freed.len() >= FREED_MAX {
            let oldest = self.freed.iter().min_by_key(|(_, freed)| freed.at);
            match oldest.filter(|(_, freed)| freed.is_over(now, kept_s)).map(|(number, _)| number.clone()) {
                Some(number) => self.freed.remove(&number),
                None => return,
            };
        }
    }

    /// The numbers that mean a drive.
    pub(super) fn numbers(&self, id: &str) -> impl Iterator<Item = &CoreDriveId> {
        self.pinned.iter().filter(move |(_, meaning)| *meaning == id).map(|(number, _)| number)
    }

    /// Whether a number means this drive, or is remembered to have meant it.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.numbers(id).next().is_some() || self.freed.values().any(|freed| freed.id == id)
    }

    /// Parses a file; the error is the malformed line, counted from 1.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, usize> {
        let mut pins = Self::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let bad = || index.saturating_add(1);
            let line = std::str::from_utf8(line).map_err(|_error| bad())?;
            let (number, id) = line.split_once(' ').ok_or_else(bad)?;
            let number = CoreDriveId::parse(number).map_err(|_error| bad())?;
            if pins.pinned.contains_key(&number) || pins.freed.contains_key(&number) {
                return Err(bad());
            }
            match id.split_once(' ') {
                None => drop(pins.pinned.insert(number, id.to_owned())),
                Some((id, at)) => {
                    let at = at.strip_prefix(FREED).and_then(|at| at.parse().ok()).ok_or_else(bad)?;
                    pins.freed.insert(number, Freed { id: id.to_owned(), at: Timestamp::from_seconds(at) });
                }
            }
        }
        Ok(pins)
    }
}

impl Freed {
    /// Whether no intent signed before the deletion can be valid any more.
    const fn is_over(&self, now: Timestamp, kept_s: i64) -> bool {
        now.since(self.at) > kept_s
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pinned.iter().try_for_each(|(number, id)| writeln!(f, "{} {id}", number.as_str()))?;
        self.freed
            .iter()
            .try_for_each(|(number, Freed { id, at })| writeln!(f, "{} {id} {FREED}{}", number.as_str(), at.seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT_S: i64 = 70;

    fn number(number: usize) -> CoreDriveId {
        CoreDriveId::parse(&number.to_string()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn c16_a_free_number_may_mean_another_drive_when_nothing_signed_before_is_valid() {
        let mut pins = Pins::default();
        pins.pin(number(13), "own-One".to_owned());
        assert_eq!(pins.pinnable(&number(13), at(1_000), KEPT_S), Pinnable::Means("own-One"));
        pins.free("own-One", at(1_000), KEPT_S);
        assert_eq!((pins.meaning(&number(13)), pins.freed(&number(13))), (None, Some("own-One")));
        for (now, want) in [(0, Pinnable::NotYet), (1_070, Pinnable::NotYet), (1_071, Pinnable::Yes)] {
            assert_eq!(pins.pinnable(&number(13), at(now), KEPT_S), want, "{now}");
        }
        assert_eq!(Pins::parse(pins.to_string().as_bytes()), Ok(pins.clone()));
        assert_eq!(pins.to_string(), "13 own-One freed=1000\n");
        pins.pin(number(13), "own-Two".to_owned());
        assert_eq!(pins.to_string(), "13 own-Two\n");
    }

    #[test]
    fn c16_drives_are_made_and_deleted_without_end() {
        let mut pins = Pins::default();
        pins.pin(number(1), "home".to_owned());
        // Four a second, so that there is room for those of the last minute.
        for drive in 2..5_000_usize {
            let now = at(i64::try_from(drive / 4).unwrap());
            assert!(pins.room() > 0 && pins.pinnable(&number(drive), now, KEPT_S) == Pinnable::Yes, "{drive}");
            pins.pin(number(drive), format!("own-{drive}"));
            pins.free(&format!("own-{drive}"), now, KEPT_S);
            assert_eq!(pins.meaning(&number(drive)), None, "{drive}");
        }
        assert!(pins.to_string().len() <= FILE_MAX);
        pins.pin(number(9_000), "own-last".to_owned());
        pins.free("own-last", at(100_000), KEPT_S);
        assert_eq!((pins.pinned.len(), pins.freed.len()), (1, FREED_MAX));
    }

    #[test]
    fn c16_what_is_not_forgotten_has_a_bound() {
        let mut pins = Pins::default();
        for drive in 1..=2 * PINS_MAX {
            pins.pin(number(drive), format!("own-{drive}"));
            pins.free(&format!("own-{drive}"), at(0), KEPT_S);
        }
        assert_eq!((pins.freed.len(), pins.pinned.len()), (FREED_MAX, PINS_MAX));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for text in ["1 a\n1 b\n", "1 a freed=1\n1 b\n", "1 a\n2 b freed\n", "1 a\n2 b freed=x\n", "1 a\nb\n"] {
            assert_eq!(Pins::parse(text.as_bytes()), Err(2), "{text:?}");
        }
    }
}
