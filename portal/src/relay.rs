//! A door in clear text on loop-back to a gateway that speaks TLS alone.
//!
//! Browsers take `http://localhost` for a secure place, and would warn of a certificate of this
//! run's own authority. The relay believes in that authority and in no other; bytes pass unchanged.

use std::sync::Arc;

use countersign_portal::Endpoint;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Relays until it is dropped.
pub(crate) struct Relay(JoinHandle<()>);

impl Relay {
    /// From this listener to that endpoint.
    pub(crate) fn start(listener: TcpListener, to: Endpoint) -> Self {
        let to = Arc::new(to);
        Self(tokio::spawn(async move {
            while let Ok((mut browser, _)) = listener.accept().await {
                let to = Arc::clone(&to);
                tokio::spawn(async move {
                    if let Ok(mut gateway) = to.open().await {
                        let _either_side_may_vanish = copy_bidirectional(&mut browser, &mut gateway).await;
                    }
                });
            }
        }))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}
