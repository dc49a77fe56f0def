//! Alarms: counted, logged in one form, and handed to a program of the site.
//!
//! Logs each as `ALARM: …` with the field `alarm`. [`command`] runs the program.

pub(crate) mod command;
mod pending;

use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::Username;
use countersign_metrics::Counter;
use tokio::sync::Notify;

use self::pending::{Pending, Process, Raised};
use countersign_ipc::alarm::Alarm;

/// The alarms of this server and of its gateway.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    counts: [[Counter; Alarm::ALL.len()]; Process::ALL.len()],
    /// What the program has not been told. Locked for one look or change, never across an await.
    pending: Mutex<Pending>,
    raised: Notify,
}

impl Alarms {
    /// Raises an alarm of the server.
    pub(crate) fn raise(&self, alarm: Alarm, username: Option<&Username>) {
        log(alarm, username);
        self.take_up(Raised::new(alarm, Process::Server, 1, username));
    }

    /// Takes up alarms that the gateway has logged.
    pub(crate) fn heard(&self, alarm: Alarm, count: u64) {
        self.take_up(Raised::new(alarm, Process::Gateway, count, None));
    }

    fn take_up(&self, raised: Raised) {
        let [server, gateway] = &self.counts;
        let of_process = match raised.process {
            Process::Server => server,
            Process::Gateway => gateway,
        };
        if let Some(counter) = of_process.get(raised.alarm.index()) {
            counter.add(raised.count);
        }
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).add(raised);
        self.raised.notify_one();
    }

    /// How often each process raised each alarm: the words of both, and the number.
    pub(crate) fn counts(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        Process::ALL.iter().zip(&self.counts).flat_map(|(process, counters)| {
            let counts = Alarm::ALL.iter().zip(counters);
            counts.map(|(alarm, counter)| ([process.word(), alarm.word()], counter.count()))
        })
    }

    /// How often the server raised that alarm.
    #[cfg(test)]
    pub(crate) fn raised(&self, alarm: Alarm) -> u64 {
        self.counts().find(|(words, _)| *words == ["server", alarm.word()]).map_or(0, |(_, count)| count)
    }
}

fn log(alarm: Alarm, username: Option<&Username>) {
    tracing::error!(alarm = alarm.word(), username = username.map(Username::as_str), "ALARM: {}", alarm.says());
}
