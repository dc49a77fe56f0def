//! Alarms of the gateway: counted where they are raised, logged and told to the server a little
//! later. A flood of them costs an addition each.

pub(crate) mod tell;

use countersign_ipc::alarm::Alarm;
use countersign_metrics::Counter;

#[derive(Debug, Default)]
pub(crate) struct Alarms([Counter; Alarm::ALL.len()]);

impl Alarms {
    pub(crate) fn raise(&self, alarm: Alarm) {
        if let Some(counter) = self.0.get(alarm.index()) {
            counter.add_one();
        }
    }

    /// How often each was raised.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Alarm, u64)> {
        Alarm::ALL.iter().copied().zip(self.0.iter().map(Counter::count))
    }
}
