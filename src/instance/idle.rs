//! Tells when an instance has been idle long enough to stop, and when its remaining work has
//! finished.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a stopping instance waits for requests and work in progress.
const FINISH_MAX: Duration = Duration::from_secs(30);

/// How long it waits for connections without a request. The gateway closes those that are idle, and
/// has at most 3 s of patience with a request for which it has connected.
const CLOSE_MAX: Duration = Duration::from_secs(4);

/// How often work that has outlived its request is checked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The number of requests in flight, and when the last one ended.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    under_way: usize,
    connections: usize,
    is_finishing: bool,
    idle_since: Instant,
}

impl IdleTimer {
    /// Idle from now on.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { under_way: 0, connections: 0, is_finishing: false, idle_since: Instant::now() }),
            changed: Notify::new(),
        }
    }

    /// Counts a request until the value is dropped.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.change(|state| state.under_way = state.under_way.saturating_add(1));
        InFlight(self)
    }

    /// Counts a connection until the value is dropped.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.change(|state| state.connections = state.connections.saturating_add(1));
        Connected(self)
    }

    /// Whether connections are to close after the answer under way.
    pub(crate) fn is_finishing(&self) -> bool {
        self.state().is_finishing
    }

    /// Waits until no request has been in flight for that time and `is_busy` is false. `is_busy`
    /// tells of work that outlives its request.
    pub(crate) async fn idle_for(&self, time: Duration, is_busy: impl Fn() -> bool) {
        loop {
            let State { under_way, idle_since, .. } = self.state();
            let end = idle_since + time;
            if under_way == 0 && Instant::now() >= end && !is_busy() {
                return;
            }
            let next = if under_way == 0 && Instant::now() < end { end } else { Instant::now() + LOOK_EVERY };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Waits until no connection is open, but at most [`CLOSE_MAX`]: a request may be on its way.
    /// Answers close their connections from now on.
    pub(crate) async fn close(&self) {
        self.change(|state| state.is_finishing = true);
        let all_closed = async {
            while self.state().connections > 0 {
                let _ = tokio::time::timeout(LOOK_EVERY, self.changed.notified()).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_MAX, all_closed).await;
    }

    /// Waits until no request is in flight and `is_busy` is false, but at most [`FINISH_MAX`].
    pub(crate) async fn finish(&self, is_busy: impl Fn() -> bool) {
        let all_done = async {
            while self.state().under_way > 0 || is_busy() {
                let _ = tokio::time::timeout(LOOK_EVERY, self.changed.notified()).await;
            }
        };
        let _ = tokio::time::timeout(FINISH_MAX, all_done).await;
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a IdleTimer);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.connections = state.connections.saturating_sub(1));
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a IdleTimer);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            state.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_idle_when_nothing_has_been_under_way_for_long_enough() {
        let idle_timer = IdleTimer::new();
        let began = Instant::now();
        let request = idle_timer.begin();
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(10 * minute, idle_timer.idle_for(minute, || false)).await.is_err());
        drop(request);
        let ended = Instant::now();
        idle_timer.idle_for(minute, || false).await;
        assert!(ended - began >= 10 * minute && Instant::now() - ended >= minute);
        assert!(tokio::time::timeout(minute, idle_timer.idle_for(minute, || true)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn finishing_waits_for_requests_but_not_for_ever() {
        let idle_timer = IdleTimer::new();
        let began = Instant::now();
        idle_timer.finish(|| false).await;
        assert_eq!(Instant::now(), began);
        let _never_ends = idle_timer.begin();
        idle_timer.finish(|| false).await;
        assert!(Instant::now() - began >= FINISH_MAX);
    }
}
