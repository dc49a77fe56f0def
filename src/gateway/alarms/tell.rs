//! Logs the alarms of the gateway and tells the server, which runs the site's command.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Alarms;
use crate::state::Gateway;
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::FromGateway;

/// Interval of looks at the counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often one alarm is logged and told, at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The count of each alarm that was told, and when.
#[derive(Debug, Default)]
pub(crate) struct Told([(u64, Option<Instant>); Alarm::ALL.len()]);

impl Told {
    /// The alarms that are due, each with how often it was raised since it was last told.
    pub(crate) fn due(&mut self, alarms: &Alarms, now: Instant) -> Vec<(Alarm, u64)> {
        let mut due = Vec::new();
        for ((alarm, count), (told, when)) in alarms.counts().zip(&mut self.0) {
            let is_resting = when.is_some_and(|when| now.duration_since(when) < TELL_EVERY);
            if count > *told && !is_resting {
                due.push((alarm, count.saturating_sub(*told)));
                (*told, *when) = (count, Some(now));
            }
        }
        due
    }
}

/// Logs alarms and tells the server, until the control channel ends.
pub(crate) async fn tell(gateway: Arc<Gateway>, say: mpsc::Sender<FromGateway>) {
    let mut told = Told::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        for (alarm, count) in told.due(&gateway.alarms, Instant::now()) {
            tracing::error!(alarm = alarm.word(), count, "ALARM: {}", alarm.says());
            if say.send(FromGateway::Alarm { alarm, count }).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_an_alarm_is_told_at_once_and_then_once_a_minute() {
        let (alarms, mut told, now) = (Alarms::default(), Told::default(), Instant::now());
        assert!(told.due(&alarms, now).is_empty());
        alarms.raise(Alarm::Flood);
        assert_eq!(told.due(&alarms, now), [(Alarm::Flood, 1)]);
        for _ in 0..1_000 {
            alarms.raise(Alarm::Flood);
        }
        alarms.raise(Alarm::DiskFull);
        assert_eq!(told.due(&alarms, now + Duration::from_secs(59)), [(Alarm::DiskFull, 1)]);
        assert_eq!(told.due(&alarms, now + Duration::from_secs(60)), [(Alarm::Flood, 1_000)]);
        assert!(told.due(&alarms, now + Duration::from_secs(600)).is_empty());
    }
}
