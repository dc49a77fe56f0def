//! The services behind an instance's sockets, and the limit on open sockets.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::search::Searches;
use crate::terminal::Shells;
use crate::uploads::websocket::Uploads;

/// Most open sockets: more than browsers open. Each holds buffers and descriptors.
const SOCKETS_MAX: usize = 64;
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) shells: Shells,
    pub(crate) uploads: Uploads,
    pub(crate) searches: Searches,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Sockets {
    pub(crate) fn of(shells: Shells, uploads: Uploads, searches: Searches) -> Self {
        let places = Arc::new(Semaphore::new(SOCKETS_MAX));
        Self { shells, uploads, searches, places, stop: watch::channel(false).0 }
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}
