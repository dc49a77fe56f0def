//! The applications that wait for a review, bounded per account and in all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::Uid;
use countersign_keys::jws::sha256;
use countersign_keys::time::Timestamp;

use crate::http::reply::Refusal;
use countersign_ipc::server_protocol::{
    APPLICATION_MAX, APPLICATION_NAME_MAX, ApplicationDecision, ApplicationNamed, ApplicationOffered,
    PendingApplication,
};

/// Most applications that wait at a time: with [`APPLICATION_MAX`], 24 MiB. A list of them fits
/// into an answer.
pub(super) const ALL_MAX: usize = 256;

/// Most of them that one account has offered.
pub(super) const EACH_MAX: usize = 8;

/// Most rejected texts that are remembered, so that the next job does not offer them again.
pub(super) const REJECTED_MAX: usize = 1_024;

/// Name, version and digest.
type Key = (String, String, String);

/// The applications that wait. Bounded by [`ALL_MAX`] and [`EACH_MAX`]; a decision removes one.
#[derive(Debug, Default)]
pub(crate) struct PendingTable(Mutex<Table>);

#[derive(Debug, Default)]
pub(super) struct Table {
    pending: BTreeMap<Key, Pending>,
    /// The oldest is forgotten at [`REJECTED_MAX`]: rejected again, it costs one look.
    pub(super) rejected: BTreeSet<Key>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    text: Arc<str>,
    uid: Uid,
    offered: Timestamp,
    /// The order of offers.
    number: u64,
}

impl PendingTable {
    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an application, once.
    pub(super) fn offer(&self, uid: Uid, offered: ApplicationOffered, now: Timestamp) -> Result<(), Refusal> {
        let ApplicationOffered { name, version, invocation } = offered;
        let is_name =
            |name: &str| (1..=APPLICATION_NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name(&name) || !is_name(&version) || invocation.is_empty() || invocation.len() > APPLICATION_MAX {
            return Err(Refusal::bad_request("the application is too long, or has no name"));
        }
        let key = (name, version, digest(&invocation));
        let mut table = self.lock();
        if table.pending.contains_key(&key) || table.rejected.contains(&key) {
            return Ok(());
        }
        let own = table.pending.values().filter(|pending| pending.uid == uid).count();
        if own >= EACH_MAX || table.pending.len() >= ALL_MAX {
            return Err(Refusal::too_many("too many applications wait for a review at this computing centre"));
        }
        let number = table.next;
        table.next = number.saturating_add(1);
        table.pending.insert(key, Pending { text: invocation.into(), uid, offered: now, number });
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().pending.len()
    }

    pub(super) fn list(&self) -> Vec<PendingApplication> {
        let table = self.lock();
        let mut pending: Vec<_> = table.pending.iter().collect();
        pending.sort_by_key(|(_, pending)| pending.number);
        let listed = pending.into_iter().map(|((name, version, digest), pending)| PendingApplication {
            name: name.clone(),
            version: version.clone(),
            digest: digest.clone(),
            uid: pending.uid,
            offered: pending.offered,
        });
        listed.collect()
    }

    pub(super) fn text(&self, named: &ApplicationNamed) -> Option<Arc<str>> {
        self.lock().pending.get(&key(named)).map(|pending| Arc::clone(&pending.text))
    }

    pub(super) fn remove(&self, named: &ApplicationNamed, decision: ApplicationDecision) {
        let mut table = self.lock();
        table.pending.remove(&key(named));
        if decision == ApplicationDecision::Reject {
            if table.rejected.len() >= REJECTED_MAX {
                table.rejected.pop_first();
            }
            table.rejected.insert(key(named));
        }
    }
}

fn key(named: &ApplicationNamed) -> Key {
    (named.name.clone(), named.version.clone(), named.digest.clone())
}

pub(super) fn digest(text: &str) -> String {
    let mut digest = String::with_capacity(64);
    for byte in sha256(&[text.as_bytes()]) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}
