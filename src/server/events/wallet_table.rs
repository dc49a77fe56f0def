//! The latest word of Core on each wallet, in memory: Core sends all of them when asked for all
//! events.
//!
//! Nothing is decided by it here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::frames::{Owner, SeenWallet, Wallet};

/// Most wallets: every user and project in some categories.
const WALLETS_MAX: usize = 100_000;

/// The wallets, of configured categories only. At [`WALLETS_MAX`] no other owner's is added.
#[derive(Debug, Default)]
pub(crate) struct WalletTable(Mutex<BTreeMap<(Owner, String), Wallet>>);

impl WalletTable {
    /// Takes up a wallet if its category is one of these. Returns whether it says anything new.
    pub(crate) fn take_up(&self, seen: SeenWallet, categories: &BTreeSet<&str>) -> bool {
        let SeenWallet { owner, category, wallet } = seen;
        if !categories.contains(category.as_str()) {
            return false;
        }
        let mut wallets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner, category);
        if wallets.len() >= WALLETS_MAX && !wallets.contains_key(&key) {
            return false;
        }
        wallets.insert(key, wallet) != Some(wallet)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use countersign_keys::identity::Username;

    use super::*;

    #[test]
    fn wallets_of_other_categories_take_no_room() {
        let table = WalletTable::default();
        let take_up = |user: &str, category: &str, quota: u64| {
            let owner = Owner::User(Username::parse(user).unwrap());
            let wallet = Wallet { quota, used: 0, is_locked: false };
            table.take_up(SeenWallet { owner, category: category.to_owned(), wallet }, &BTreeSet::from(["u1"]))
        };
        assert!(take_up("alice#1", "u1", 7));
        assert!(!take_up("alice#1", "u1", 7), "a repeat");
        assert!(take_up("alice#1", "u1", 8));
        assert!(!take_up("alice#1", "../u1", 7));
        assert_eq!(table.count(), 1);
        for number in 0..=WALLETS_MAX {
            take_up(&number.to_string(), "u1", 1);
        }
        assert_eq!(table.count(), WALLETS_MAX);
        assert!(take_up("alice#1", "u1", 9), "one that is known");
    }
}
