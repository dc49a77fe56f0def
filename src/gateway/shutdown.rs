//! The end of service: when connections and sockets are to finish.

use tokio::sync::watch;

/// Returns when the gateway is to stop, or when the sender that could say so is gone.
pub(super) async fn shutdown_requested(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
