//! Shared room with fair eviction: when it is full, the sender with the most loses its oldest item.
//!
//! A flooding sender evicts only itself; a sender with few items keeps them. Every step takes
//! logarithmic time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Items by sender, oldest first. The holder bounds it with [`Shares::evict`].
#[derive(Debug)]
pub struct Shares<K, T> {
    by_sender: HashMap<K, BTreeMap<u64, T>>,
    /// Senders by number of items; of those with equal numbers, the one with the oldest item is
    /// last.
    sizes: BTreeSet<(usize, std::cmp::Reverse<u64>, K)>,
    all: usize,
    last_number: u64,
}

/// Refers to one item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket<K> {
    pub sender: K,
    number: u64,
}

impl<K, T> Default for Shares<K, T> {
    fn default() -> Self {
        Self { by_sender: HashMap::new(), sizes: BTreeSet::new(), all: 0, last_number: 0 }
    }
}

impl<K: Hash + Ord + Clone, T> Shares<K, T> {
    /// Number of items.
    pub const fn count(&self) -> usize {
        self.all
    }

    /// Number of items of that sender.
    pub fn count_of(&self, sender: &K) -> usize {
        self.by_sender.get(sender).map_or(0, BTreeMap::len)
    }

    /// Adds an item.
    pub fn push(&mut self, sender: K, held: T) -> Ticket<K> {
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        self.change(&sender, |things| things.insert(number, held));
        Ticket { sender, number }
    }

    /// Removes the item, if it is still there.
    pub fn remove(&mut self, ticket: &Ticket<K>) -> Option<T> {
        self.change(&ticket.sender, |things| things.remove(&ticket.number))
    }

    /// Removes the sender's oldest item.
    pub fn evict_of(&mut self, sender: &K) -> Option<T> {
        self.change(sender, |things| things.pop_first().map(|(_, held)| held))
    }

    /// Removes the oldest item of the sender with the most.
    pub fn evict(&mut self) -> Option<T> {
        let (_, _, sender) = self.sizes.last()?.clone();
        self.evict_of(&sender)
    }

    /// Changes a sender's items, and updates its position.
    fn change<R>(&mut self, sender: &K, change: impl FnOnce(&mut BTreeMap<u64, T>) -> R) -> R {
        let things = self.by_sender.entry(sender.clone()).or_default();
        let (before, was) = (things.len(), place_of(things, sender));
        let result = change(things);
        let (after, is) = (things.len(), place_of(things, sender));
        if things.is_empty() {
            self.by_sender.remove(sender);
        }
        if was != is {
            was.map(|was| self.sizes.remove(&was));
            is.map(|is| self.sizes.insert(is));
        }
        self.all = self.all.saturating_add(after).saturating_sub(before);
        result
    }
}

/// A sender's position in the order; `None` without items.
fn place_of<K: Clone, T>(things: &BTreeMap<u64, T>, sender: &K) -> Option<(usize, std::cmp::Reverse<u64>, K)> {
    let (oldest, _) = things.first_key_value()?;
    Some((things.len(), std::cmp::Reverse(*oldest), sender.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_of_the_sender_with_most_goes_first() {
        let mut shares = Shares::default();
        for (sender, held) in [('a', 1), ('b', 2), ('b', 3), ('a', 4), ('b', 5), ('c', 6)] {
            shares.push(sender, held);
        }
        let gone: Vec<i32> = std::iter::from_fn(|| shares.evict()).collect();
        assert_eq!(gone, [2, 1, 3, 4, 5, 6]);
        assert!(shares.by_sender.is_empty() && shares.sizes.is_empty() && shares.count() == 0);
    }

    #[test]
    fn what_is_given_up_is_gone_once() {
        let mut shares = Shares::default();
        let (first, second) = (shares.push('a', 1), shares.push('a', 2));
        assert_eq!((shares.remove(&first), shares.remove(&first)), (Some(1), None));
        assert_eq!((shares.evict_of(&'a'), shares.evict_of(&'a'), shares.remove(&second)), (Some(2), None, None));
    }

    proptest! {
        /// A sender within its equal share loses nothing, whatever the others do.
        #[test]
        fn a_sender_with_its_even_part_loses_nothing(others in prop::collection::vec(1_u32..8, 0..500), own in 1_usize..8) {
            const ROOM: usize = 64;
            let mut shares = Shares::default();
            for _ in 0..own {
                shares.push(0, true);
            }
            for other in others {
                shares.push(other, false);
                if shares.count() > ROOM {
                    prop_assert_eq!(shares.evict(), Some(false));
                }
                prop_assert!(shares.count() <= ROOM);
                let counted: usize = (0..8).map(|sender| shares.count_of(&sender)).sum();
                prop_assert_eq!(counted, shares.count());
            }
            prop_assert_eq!(shares.count_of(&0), own);
        }
    }
}
