//! The replay log: an intent is accepted at most once (P4).
//!
//! A check costs the same however much is remembered: what may be forgotten is forgotten a little with every use. A full log refuses; nothing
//! that is still acceptable is ever evicted (V41).

use std::collections::{BTreeMap, HashSet};

use crate::freshness::Window;
use crate::time::Timestamp;

/// What identifies an intent: a digest over its user, key and token id (V36).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IntentId(pub [u8; 32]);

/// A use that is to be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Use {
    /// Which intent.
    pub id: IntentId,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
}

/// Why a use is refused, or cannot be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// It was used before.
    #[error("the intent has been used")]
    Used,
    /// Issued at a time of which the log cannot say what was used.
    #[error("the intent was issued before the log can vouch for what was used")]
    BeforeFence,
    /// The log is full. Our fault, and said so: nothing is forwarded.
    #[error("the replay log is full")]
    Full,
    /// The log cannot be written. Our fault.
    #[error("the replay log cannot be written")]
    Unwritable,
}

/// Where uses are written down. The one call both asks and writes: between two there would be room for a second copy.
pub trait ReplayLog {
    /// Writes down the first use of an intent. Of several concurrent calls with the same id exactly one succeeds. An `Ok` that is
    /// wrong lets a request be repeated; an `Err` that is wrong costs its user a signature.
    ///
    /// # Errors
    /// If it was used, may have been used, or cannot be written down.
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError>;
}

/// Accepts nothing: what stands where no log could be opened.
#[derive(Clone, Copy, Debug)]
pub struct NoReplayLog;

impl ReplayLog for NoReplayLog {
    fn check_and_insert(&self, _: Use, _: Timestamp) -> Result<(), ReplayError> {
        Err(ReplayError::Unwritable)
    }
}

/// Sets that the memory is divided into, one for each first byte of an id, so that growing one takes no longer than a signature check.
const SHARDS: usize = 256;

/// Uses forgotten with each new one, at most: more than one, so that forgetting keeps up.
const FORGOTTEN_AT_ONCE: usize = 64;

/// What is kept of an id. To make another user's intent look used takes a second preimage of 128 bits; two that collide take 64, and cost the
/// user who made them one of their own.
type ShortId = [u8; 16];

/// The records, in memory. Whoever keeps a log on disk puts one of these before it.
#[derive(Debug)]
pub struct UsedIntents {
    window: Window,
    /// By the first byte of their id. Bounded by `capacity` in all.
    shards: Vec<HashSet<ShortId>>,
    /// The same ids, by the last second in which they must be remembered.
    by_second: BTreeMap<Timestamp, Vec<ShortId>>,
    count: usize,
    capacity: usize,
    /// Intents issued at or before this moment may have been used without a record.
    fence: Timestamp,
    /// What had to be remembered only until before this moment may be forgotten.
    forgotten_before: Timestamp,
}

impl UsedIntents {
    /// Nothing used since `fence`; of earlier intents nothing is known, and they are refused.
    #[must_use]
    pub fn new(window: Window, capacity: usize, fence: Timestamp) -> Self {
        let shards = (0..SHARDS).map(|_| HashSet::new()).collect();
        let forgotten_before = Timestamp::from_seconds(i64::MIN);
        Self { window, shards, by_second: BTreeMap::new(), count: 0, capacity, fence, forgotten_before }
    }

    /// Whether this use would be accepted. Changes nothing.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check(&self, used: Use) -> Result<(), ReplayError> {
        let (shard, id) = place(used.id);
        if self.shards.get(shard).is_none_or(|ids| ids.contains(&id)) {
            return Err(ReplayError::Used);
        }
        if used.iat <= self.fence || self.window.retain_until(used.exp) < self.forgotten_before {
            return Err(ReplayError::BeforeFence);
        }
        if self.count >= self.capacity {
            return Err(ReplayError::Full);
        }
        Ok(())
    }

    /// Writes down a use, if it is the first.
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

    /// Refuses from now on whatever was issued at or before that moment.
    pub fn raise_fence(&mut self, fence: Timestamp) {
        self.fence = self.fence.max(fence);
    }

    /// Forgets some of what cannot be accepted any more.
    pub fn forget(&mut self, now: Timestamp) {
        self.forgotten_before = self.forgotten_before.max(now);
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(mut second) = self.by_second.first_entry().filter(|second| *second.key() < now) else { return };
            let Some(id) = second.get_mut().pop() else {
                second.remove();
                continue;
            };
            let (shard, id) = place_of(id);
            if self.shards.get_mut(shard).is_some_and(|ids| ids.remove(&id)) {
                self.count = self.count.saturating_sub(1);
            }
        }
    }

    /// How many uses are remembered.
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
    #![allow(clippy::unwrap_used)]
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
        // The id is what counts, whatever times a second intent of the same id has.
        assert_eq!(log.insert(used(1, 101, 150), at(101)), Err(ReplayError::Used));
        // What freshness would have refused anyway is refused here too once it is forgotten.
        assert_eq!(log.insert(used(1, 100, 130), at(136)), Err(ReplayError::BeforeFence));
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
        assert!(log.count() <= 38 * 200, "{} remembered, of which 37 s' worth can still matter", log.count());
    }

    proptest! {
        /// Whatever the order and the steps of the guarded clock, no intent passes twice.
        #[test]
        fn v35_no_sequence_of_uses_passes_one_twice(
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1_i64..60, 0_i64..20), 1..200)
        ) {
            let (mut log, mut now) = (log(1000), at(0));
            let (mut issued, mut accepted) = (Vec::new(), HashSet::new());
            for (is_new, which, lifetime, step) in steps {
                now = now.plus(step);
                if is_new || issued.is_empty() {
                    let id = IntentId([u8::try_from(issued.len()).unwrap(); 32]);
                    issued.push(Use { id, iat: now, exp: now.plus(lifetime) });
                }
                // One of those that were ever issued, so that many come again.
                let attempt = *which.get(&issued);
                if WINDOW.check(attempt.iat, attempt.exp, now).is_ok() && log.insert(attempt, now).is_ok() {
                    prop_assert!(accepted.insert(attempt.id));
                }
            }
        }
    }
}
