//! What has ended is told to the gateway; whoever tells waits until no gateway goes on as before
//! (P6).
//!
//! A gateway that has not taken note within [`ACK_MAX`] is killed: its successor remembers nothing,
//! so what ended has ended for it too. While no gateway runs, every invalidation is noted at once.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::ipc::control::Ended;

/// How long a gateway may take to act on a notice: a revoked key is refused at most 1 s later (P6),
/// and half of that is left for killing the gateway.
pub(super) const ACK_MAX: Duration = Duration::from_millis(500);

/// Invalidations under way. More wait with whoever tells them.
const UNDER_WAY_MAX: usize = 256;

/// Tells the gateway, whichever runs.
#[derive(Clone, Debug)]
pub(super) struct Invalidations {
    sender: mpsc::Sender<Invalidation>,
}

/// One thing that has ended.
#[derive(Debug)]
pub(super) struct Invalidation {
    /// What.
    pub(super) ended: Ended,
    /// Answered, or dropped, when no gateway goes on as before.
    pub(super) ack: oneshot::Sender<()>,
}

/// A line for invalidations, and its other end.
pub(super) fn invalidations() -> (Invalidations, mpsc::Receiver<Invalidation>) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    (Invalidations { sender }, receiver)
}

impl Invalidations {
    /// Tells it, and returns when every gateway has taken note or is dead.
    pub(super) async fn tell(&self, ended: Ended) {
        let (ack, wait) = oneshot::channel();
        if self.sender.send(Invalidation { ended, ack }).await.is_ok() {
            // Dropped unanswered: the gateway that should have noted it is gone.
            let _ = wait.await;
        }
    }
}
