//! Limits how much each sender holds at a time; dropping gives it back.
//!
//! The resource has a total size. A sender may hold at most `each_max`, and at most what is still
//! free. Its share shrinks with the room, so that a few senders cannot take all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much each sender holds. Bounded by `all_max`: a sender is listed only while it holds
/// something.
#[derive(Debug)]
pub struct Counted<K: Hash + Eq + Clone> {
    all_max: usize,
    each_max: usize,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    by_sender: HashMap<K, usize>,
    all: usize,
}

/// One sender's holding, until it is dropped.
#[derive(Debug)]
pub struct InFlight<K: Hash + Eq + Clone> {
    counted: Arc<Counted<K>>,
    sender: K,
    size: usize,
}

impl<K: Hash + Eq + Clone> Counted<K> {
    /// `all_max` bounds the total, and `each_max` each sender.
    pub fn new(all_max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, each_max, held: Mutex::new(Held { by_sender: HashMap::new(), all: 0 }) })
    }

    /// Counts one more for that sender, unless that exceeds a limit.
    pub fn begin(self: &Arc<Self>, sender: &K) -> Option<InFlight<K>> {
        self.begin_with(sender, 1)
    }

    /// Counts `size` more for that sender, unless that exceeds a limit.
    pub fn begin_with(self: &Arc<Self>, sender: &K, size: usize) -> Option<InFlight<K>> {
        let mut held = self.held();
        let has = held.by_sender.get(sender).copied().unwrap_or(0).saturating_add(size);
        let share = self.each_max.min(self.all_max.saturating_sub(held.all));
        if has > share {
            return None;
        }
        held.all = held.all.saturating_add(size);
        held.by_sender.insert(sender.clone(), has);
        Some(InFlight { counted: Arc::clone(self), sender: sender.clone(), size })
    }

    /// How much all senders hold.
    pub fn all(&self) -> usize {
        self.held().all
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Drop for InFlight<K> {
    fn drop(&mut self) {
        let mut held = self.counted.held();
        held.all = held.all.saturating_sub(self.size);
        if let Some(has) = held.by_sender.get_mut(&self.sender) {
            *has = has.saturating_sub(self.size);
            if *has == 0 {
                held.by_sender.remove(&self.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_many_as_it_gets(counted: &Arc<Counted<u32>>, sender: u32) -> Vec<InFlight<u32>> {
        std::iter::from_fn(|| counted.begin(&sender)).take(100_000).collect()
    }

    #[test]
    fn each_sender_has_its_own_limit_and_gets_back_what_it_gives_up() {
        let counted = Counted::new(usize::MAX, 64);
        let mut held = as_many_as_it_gets(&counted, 1);
        assert_eq!((held.len(), as_many_as_it_gets(&counted, 2).len()), (64, 64));
        held.pop();
        held.push(counted.begin(&1).unwrap());
        held.clear();
        assert!(counted.held().by_sender.is_empty());
    }

    #[test]
    fn a_share_shrinks_as_room_does() {
        let counted = Counted::new(1_024, 1_024);
        let held: Vec<_> = (0..5).map(|sender| as_many_as_it_gets(&counted, sender)).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [512, 256, 128, 64, 32]);
        assert!(counted.begin(&9).is_some(), "there is room for a sender that has nothing");
    }

    #[test]
    fn senders_that_take_turns_leave_as_much_as_each_of_them_has() {
        let counted = Counted::new(1_000, 1_000);
        let mut held = Vec::new();
        while held.len() < 10_000 {
            let round: Vec<_> = (0..4).filter_map(|sender| counted.begin(&sender)).collect();
            if round.is_empty() {
                break;
            }
            held.extend(round);
        }
        assert_eq!((held.len(), counted.held().all), (800, 800));
    }

    #[test]
    fn what_is_counted_may_have_a_size() {
        let counted = Counted::new(100, 60);
        let some = counted.begin_with(&1, 50).unwrap();
        assert!(counted.begin_with(&1, 11).is_none() && counted.begin_with(&2, 51).is_none());
        let other = counted.begin_with(&2, 25).unwrap();
        drop((some, other));
        assert_eq!(counted.held().all, 0);
    }

    proptest! {
        /// For any sequence of steps, the sums are right and the limits hold.
        #[test]
        fn counts_are_what_is_held(steps in prop::collection::vec((0_u32..5, 1_usize..9, any::<bool>()), 1..200)) {
            let counted = Counted::new(64, 24);
            let mut held: Vec<(u32, usize, InFlight<u32>)> = Vec::new();
            for (sender, size, begins) in steps {
                if begins {
                    held.extend(counted.begin_with(&sender, size).map(|in_flight| (sender, size, in_flight)));
                } else if !held.is_empty() {
                    held.swap_remove(size % held.len());
                }
                let all: usize = held.iter().map(|(_, size, _)| size).sum();
                prop_assert_eq!(counted.held().all, all);
                prop_assert!(all <= 64);
                for of in 0..5 {
                    let has: usize = held.iter().filter(|(sender, ..)| *sender == of).map(|(_, size, _)| size).sum();
                    prop_assert_eq!(counted.held().by_sender.get(&of).copied().unwrap_or(0), has);
                    prop_assert!(has <= 24);
                }
            }
        }
    }
}
