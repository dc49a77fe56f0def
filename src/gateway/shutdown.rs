//! The shutdown signal of connections and sockets.

use tokio::sync::watch;

/// Returns when the gateway is to stop, or when the sender of the signal is gone.
pub(crate) async fn shutdown_requested(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
