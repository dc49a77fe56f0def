//! What an instance's sockets are for, and how many there may be.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::search::Searches;
use crate::terminal::Shells;
use crate::upload_v2::Uploads;

/// How many sockets are open at once: more than browsers open, and each holds buffers and
/// descriptors.
const SOCKETS_MAX: usize = 64;
/// What sockets are for, and how many there may be.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) shells: Shells,
    pub(crate) uploads: Uploads,
    pub(crate) searches: Searches,
    pub(super) places: Arc<Semaphore>,
    pub(super) stop: watch::Sender<bool>,
}

impl Sockets {
    /// Sockets for these.
    pub(crate) fn of(shells: Shells, uploads: Uploads, searches: Searches) -> Self {
        let places = Arc::new(Semaphore::new(SOCKETS_MAX));
        Self { shells, uploads, searches, places, stop: watch::channel(false).0 }
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}
