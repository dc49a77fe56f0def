//! Progress and control of long work: its user can pause, resume or cancel it.
//!
//! The work counts what it does, and checks its control between files and between pieces of a file.
//! Paused work gives up its place in the queue. Cancelled work fails with [`FilesError::Cancelled`]
//! and is undone as after any failure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::FilesError;

/// Bytes between two checks of the control: a fraction of a second on a slow disk.
pub(crate) const PIECE: u64 = 8 * 1024 * 1024;

/// What a user wants of a piece of work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Control {
    #[default]
    Run,
    Pause,
    /// Stop for good.
    Cancel,
}

/// An amount of files and bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Amount {
    /// Files, folders and links.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// One piece of work, shared by the thread that does it and the task that watches it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
    /// The total, once it is known.
    all: Mutex<Option<Amount>>,
    state: Mutex<State>,
    changed: Condvar,
    control_set: Notify,
}

#[derive(Debug, Default)]
struct State {
    control: Control,
    /// The work's place in its queue, while it has one.
    place: Option<(Arc<Semaphore>, OwnedSemaphorePermit)>,
}

impl Progress {
    /// Counts what was done. Blocks while the work is paused; fails once it is cancelled.
    pub(crate) fn advance(&self, done: Amount) -> Result<(), FilesError> {
        self.files.fetch_add(done.files, Ordering::Relaxed);
        self.bytes.fetch_add(done.bytes, Ordering::Relaxed);
        let mut state = self.lock();
        let mut queue = None;
        loop {
            match state.control {
                Control::Cancel => return Err(FilesError::Cancelled),
                Control::Pause => {
                    if let Some((of, permit)) = state.place.take() {
                        queue = Some(of);
                        drop(permit);
                    }
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Control::Run => break,
            }
        }
        drop(state);
        queue.map_or(Ok(()), |queue| self.enter_again(queue))
    }

    /// Waits for a place in the queue again.
    fn enter_again(&self, queue: Arc<Semaphore>) -> Result<(), FilesError> {
        let handle = Handle::try_current().map_err(|_| FilesError::CutShort)?;
        let permit = handle.block_on(Arc::clone(&queue).acquire_owned()).map_err(|_| FilesError::CutShort)?;
        self.take_place(queue, permit);
        self.advance(Amount::default())
    }

    /// Keeps a place in a queue until the work ends or is paused.
    pub(super) fn take_place(&self, queue: Arc<Semaphore>, permit: OwnedSemaphorePermit) {
        self.lock().place = Some((queue, permit));
    }

    /// Gives up the place in the queue: the work has ended, or moves to another queue.
    pub(super) fn leave(&self) {
        self.lock().place = None;
    }

    /// Sets the control. Cancelled work stays cancelled.
    pub(crate) fn want(&self, control: Control) {
        let mut state = self.lock();
        if state.control != Control::Cancel {
            state.control = control;
        }
        drop(state);
        self.changed.notify_all();
        self.control_set.notify_one();
    }

    pub(crate) fn control(&self) -> Control {
        self.lock().control
    }

    /// Waits until the control is set.
    pub(crate) async fn control_changed(&self) {
        self.control_set.notified().await;
    }

    pub(crate) fn done(&self) -> Amount {
        Amount { files: self.files.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// The total, if it is known.
    pub(crate) fn all(&self) -> Option<Amount> {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn measured(&self, all: Amount) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = Some(all);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Amount {
    pub(super) const fn file(bytes: u64) -> Self {
        Self { files: 1, bytes }
    }

    /// Bytes of a file that is not complete.
    pub(super) const fn piece(bytes: u64) -> Self {
        Self { files: 0, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_stops_when_it_is_told() {
        let progress = Progress::default();
        progress.advance(Amount::file(5)).unwrap();
        progress.advance(Amount::piece(2)).unwrap();
        assert_eq!((progress.done(), progress.all()), (Amount { files: 1, bytes: 7 }, None));
        progress.want(Control::Cancel);
        progress.want(Control::Run);
        assert_eq!(progress.advance(Amount::file(1)), Err(FilesError::Cancelled), "stopped is stopped");
    }

    #[tokio::test]
    async fn who_rests_gives_its_place_to_others_and_waits_for_one_again() {
        let queue = Arc::new(Semaphore::new(1));
        let progress = Arc::new(Progress::default());
        progress.take_place(Arc::clone(&queue), Arc::clone(&queue).try_acquire_owned().unwrap());
        progress.want(Control::Pause);
        let resting = Arc::clone(&progress);
        let work = tokio::task::spawn_blocking(move || resting.advance(Amount::file(1)));
        let other = Arc::clone(&queue).acquire_owned().await.unwrap();
        progress.want(Control::Run);
        tokio::task::yield_now().await;
        assert!(!work.is_finished(), "the queue is full");
        drop(other);
        assert_eq!(work.await.unwrap(), Ok(()));
        assert_eq!(queue.available_permits(), 0);
        progress.leave();
        assert_eq!(queue.available_permits(), 1);
    }

    #[tokio::test]
    async fn who_is_stopped_while_resting_leaves_nothing_taken() {
        let queue = Arc::new(Semaphore::new(1));
        let progress = Arc::new(Progress::default());
        progress.take_place(Arc::clone(&queue), Arc::clone(&queue).try_acquire_owned().unwrap());
        progress.want(Control::Pause);
        let resting = Arc::clone(&progress);
        let work = tokio::task::spawn_blocking(move || resting.advance(Amount::default()));
        let other = Arc::clone(&queue).acquire_owned().await.unwrap();
        progress.want(Control::Cancel);
        assert_eq!(work.await.unwrap(), Err(FilesError::Cancelled), "it does not wait for a place to end");
        drop(other);
        assert_eq!(queue.available_permits(), 1);
    }
}
