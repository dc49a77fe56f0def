//! Who asks over the socket that everybody may use, and how much: so many connections at a time, and so many operations
//! a second, for each uid. Nobody can keep others from asking, or fill the log of decisions with refusals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::identity::Uid;

/// Connections of one uid at a time: an instance, and some commands.
pub(super) const CONNECTIONS_EACH_MAX: u32 = 32;

/// Operations of one uid at once. A command takes two or three.
const BURST: u32 = 100;

/// The time after which one more is allowed.
const PACE: Duration = Duration::from_millis(50);

/// Uids remembered. Beyond it those are forgotten who have asked for nothing of late; there are as many others as there
/// are connections at most.
const REMEMBERED_MAX: usize = 10_000;

/// What each uid has open and has asked. Bounded by [`REMEMBERED_MAX`] and the number of connections.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<HashMap<Uid, Usage>>);

#[derive(Debug)]
struct Usage {
    connections: u32,
    /// When all that was asked is paid for, one [`PACE`] each.
    paid_at: Instant,
}

impl Callers {
    /// Counts a connection in; `None` if the uid has too many, or asks too much.
    pub(super) fn enter(callers: &Arc<Self>, uid: Uid, now: Instant) -> Option<Caller> {
        let mut usages = callers.lock();
        if usages.len() >= REMEMBERED_MAX {
            usages.retain(|_, usage| usage.connections > 0 || usage.paid_at > now);
        }
        let usage = usages.entry(uid).or_insert(Usage { connections: 0, paid_at: now });
        if usage.connections >= CONNECTIONS_EACH_MAX || !usage.pays(now) {
            return None;
        }
        usage.connections = usage.connections.saturating_add(1);
        drop(usages);
        Some(Caller { callers: Arc::clone(callers), uid })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn pays(&mut self, now: Instant) -> bool {
        let paid_at = self.paid_at.max(now) + PACE;
        let is_in_time = paid_at <= now + PACE * BURST;
        if is_in_time {
            self.paid_at = paid_at;
        }
        is_in_time
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Caller {
    callers: Arc<Callers>,
    uid: Uid,
}

impl Caller {
    /// Whether it may ask for one more operation at this moment.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.callers.lock().get_mut(&self.uid).is_some_and(|usage| usage.pays(now))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(usage) = self.callers.lock().get_mut(&self.uid) {
            usage.connections = usage.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        let (callers, now) = (Arc::new(Callers::default()), Instant::now());
        let caller = Callers::enter(&callers, Uid(7), now).unwrap();
        let asked = (0..1000).filter(|_| caller.may_ask(now)).count();
        assert_eq!(asked, 99, "the connection itself is one");
        drop(caller);
        assert!(Callers::enter(&callers, Uid(7), now).is_none(), "coming back pays for nothing");
        let caller = Callers::enter(&callers, Uid(7), now + PACE).unwrap();
        assert!(!caller.may_ask(now + PACE));
        assert!(caller.may_ask(now + PACE * 2));
        assert!(Callers::enter(&callers, Uid(8), now).is_some());
    }

    #[test]
    fn those_who_ask_for_nothing_are_forgotten() {
        let (callers, now) = (Arc::new(Callers::default()), Instant::now());
        let held = Callers::enter(&callers, Uid(0), now).unwrap();
        for uid in 1..=20_000 {
            Callers::enter(&callers, Uid(uid), now + PACE * uid).unwrap();
        }
        assert!(callers.lock().len() <= REMEMBERED_MAX);
        assert!(callers.lock().contains_key(&Uid(0)));
        drop(held);
    }
}
