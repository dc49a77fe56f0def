//! Limits for each uid on the public IPC socket: open connections, and operations per second.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use countersign_keys::identity::Uid;

use countersign_os::limits::{Counted, InFlight, Rate, RateLimiter};

/// Connections of all uids; each instance holds one.
const CONNECTIONS_MAX: usize = 4_096;

/// Connections of one uid: an instance, and some commands.
pub(crate) const CONNECTIONS_EACH_MAX: usize = 32;

/// Operations of one uid. A command takes two or three.
const OPERATIONS: Rate = Rate::new(100, 20);

/// Uids for which the rate is tracked.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The open connections and the rate of each uid.
#[derive(Debug)]
pub(crate) struct Callers {
    connections: Arc<Counted<Uid>>,
    operations: RateLimiter<Uid>,
}

impl Default for Callers {
    fn default() -> Self {
        Self {
            connections: Counted::new(CONNECTIONS_MAX, CONNECTIONS_EACH_MAX),
            operations: RateLimiter::new(OPERATIONS, REMEMBERED_MAX),
        }
    }
}

impl Callers {
    /// Counts a connection, at the cost of one operation; `None` if the uid has too many. On a
    /// connection beyond the rate, every operation is refused.
    pub(crate) fn enter(callers: &Arc<Self>, uid: Uid, now: Instant) -> Option<Caller> {
        let connection = callers.connections.begin(&uid)?;
        let is_admitted = callers.operations.admits(uid, now);
        Some(Caller { callers: Arc::clone(callers), uid, is_admitted, _connection: connection })
    }
}

/// A connection, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    callers: Arc<Callers>,
    uid: Uid,
    is_admitted: bool,
    _connection: InFlight<Uid>,
}

impl Caller {
    /// Whether the rate allows one more operation now.
    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.is_admitted && self.callers.operations.admits(self.uid, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_uid_cannot_take_every_place() {
        let (callers, now) = (Arc::new(Callers::default()), Instant::now());
        let enter = |uid| Callers::enter(&callers, Uid(uid), now);
        let mut inside: Vec<_> = (0..CONNECTIONS_EACH_MAX).map(|_| enter(7).unwrap()).collect();
        assert!(enter(7).is_none());
        let _other = enter(8).unwrap();
        inside.pop();
        inside.push(enter(7).unwrap());
    }

    #[test]
    fn one_uid_cannot_ask_without_end() {
        const PACE: Duration = Duration::from_millis(50);
        let (callers, now) = (Arc::new(Callers::default()), Instant::now());
        let caller = Callers::enter(&callers, Uid(7), now).unwrap();
        let asked = (0..1000).filter(|_| caller.may_ask(now)).count();
        assert_eq!(asked, 99, "the connection itself is one");
        drop(caller);
        let turned_away = Callers::enter(&callers, Uid(7), now).unwrap();
        assert!(
            !turned_away.may_ask(now + PACE * 9),
            "coming back pays for nothing, and that connection stays refused"
        );
        let caller = Callers::enter(&callers, Uid(7), now + PACE).unwrap();
        assert!(!caller.may_ask(now + PACE));
        assert!(caller.may_ask(now + PACE * 2));
        assert!(Callers::enter(&callers, Uid(8), now).is_some());
    }
}
