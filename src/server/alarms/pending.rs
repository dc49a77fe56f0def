//! The alarms that `alarms.command` has not been told, and when it may be run for each.
//!
//! Alarms of one kind are one entry with their number. So a flood of one kind costs one run a
//! minute, and displaces no other kind.

use std::collections::VecDeque;
use std::time::Duration;

use countersign_keys::identity::Username;
use serde::Serialize;
use tokio::time::Instant;

use crate::metrics::seconds_now;
use countersign_ipc::alarm::Alarm;

/// How often one alarm runs the command, at most.
const RUN_EVERY: Duration = Duration::from_secs(60);

/// The process that raised an alarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Process {
    Server,
    Gateway,
}

impl Process {
    pub(super) const ALL: [Self; 2] = [Self::Server, Self::Gateway];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Gateway => "gateway",
        }
    }
}

/// One alarm, or several of the same kind and process.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Raised {
    pub(super) alarm: Alarm,
    says: &'static str,
    pub(super) process: Process,
    pub(super) count: u64,
    /// In seconds since 1970.
    first: u64,
    last: u64,
    /// The latest user concerned, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Username>,
}

impl Raised {
    pub(super) fn new(alarm: Alarm, process: Process, count: u64, username: Option<&Username>) -> Self {
        let now = seconds_now();
        Self { alarm, says: alarm.says(), process, count, first: now, last: now, username: username.cloned() }
    }
}

/// Bounded: one entry for each alarm and process.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<Raised>,
    ran: [Option<Instant>; Alarm::ALL.len()],
}

impl Pending {
    pub(super) fn add(&mut self, raised: Raised) {
        let is_same = |other: &&mut Raised| other.alarm == raised.alarm && other.process == raised.process;
        match self.waiting.iter_mut().find(is_same) {
            Some(waiting) => {
                waiting.count = waiting.count.saturating_add(raised.count);
                waiting.last = raised.last;
                waiting.username = raised.username.or(waiting.username.take());
            }
            None => self.waiting.push_back(raised),
        }
    }

    /// When the command may be run next, if an alarm waits.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.waiting.iter().map(|raised| self.may_run_at(raised.alarm, now)).min()
    }

    fn may_run_at(&self, alarm: Alarm, now: Instant) -> Instant {
        self.ran.get(alarm.index()).copied().flatten().map_or(now, |ran| ran + RUN_EVERY)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<Raised> {
        let at = self.waiting.iter().position(|raised| self.may_run_at(raised.alarm, now) <= now)?;
        let due = self.waiting.remove(at)?;
        if let Some(ran) = self.ran.get_mut(due.alarm.index()) {
            *ran = Some(now);
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_one_alarm_is_due_once_a_minute_and_the_rest_is_counted() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let raised = |alarm, count| Raised::new(alarm, Process::Gateway, count, None);
        pending.add(raised(Alarm::Flood, 1));
        assert_eq!(pending.take_due(now).unwrap().count, 1);
        for _ in 0..1_000 {
            pending.add(raised(Alarm::Flood, 3));
        }
        pending.add(raised(Alarm::DiskFull, 1));
        assert_eq!(pending.waiting.len(), 2);
        assert_eq!(pending.take_due(now).unwrap().alarm, Alarm::DiskFull, "another alarm does not wait");
        assert_eq!(pending.take_due(now + Duration::from_secs(59)), None);
        assert_eq!(pending.next(now), Some(now + RUN_EVERY));
        assert_eq!(pending.take_due(now + RUN_EVERY).unwrap().count, 3_000);
        assert_eq!(pending.next(now), None);
    }
}
