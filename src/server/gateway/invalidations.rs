//! Pushes revocations to the gateway and waits for its acknowledgement (P6).
//!
//! A gateway that does not acknowledge within [`ACK_MAX`] is killed; its successor has an empty
//! cache. While no gateway runs, every invalidation is acknowledged at once.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use countersign_ipc::gateway_protocol::Ended;

/// How long a gateway may take to acknowledge. A revoked key is refused at most 1 s later (P6);
/// half of that remains for killing the gateway.
pub(crate) const ACK_MAX: Duration = Duration::from_millis(500);

/// Queued invalidations. Further senders wait.
const UNDER_WAY_MAX: usize = 256;

/// Sends invalidations to the running gateway.
#[derive(Clone, Debug)]
pub(crate) struct Invalidations {
    sender: mpsc::Sender<Invalidation>,
}

/// An invalidation, and its acknowledgement.
#[derive(Debug)]
pub(crate) struct Invalidation {
    /// The user or key that ended.
    pub(crate) ended: Ended,
    /// Answered or dropped when no gateway uses what it cached any more.
    pub(crate) ack: oneshot::Sender<()>,
}

/// Makes a queue for invalidations: the sender and the receiver.
pub(crate) fn invalidations() -> (Invalidations, mpsc::Receiver<Invalidation>) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    (Invalidations { sender }, receiver)
}

impl Invalidations {
    /// Sends an invalidation. Returns when every gateway has acknowledged it or is dead.
    pub(crate) async fn tell(&self, ended: Ended) {
        let (ack, wait) = oneshot::channel();
        if self.sender.send(Invalidation { ended, ack }).await.is_ok() {
            // Dropped without an answer: the gateway that should have acknowledged is gone.
            let _ = wait.await;
        }
    }
}
