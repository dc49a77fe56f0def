//! Divides the threads for blocking work among senders, so that none can hold them all (P8).
//!
//! Work that blocks on a disk or on the account database runs on one of a few threads. A sender may
//! hold some of them, and all senders together leave some for Core's calls and the server's own
//! work. Further work waits for its turn without a thread.

use std::sync::Arc;

use countersign_keys::identity::{Uid, Username};
use countersign_keys::store::registry::Authority;
use tokio::sync::Notify;

use countersign_os::limits::{Counted, InFlight};

/// Most threads for blocking work.
pub(crate) const THREADS: usize = 16;

/// Threads of all senders other than Core.
const ALL_MAX: usize = 12;

/// Threads of one sender.
const EACH_MAX: usize = 4;

const _: () =
    assert!(EACH_MAX < ALL_MAX && ALL_MAX < THREADS, "there are threads that one sender, or all, cannot take");

/// The sender of blocking work.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Asker {
    /// Core and the server itself. Limited elsewhere, by their concurrent calls.
    Core,
    /// A local account, or its instance.
    Account(Uid),
    /// A user, through the gateway.
    User(Username),
    /// The connection page, for all clients together.
    Page,
}

impl From<Authority> for Asker {
    fn from(authority: Authority) -> Self {
        match authority {
            Authority::Account(uid) => Self::Account(uid),
            Authority::Administrator | Authority::Core => Self::Core,
        }
    }
}

/// The threads held. Bounded by [`ALL_MAX`].
#[derive(Debug)]
pub(crate) struct Turns {
    under_way: Arc<Counted<Asker>>,
    over: Notify,
}

impl Default for Turns {
    fn default() -> Self {
        Self { under_way: Counted::new(ALL_MAX, EACH_MAX), over: Notify::new() }
    }
}

/// The right to hold one thread, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    under_way: Option<InFlight<Asker>>,
}

impl Turns {
    /// Waits until that sender may hold one more thread. The number of waiters is bounded by each
    /// sender's connections.
    pub(crate) async fn wait(self: &Arc<Self>, asker: &Asker) -> Turn {
        loop {
            // Register before checking, so that no release in between is missed.
            let over = self.over.notified();
            let taken = match asker {
                Asker::Core => Some(None),
                Asker::Account(_) | Asker::User(_) | Asker::Page => self.under_way.begin(asker).map(Some),
            };
            match taken {
                Some(under_way) => return Turn { turns: Arc::clone(self), under_way },
                None => over.await,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.under_way.take());
        self.turns.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{ALICE, BOB, TestServer};
    use futures_util::FutureExt as _;
    use std::sync::mpsc;

    fn as_many_as_it_gets(turns: &Arc<Turns>, asker: &Asker) -> Vec<Turn> {
        std::iter::from_fn(|| turns.wait(asker).now_or_never()).take(100).collect()
    }

    #[test]
    fn v73_neither_one_sender_nor_all_of_them_hold_every_thread() {
        let turns = Arc::default();
        let of_one = as_many_as_it_gets(&turns, &Asker::Account(Uid(7)));
        assert_eq!(of_one.len(), EACH_MAX);
        let of_others: Vec<_> =
            (8..100).flat_map(|uid| as_many_as_it_gets(&turns, &Asker::Account(Uid(uid)))).collect();
        assert!(!of_others.is_empty() && of_one.len() + of_others.len() <= ALL_MAX, "{}", of_others.len());
        assert_eq!(as_many_as_it_gets(&turns, &Asker::Core).len(), 100);
    }

    #[test]
    fn v73_what_waits_has_the_next_turn() {
        let turns = Arc::default();
        let asker = Asker::Account(Uid(7));
        let mut held = as_many_as_it_gets(&turns, &asker);
        let mut waiting = Box::pin(turns.wait(&asker));
        assert!(waiting.as_mut().now_or_never().is_none());
        held.pop();
        assert!(waiting.now_or_never().is_some());
    }

    /// The disk or the account database hangs, and the sender does not wait for the answer.
    #[test]
    fn v73_a_uid_whose_work_hangs_leaves_threads_for_others() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(THREADS).enable_all().build().unwrap();
        let (release, hanging) = mpsc::channel::<()>();
        let hanging = Arc::new(std::sync::Mutex::new(hanging));
        runtime.block_on(async {
            let test = TestServer::new("");
            for _ in 0..10 * THREADS {
                let (server, hanging) = (Arc::clone(&test.server), Arc::clone(&hanging));
                let asked = tokio::spawn(async move {
                    let work = move || {
                        let _released = hanging.lock().unwrap().recv();
                        Ok(())
                    };
                    server.blocking(Asker::Account(ALICE), work).await
                });
                tokio::task::yield_now().await;
                asked.abort();
            }
            for asker in [Asker::Account(BOB), Asker::Page, Asker::Core] {
                let asked =
                    tokio::time::timeout(std::time::Duration::from_secs(5), test.server.blocking(asker, || Ok(7)));
                assert_eq!(asked.await.expect("a thread is left"), Ok(7));
            }
            drop(release);
        });
    }
}
