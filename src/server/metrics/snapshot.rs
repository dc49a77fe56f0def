//! One snapshot of all metrics of the server.

use countersign_metrics::{Snapshot, family};

use crate::instances::phase::Phase;
use crate::state::Server;

/// The names of the audit logs, in the order of [`super::ServerMetrics::logs`].
const LOGS: [&str; 2] = ["gateway", "server"];

impl Server {
    /// Everything, without waiting.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (metrics, mut snapshot) = (&self.metrics, Snapshot::default());
        snapshot.put(&family::SERVER_STARTED, metrics.started.level());
        let counts = self.instances.counts();
        for phase in [Phase::Launched, Phase::Ready, Phase::Stopping] {
            let count = counts.phases.iter().filter(|other| **other == phase).count();
            snapshot.put_with(&family::SERVER_INSTANCES, &[phase.word()], count);
        }
        snapshot.put(&family::SERVER_INSTANCE_LAUNCHES, counts.launched);
        snapshot.put(&family::SERVER_INSTANCE_FAILURES, counts.failed);
        snapshot.put(&family::SERVER_CALLERS, metrics.callers.level());
        snapshot.put(&family::SERVER_CALLERS_MAX, crate::http::endpoints::CALLERS_MAX);
        snapshot.put(&family::SERVER_CORE_FAILURES, metrics.core_failures.count());
        snapshot.put(&family::SERVER_TASKS, self.tasks.lock().len());
        snapshot.put(&family::SERVER_JOBS, self.jobs.lock().len());
        snapshot.put(&family::SERVER_PENDING_APPLICATIONS, self.pending_applications.count());
        if self.config.slurm.is_some() {
            snapshot.put_histogram(&family::SERVER_SLURM_POLL, &[], &metrics.slurm_polls);
            snapshot.put(&family::SERVER_SLURM_POLL_FAILURES, metrics.slurm_poll_failures.count());
        }
        for (log, name) in metrics.logs.iter().zip(LOGS) {
            snapshot.put_with(&family::SERVER_AUDIT_BACKLOG, &[name], log.backlog.level());
            snapshot.put_with(&family::SERVER_AUDIT_SIGNED, &[name], log.signed.level());
            snapshot.put_with(&family::SERVER_AUDIT_FAILURES, &[name], log.failures.count());
        }
        snapshot.put(&family::SERVER_AUDIT_SHORT, self.decisions.is_short_of_space());
        snapshot.put(&family::SERVER_GATEWAY_STARTS, metrics.gateway_starts.count());
        for (process_and_alarm, count) in self.alarms.counts() {
            snapshot.put_with(&family::SERVER_ALARMS, &process_and_alarm, count);
        }
        metrics.gauges.put(&mut snapshot);
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::look::look;
    use crate::test_server::TestServer;
    use countersign_ipc::gateway_protocol::{Answer, FromServer, LINE_MAX};
    use countersign_metrics::{FAMILIES, Sample};

    fn names(samples: &[Sample]) -> Vec<&str> {
        samples.iter().map(|sample| sample.name.as_ref()).collect()
    }

    #[tokio::test]
    async fn w01_a_snapshot_has_every_family_of_the_server_and_fits_a_line() {
        let test = TestServer::new("[slurm]\ndrive = \"home\"\n[[drives]]\nid = \"home\"\npath = \"~\"\n");
        test.server.metrics.gateway_began(i32::try_from(std::process::id()).unwrap());
        look(&test.server).await;
        let snapshot = test.server.snapshot();
        let found = names(snapshot.samples());
        for family in FAMILIES.iter().filter(|family| family.name.starts_with("countersign_server_")) {
            assert!(found.contains(&family.name), "{}", family.name);
        }
        for sample in snapshot.samples() {
            assert!(FAMILIES.iter().any(|family| sample.is_of(family)), "{sample:?}");
        }
        let line = FromServer::Answer { id: u64::MAX, answer: Answer::Metrics { snapshot } };
        assert!(serde_json::to_vec(&line).unwrap().len() < LINE_MAX / 2);
    }

    #[tokio::test]
    async fn w01_users_and_what_ucloud_was_not_told_are_counted() {
        let count = |test: &TestServer, name: &str| {
            let snapshot = test.server.snapshot();
            let sample = snapshot.samples().iter().find(|sample| sample.name == name).unwrap();
            sample.value.clone()
        };
        let number = countersign_metrics::Value::Number;
        let (empty, test) = (TestServer::new(""), TestServer::new(""));
        let _browser = test.connected().await;
        for (test, want) in [(&empty, 0.0), (&test, 1.0)] {
            look(&test.server).await;
            assert_eq!(count(test, "countersign_server_users"), number(want));
            assert_eq!(count(test, "countersign_server_outbox_entries"), number(want));
        }
    }
}
