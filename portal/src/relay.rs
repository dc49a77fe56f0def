//! A clear-text loopback port that relays to the gateway, which speaks only TLS.
//!
//! Browsers treat `http://localhost` as a secure context, but would warn of a certificate by this
//! run's authority. The relay accepts only certificates of that authority and changes no bytes.

use std::sync::Arc;

use countersign_portal::Endpoint;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A relay. Dropping it stops the acceptance of connections.
pub(crate) struct Relay(JoinHandle<()>);

impl Relay {
    /// Relays connections from `listener` to `to`.
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
