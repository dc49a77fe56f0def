//! Collects the signatures of requests that are ready in one turn of the runtime, and checks them
//! together: several Ed25519 signatures cost less than half of each alone.

use std::sync::{Arc, MutexGuard, PoisonError};

use countersign_keys::intent::{CheckedSignature, SignatureCheck, TOGETHER_MAX, check_together};
use tokio::sync::oneshot;

use countersign_os::locks::Mutex;
use countersign_os::tasks;

/// Signatures that wait for the end of this turn. Bounded by the requests in flight.
#[derive(Default)]
pub(crate) struct SignatureQueue {
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    check: SignatureCheck,
    outcome: oneshot::Sender<Option<CheckedSignature>>,
}

impl SignatureQueue {
    /// Returns the outcome; `None` is a signature that is not its key's.
    pub(crate) async fn check(self: &Arc<Self>, check: SignatureCheck) -> Option<CheckedSignature> {
        let (outcome, checked) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(Waiting { check, outcome });
            waiting.len() == 1
        };
        if is_first {
            // A task of its own: the others wait for it even if this request is given up.
            tasks::spawn(Arc::clone(self).check_all());
        }
        checked.await.ok().flatten() // without an outcome the runtime is ending
    }

    async fn check_all(self: Arc<Self>) {
        // Requests that are ready in this turn add theirs.
        tokio::task::yield_now().await;
        loop {
            let now: Vec<_> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(TOGETHER_MAX);
                waiting.drain(..count).collect()
            };
            if now.is_empty() {
                return;
            }
            let (checks, outcomes): (Vec<_>, Vec<_>) =
                now.into_iter().map(|Waiting { check, outcome }| (check, outcome)).unzip();
            for (outcome, checked) in outcomes.into_iter().zip(check_together(checks)) {
                let _ = outcome.send(checked); // fails if the request was given up
            }
            if self.waiting().is_empty() {
                return;
            }
            // Those that were answered go on before the next are checked.
            tokio::task::yield_now().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
