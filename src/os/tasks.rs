//! Starts a task on whose order promises depend.
//!
//! The runtime is tokio's. In tests under a scheduler it is the scheduler's, which tries the
//! interleavings of its tasks.

/// Starts a task that runs to its end.
#[cfg(not(any(test, feature = "testing")))]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Starts a task that runs to its end.
#[cfg(any(test, feature = "testing"))]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if crate::locks::scheduled::is_scheduled() {
        shuttle::future::spawn(task);
    } else {
        tokio::spawn(task);
    }
}
