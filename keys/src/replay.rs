//! The replay log: accepts each intent at most once (P4).
//!
//! A check costs the same however many uses are remembered, because each use also forgets a few old
//! ones. A full log refuses; it never evicts a use that is still acceptable (V41). A forgotten use
//! stays refused by its time, so a clock that is set back does not make it acceptable again
//! ([`lost`], V40).

pub mod lost;

use std::collections::{BTreeMap, HashSet};

use self::lost::LostTimes;
use crate::freshness::Window;
use crate::time::Timestamp;

/// The identity of an intent: a digest over its user, key and token id (V36).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IntentId(pub [u8; 32]);

/// A use of an intent, as recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Use {
    /// The intent.
    pub id: IntentId,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
}

/// Why a use is refused, or cannot be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The intent was used before.
    #[error("the intent has been used")]
    Used,
    /// Issued at a time for which the log does not remember every use.
    #[error("the intent was issued before the log can vouch for what was used")]
    BeforeFence,
    /// The log is full. A failure on this side: nothing is forwarded.
    #[error("the replay log is full")]
    Full,
    /// The log cannot be written. A failure on this side.
    #[error("the replay log cannot be written")]
    Unwritable,
}

/// The place where uses are recorded. One call both checks and writes; two calls would leave a gap
/// for a second copy.
pub trait ReplayLog {
    /// Records the first use of an intent. Of several concurrent calls with the same id exactly one
    /// succeeds. A wrong `Ok` lets a request be replayed; a wrong `Err` costs the user a new
    /// signature.
    ///
    /// # Errors
    /// The intent was used, may have been used, or its use cannot be recorded.
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError>;
}

/// A log that refuses every use. Stands in where no log could be opened.
#[derive(Clone, Copy, Debug)]
pub struct NoReplayLog;

impl ReplayLog for NoReplayLog {
    fn check_and_insert(&self, _: Use, _: Timestamp) -> Result<(), ReplayError> {
        Err(ReplayError::Unwritable)
    }
}

/// Number of sets, one for each first byte of an id. Growing one set takes no longer than a
/// signature check.
const SHARDS: usize = 256;

/// Most uses forgotten for each new one. More than one, so that forgetting keeps up.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Most uses remembered beyond their time, so that a clock that is set back still finds them. About
/// 2 MiB.
pub const KEPT_MAX: usize = 32_768;

/// The stored part of an id. To make another user's intent look used takes a second preimage of 128
/// bits. A collision takes 64 bits, and costs only the user who made both intents.
type ShortId = [u8; 16];

/// The records in memory. A log on disk keeps one of these in front of it.
#[derive(Debug)]
pub struct UsedIntents {
    window: Window,
    /// Indexed by the first byte of the id. At most `capacity` ids in all.
    shards: Vec<HashSet<ShortId>>,
    /// The same ids, by the last second in which they must be remembered.
    by_second: BTreeMap<Timestamp, Vec<ShortId>>,
    count: usize,
    capacity: usize,
    /// Intents issued at or before this moment may have been used without a record.
    fence: Timestamp,
    /// Times for which not every use is remembered.
    lost: LostTimes,
}

impl UsedIntents {
    /// Makes an empty log. Intents issued at or before `fence` are refused, because their uses are
    /// unknown.
    #[must_use]
    pub fn new(window: Window, capacity: usize, fence: Timestamp) -> Self {
        let shards = (0..SHARDS).map(|_| HashSet::new()).collect();
        let lost = LostTimes::default();
        Self { window, shards, by_second: BTreeMap::new(), count: 0, capacity, fence, lost }
    }

    /// Whether this use would be accepted. Changes nothing.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check(&self, used: Use) -> Result<(), ReplayError> {
        let (shard, id) = place(used.id);
        if self.shards.get(shard).is_none_or(|ids| ids.contains(&id)) {
            return Err(ReplayError::Used);
        }
        if used.iat <= self.fence || self.lost.end_of(self.window.retain_until(used.exp)).is_some() {
            return Err(ReplayError::BeforeFence);
        }
        if self.count >= self.capacity {
            return Err(ReplayError::Full);
        }
        Ok(())
    }

    /// Records a use, if it is the first.
    ///
    /// # Errors
    /// As [`UsedIntents::check`].
    pub fn insert(&mut self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.forget(now);
        self.check(used)?;
        let (shard, id) = place(used.id);
        if let Some(ids) = self.shards.get_mut(shard) {
            ids.insert(id);
        }
        self.by_second.entry(self.window.retain_until(used.exp)).or_default().push(id);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Refuses from now on every intent issued at or before that moment.
    pub fn raise_fence(&mut self, fence: Timestamp) {
        self.fence = self.fence.max(fence);
    }

    /// Refuses from now on every intent whose use had to be remembered until a lost time.
    pub fn lose(&mut self, lost: &LostTimes) {
        self.lost.add_all(lost);
    }

    /// Times for which not every use is remembered.
    #[must_use]
    pub const fn lost(&self) -> &LostTimes {
        &self.lost
    }

    /// When no new intent is acceptable now, the first moment at which one will be. This happens
    /// when the clock was set back to times for which not every use is remembered.
    #[must_use]
    pub fn refuses_until(&self, now: Timestamp) -> Option<Timestamp> {
        let by_fence = (self.fence.since(now) > self.window.retention_max_s())
            .then(|| self.fence.plus(1).plus(self.window.future_skew_s.saturating_neg()));
        let newest = self.window.retention_max_s();
        let by_loss = self.lost.end_of(now.plus(newest)).map(|end| end.plus(1).plus(newest.saturating_neg()));
        by_fence.max(by_loss)
    }

    /// Forgets some expired uses, if there are more than a clock that is set back may need.
    pub fn forget(&mut self, now: Timestamp) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.count <= KEPT_MAX.min(self.capacity / 2) {
                return;
            }
            let Some(mut second) = self.by_second.first_entry().filter(|second| *second.key() < now) else { return };
            let until = *second.key();
            let Some(id) = second.get_mut().pop() else {
                second.remove();
                continue;
            };
            self.lost.add(until, until);
            let (shard, id) = place_of(id);
            if self.shards.get_mut(shard).is_some_and(|ids| ids.remove(&id)) {
                self.count = self.count.saturating_sub(1);
            }
        }
    }

    /// The number of uses remembered.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }
}

fn place(IntentId(digest): IntentId) -> (usize, ShortId) {
    place_of(*digest.first_chunk().unwrap_or(&[0; 16]))
}

fn place_of(id: ShortId) -> (usize, ShortId) {
    (usize::from(id[0]), id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn used(id: u8, iat: i64, exp: i64) -> Use {
        Use { id: IntentId([id; 32]), iat: at(iat), exp: at(exp) }
    }

    fn log(capacity: usize) -> UsedIntents {
        UsedIntents::new(WINDOW, capacity, at(0))
    }

    #[test]
    fn v35_the_second_use_is_refused() {
        let mut log = log(10);
        assert_eq!(log.insert(used(1, 100, 130), at(100)), Ok(()));
        assert_eq!(log.insert(used(1, 100, 130), at(100)), Err(ReplayError::Used));
        assert_eq!(log.insert(used(1, 100, 130), at(130)), Err(ReplayError::Used));
        assert_eq!(log.insert(used(1, 100, 130), at(135)), Err(ReplayError::Used));
        assert_eq!(log.insert(used(2, 100, 130), at(100)), Ok(()));
        // Only the id counts, whatever the times of a second intent with the same id.
        assert_eq!(log.insert(used(1, 101, 150), at(101)), Err(ReplayError::Used));
        // A use is not forgotten before its place is needed.
        assert_eq!(log.insert(used(1, 100, 130), at(10_000)), Err(ReplayError::Used));
    }

    #[test]
    fn v40_r04_what_was_forgotten_is_refused_though_the_clock_is_put_back() {
        let mut log = log(2);
        log.insert(used(1, 100, 130), at(100)).unwrap();
        log.insert(used(2, 100, 131), at(100)).unwrap();
        assert_eq!(log.insert(used(3, 110, 140), at(136)), Ok(()), "in the place of the first");
        assert_eq!(log.insert(used(1, 100, 130), at(100)), Err(ReplayError::BeforeFence));
        assert_eq!(log.insert(used(4, 100, 129), at(100)), Err(ReplayError::Full), "not used, and not forgotten");
        assert_eq!(log.refuses_until(at(100)), None);
        assert_eq!(log.refuses_until(at(65)), Some(at(66)), "65 + 70 is the end of what was forgotten");
    }

    #[test]
    fn v40_r04_a_clock_that_was_two_days_ahead_costs_nothing_when_it_is_right_again() {
        let (today, ahead) = (1_000_000, 1_000_000 + 2 * 86_400);
        let mut log = log(100_000);
        for nth in 0..100 {
            log.insert(used(nth, today, today + 60), at(today)).unwrap();
            log.insert(used(100 + nth, ahead, ahead + 60), at(ahead)).unwrap();
        }
        assert_eq!(log.refuses_until(at(today + 120)), None);
        assert_eq!(log.insert(used(201, today + 120, today + 180), at(today + 120)), Ok(()));
        assert_eq!(log.insert(used(100, ahead, ahead + 60), at(ahead)), Err(ReplayError::Used), "two days later");
    }

    #[test]
    fn v41_a_full_log_refuses_and_evicts_nothing_that_lives() {
        let mut log = log(2);
        log.insert(used(1, 100, 130), at(100)).unwrap();
        log.insert(used(2, 100, 131), at(100)).unwrap();
        assert_eq!(log.insert(used(3, 100, 130), at(100)), Err(ReplayError::Full));
        assert_eq!(log.insert(used(1, 100, 130), at(100)), Err(ReplayError::Used));
        assert_eq!(log.insert(used(3, 110, 140), at(135)), Err(ReplayError::Full));
        assert_eq!(log.insert(used(3, 110, 140), at(136)), Ok(()));
        assert_eq!(log.insert(used(4, 110, 140), at(136)), Err(ReplayError::Full));
        assert_eq!(log.insert(used(4, 110, 140), at(137)), Ok(()));
        assert_eq!(log.count(), 2);
        assert_eq!(NoReplayLog.check_and_insert(used(4, 100, 130), at(100)), Err(ReplayError::Unwritable));
    }

    #[test]
    fn v39_what_was_issued_before_the_fence_is_refused() {
        let mut log = UsedIntents::new(WINDOW, 10, at(100));
        assert_eq!(log.insert(used(1, 99, 130), at(101)), Err(ReplayError::BeforeFence));
        assert_eq!(log.insert(used(1, 100, 130), at(101)), Err(ReplayError::BeforeFence));
        assert_eq!(log.insert(used(1, 101, 130), at(101)), Ok(()));
    }

    #[test]
    fn v39_a_fence_can_be_raised_and_never_lowered() {
        let mut log = log(10);
        log.insert(used(1, 100, 130), at(100)).unwrap();
        log.raise_fence(at(100));
        assert_eq!(log.insert(used(2, 100, 130), at(101)), Err(ReplayError::BeforeFence));
        log.raise_fence(at(20));
        assert_eq!(log.insert(used(2, 100, 130), at(101)), Err(ReplayError::BeforeFence));
        assert_eq!(log.insert(used(2, 101, 130), at(101)), Ok(()));
        assert_eq!(log.insert(used(1, 100, 130), at(101)), Err(ReplayError::Used), "and it is still remembered");
    }

    #[test]
    fn forgetting_keeps_up_with_use() {
        let mut log = log(usize::MAX);
        for second in 0..600 {
            for nth in 0..200_i64 {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&(second * 1000 + nth).to_be_bytes());
                id.rotate_right(usize::try_from(nth % 16).unwrap());
                let _ = log.insert(Use { id: IntentId(id), iat: at(second + 1), exp: at(second + 31) }, at(second));
            }
        }
        let live = 38 * 200;
        assert!(log.count() <= KEPT_MAX + live, "{} remembered, of which {live} can still matter", log.count());
    }

    proptest! {
        /// For every order and every step of the clock, forward and back, no intent passes twice.
        /// The log is so small that it forgets.
        #[test]
        fn v35_no_sequence_of_uses_passes_one_twice(
            steps in proptest::collection::vec(
                (any::<bool>(), any::<prop::sample::Index>(), 1_i64..60, prop_oneof![0_i64..20, -900_i64..900]),
                1..200,
            ),
            capacity in prop_oneof![4_usize..40, Just(1000)],
        ) {
            let (mut log, mut now) = (UsedIntents::new(WINDOW, capacity, at(-1_000_000)), at(0));
            let (mut issued, mut accepted) = (Vec::new(), HashSet::new());
            for (is_new, which, lifetime, step) in steps {
                now = now.plus(step);
                if is_new || issued.is_empty() {
                    let id = IntentId([u8::try_from(issued.len()).unwrap(); 32]);
                    issued.push(Use { id, iat: now, exp: now.plus(lifetime) });
                }
                // One of all issued so far, so that many repeat.
                let attempt = *which.get(&issued);
                if WINDOW.check(attempt.iat, attempt.exp, now).is_ok() && log.insert(attempt, now).is_ok() {
                    prop_assert!(accepted.insert(attempt.id));
                }
            }
        }
    }
}
