//! The state of one process of Core that its client side and its control endpoints share: resources
//! and the reason of its end.

use std::sync::{Mutex, PoisonError};

use super::jobs::Jobs;
use super::resources::Resources;

/// The state shared by [`super::Core`] and [`super::Control`].
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) resources: Resources,
    pub(super) jobs: Jobs,
    /// The reason why the process ended.
    death: Mutex<Option<&'static str>>,
}

impl Process {
    /// Ends the process. A later reason does not replace the first.
    pub(super) fn end(&self, why: &'static str) -> &'static str {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why)
    }

    /// The reason why the process ended, if it did.
    pub(super) fn death(&self) -> Option<&'static str> {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns and clears the reason; the caller expected the end.
    pub(super) fn take_death(&self) -> Option<&'static str> {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
