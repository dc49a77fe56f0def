//! The latest report of what each account may choose of a job. In memory: an instance reports again
//! each time that it starts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_ipc::server_protocol::JobChoices;
use countersign_keys::identity::Uid;

/// Most accounts of which a report is kept. The one that reported first gives way.
const KEPT_MAX: usize = 1_000;

/// The latest report of each account, at most [`KEPT_MAX`].
#[derive(Debug, Default)]
pub(crate) struct ChoiceTable(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    reports: BTreeMap<Uid, Arc<Choices>>,
    order: VecDeque<Uid>,
}

/// What one account may choose.
#[derive(Debug)]
pub(crate) struct Choices {
    pub(crate) accounts: Vec<String>,
    pub(crate) modules: Arc<[String]>,
}

impl ChoiceTable {
    pub(crate) fn keep(&self, uid: Uid, JobChoices { accounts, modules }: JobChoices) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Most accounts of a site see the same modules.
        let same = kept.reports.values().find(|other| *other.modules == *modules);
        let modules = same.map_or_else(|| modules.into(), |same| Arc::clone(&same.modules));
        if kept.reports.insert(uid, Arc::new(Choices { accounts, modules })).is_none() {
            kept.order.push_back(uid);
        }
        while kept.order.len() > KEPT_MAX {
            if let Some(first) = kept.order.pop_front() {
                kept.reports.remove(&first);
            }
        }
    }

    pub(crate) fn of(&self, uid: Uid) -> Option<Arc<Choices>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reports.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(account: &str) -> JobChoices {
        JobChoices { accounts: vec![account.to_owned()], modules: vec!["m".to_owned()] }
    }

    #[test]
    fn the_first_of_too_many_reports_gives_way() {
        let table = ChoiceTable::default();
        for uid in 0..=u32::try_from(KEPT_MAX).unwrap() {
            table.keep(Uid(uid), choices("a"));
            table.keep(Uid(uid), choices("b"));
        }
        assert!(table.of(Uid(0)).is_none());
        let (one, other) = (table.of(Uid(1)).unwrap(), table.of(Uid(2)).unwrap());
        assert_eq!(one.accounts, ["b"]);
        assert!(Arc::ptr_eq(&one.modules, &other.modules), "equal lists are kept once");
    }
}
