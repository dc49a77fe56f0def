//! The list of all families: name, labels, unit and meaning, for the text format and for
//! docs/watching.md. A test compares the tables there with this list.

/// How a family's values are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Values of one name, which differ in their labels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// What is counted or measured.
    pub unit: &'static str,
    pub help: &'static str,
}

/// The family of that name.
pub fn of(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $unit:literal: $help:literal;)*) => {
        $(pub const $constant: Family = Family {
            name: concat!("countersign_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            unit: $unit,
            help: $help,
        };)*

        /// All families, in the order in which they are written.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = Gauge "build_info" ["version"] "1":
        "Always 1; the label is the version of the program.";

    GATEWAY_STARTED = Gauge "gateway_start_time_seconds" [] "seconds since 1970":
        "When this gateway started.";
    GATEWAY_DECISIONS = Counter "gateway_decisions_total" ["lane", "decision", "class", "reason"] "decisions":
        "Decisions on requests and on messages of WebSockets. Class and reason are empty unless it was refused or failed.";
    GATEWAY_ANSWERS = Counter "gateway_answers_total" ["lane", "status"] "answers":
        "Answers of instances and of the server to recorded requests, by the first digit of their status.";
    GATEWAY_REQUEST = Histogram "gateway_request_seconds" [] "seconds":
        "From a complete head to the head of its answer, whatever the answer was.";
    GATEWAY_VERIFICATION = Histogram "gateway_verification_seconds" [] "seconds":
        "Verification of a user's intent, with the look-up of the key.";
    GATEWAY_UPSTREAM = Histogram "gateway_upstream_seconds" [] "seconds":
        "From a forwarded request to the head of the answer of the instance or the server.";
    GATEWAY_IN_FLIGHT = Gauge "gateway_requests_in_flight" [] "requests":
        "Requests whose answer has not begun.";
    GATEWAY_CONNECTIONS = Gauge "gateway_connections" ["of"] "connections":
        "Open connections: of Core, of users, and of clients that have shown neither token nor signature.";
    GATEWAY_CONNECTIONS_MAX = Gauge "gateway_connections_max" [] "connections":
        "gateway.connections_max.";
    GATEWAY_SOCKETS = Gauge "gateway_sockets" [] "WebSockets":
        "Open WebSockets of users.";
    GATEWAY_WEB_SESSIONS = Gauge "gateway_web_sessions" [] "sessions":
        "Open sessions of jobs' web interfaces.";
    GATEWAY_REPLAY = Gauge "gateway_replay_entries" [] "intents":
        "Used intents that the replay log remembers.";
    GATEWAY_REPLAY_MAX = Gauge "gateway_replay_entries_max" [] "intents":
        "How many it can remember; beyond that, requests are refused.";
    GATEWAY_CERTIFICATE_ENDS = Gauge "gateway_certificate_end_seconds" [] "seconds since 1970":
        "When the certificate in use expires. Absent without TLS.";
    GATEWAY_READY = Gauge "gateway_ready" ["check"] "0 or 1":
        "The checks of /readyz, which all have to be 1.";
    GATEWAY_MAINTENANCE = Gauge "gateway_maintenance" [] "0 or 1":
        "Whether maintenance.enabled is in force.";
    GATEWAY_AUDIT_SHORT = Gauge "gateway_audit_short_of_space" [] "0 or 1":
        "1 while the space that is left is reserved for records of admitted requests.";
    GATEWAY_AUDIT_UNWRITTEN = Counter "gateway_audit_unwritten_total" [] "records":
        "Records that could not be written. Nothing was forwarded for them.";
    GATEWAY_SERVER_LINK = Gauge "gateway_server_answers" [] "0 or 1":
        "Whether the server answered for this scrape. Without its answer there are no metrics of the server.";

    SERVER_STARTED = Gauge "server_start_time_seconds" [] "seconds since 1970":
        "When the server started.";
    SERVER_ALARMS = Counter "server_alarms_total" ["process", "alarm"] "alarms":
        "Alarms, by the process that raised them. A gateway's may be a minute late.";
    SERVER_USERS = Gauge "server_users" [] "users":
        "Connected users, those of expired connections included.";
    SERVER_INSTANCES = Gauge "server_instances" ["phase"] "instances":
        "Instances of users, by phase.";
    SERVER_INSTANCE_LAUNCHES = Counter "server_instance_launches_total" [] "instances":
        "Instances that were launched.";
    SERVER_INSTANCE_FAILURES = Counter "server_instance_failures_total" [] "instances":
        "Instances that ended with an error.";
    SERVER_CALLERS = Gauge "server_callers" [] "connections":
        "Connections of instances and commands to the server's public socket.";
    SERVER_CALLERS_MAX = Gauge "server_callers_max" [] "connections":
        "How many connections the public socket takes: one for each instance, and some for commands.";
    SERVER_OUTBOX = Gauge "server_outbox_entries" [] "entries":
        "Connections and disconnections of which UCloud has not been told.";
    SERVER_OUTBOX_WAITING = Gauge "server_outbox_waiting_seconds" [] "seconds":
        "How long the outbox has not been empty, seen from this start of the server.";
    SERVER_CORE_FAILURES = Counter "server_core_failures_total" [] "calls":
        "Entries of the outbox of which UCloud could not be told; they are tried again.";
    SERVER_TASKS = Gauge "server_tasks" [] "tasks":
        "Long operations on files that UCloud shows as tasks.";
    SERVER_JOBS = Gauge "server_jobs" [] "jobs":
        "Jobs on record: they run or wait, or UCloud has not been told of their end.";
    SERVER_PENDING_APPLICATIONS = Gauge "server_pending_applications" [] "applications":
        "Applications that wait for a review by an administrator.";
    SERVER_SLURM_POLL = Histogram "server_slurm_poll_seconds" [] "seconds":
        "One look at all jobs in Slurm, successful or not.";
    SERVER_SLURM_POLL_FAILURES = Counter "server_slurm_poll_failures_total" [] "polls":
        "Looks to which Slurm did not answer.";
    SERVER_STORE_BYTES = Gauge "server_store_bytes" [] "bytes":
        "Size of the key store on disk.";
    SERVER_STORE_CHANGES = Gauge "server_store_changes" [] "changes":
        "The number of changes that the seal of the key store counts. It never falls.";
    SERVER_AUDIT_BACKLOG = Gauge "server_audit_backlog_records" ["log"] "records":
        "Records of an audit log that were read and that no checkpoint covers yet.";
    SERVER_AUDIT_SIGNED = Gauge "server_audit_signed_seconds" ["log"] "seconds since 1970":
        "When an audit log was last read and found signed to its end.";
    SERVER_AUDIT_FAILURES = Counter "server_audit_signing_failures_total" ["log"] "attempts":
        "Attempts to sign an audit log that failed and are repeated.";
    SERVER_AUDIT_SHORT = Gauge "server_audit_short_of_space" [] "0 or 1":
        "As countersign_gateway_audit_short_of_space, for the server's log.";
    SERVER_STATE_FREE = Gauge "server_state_free_bytes" [] "bytes":
        "Free space on the file system of state.directory.";
    SERVER_GATEWAY_STARTS = Counter "server_gateway_starts_total" [] "starts":
        "Gateways that the server has started or served. More than one is a crash or a restart of the gateway.";
    SERVER_MEMORY = Gauge "server_process_resident_memory_bytes" ["process"] "bytes":
        "Resident memory of server and gateway, shared pages included.";
    SERVER_OPEN_FILES = Gauge "server_process_open_files" [] "descriptors":
        "Open descriptors of the server. Those of the gateway are its connections, their upstreams and some tens.";
    SERVER_OPEN_FILES_MAX = Gauge "server_process_open_files_max" [] "descriptors":
        "The server's limit of descriptors.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn w01_names_are_those_that_prometheus_expects() {
        let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "a name twice");
        for family in FAMILIES {
            let name = family.name;
            let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_name(name) && family.labels.iter().all(|label| is_name(label)), "{name}");
            assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(family.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(family.help.ends_with('.') && !family.unit.is_empty(), "{name}");
            // The words of labels stand in the program; these could only come from outside.
            for named in ["user", "username", "uid", "kid", "key", "path", "address", "id", "job", "host"] {
                assert!(!family.labels.contains(&named), "{name}");
            }
        }
    }
}
