//! One process of Core, as the requests it sends and the calls it answers share it: its resources
//! and its end.

use std::sync::{Mutex, PoisonError};

use super::resources::Resources;

/// What [`super::Core`] and [`super::Control`] of one process have in common.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) resources: Resources,
    /// Why it has ended, if it has.
    death: Mutex<Option<&'static str>>,
}

impl Process {
    /// Ends it; the first reason stays.
    pub(super) fn end(&self, why: &'static str) -> &'static str {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why)
    }

    /// Why it ended, if it did.
    pub(super) fn death(&self) -> Option<&'static str> {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same; whoever takes the reason has expected it.
    pub(super) fn take_death(&self) -> Option<&'static str> {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
