//! A user's calls about a job that exists: as the user signs them, and as Core sends them. Core
//! adds the whole job, of which nothing is signed but its number.

use serde_json::{Value, json};

use crate::signer::Projection;

/// A call about one job, by Core's number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobDeed {
    /// Ends it.
    Terminate(String),
    /// Adds minutes to its time.
    Extend(String, i64),
    /// Suspends it.
    Suspend(String),
    /// Resumes it.
    Unsuspend(String),
    /// Opens a session of a kind (`SHELL`, `WEB`, `VNC`) on a node, counted from 0.
    Session(String, i64, String),
    /// Gives it a file while it runs.
    Attach(String, String),
}

impl JobDeed {
    /// The number of the job.
    #[must_use]
    pub fn number(&self) -> &str {
        match self {
            Self::Terminate(number)
            | Self::Extend(number, _)
            | Self::Suspend(number)
            | Self::Unsuspend(number)
            | Self::Session(number, ..)
            | Self::Attach(number, _) => number,
        }
    }

    /// The name of the call that the user signs.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match self {
            Self::Terminate(_) => "jobs.terminate",
            Self::Extend(..) => "jobs.extend",
            Self::Suspend(_) => "jobs.suspend",
            Self::Unsuspend(_) => "jobs.unsuspend",
            Self::Session(..) => "jobs.openInteractiveSession",
            Self::Attach(..) => "jobs.attachResource",
        }
    }

    /// The path after `/ucloud/{provider}/`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Terminate(_) => "jobs/terminate",
            Self::Extend(..) => "jobs/extend",
            Self::Suspend(_) => "jobs/suspend",
            Self::Unsuspend(_) => "jobs/unsuspend",
            Self::Session(..) => "jobs/interactiveSession",
            Self::Attach(..) => "jobs/attachResource",
        }
    }

    /// The bound parameters, as the user's browser signs them.
    #[must_use]
    pub fn projection(&self) -> Projection {
        match self {
            Self::Terminate(number) | Self::Suspend(number) | Self::Unsuspend(number) => {
                Projection::new([("id", json!(number))])
            }
            Self::Extend(number, minutes) => {
                Projection::new([("jobId", json!(number)), ("requestedTime", json!({"minutes": minutes}))])
            }
            Self::Session(number, rank, kind) => Projection::new([
                ("id", json!(number)),
                ("rank", json!(rank)),
                ("sessionType", json!(kind)),
                ("target", Value::Null),
            ]),
            Self::Attach(number, path) => {
                Projection::new([("jobId", json!(number)), ("resource", json!({"type": "file", "path": path}))])
            }
        }
    }

    /// The body of the Go Core's request.
    #[must_use]
    pub fn body(&self, username: &str) -> Value {
        let job = json!({
            "id": self.number(), "createdAt": 1_700_000_000_000_i64,
            "owner": {"createdBy": username, "project": null}, "permissions": null, "updates": [],
            "specification": {"name": "job"}, "status": {"state": "RUNNING"}, "output": {"outputFolder": null},
        });
        match self {
            Self::Terminate(_) => json!({"items": [job]}),
            Self::Extend(_, minutes) => {
                let time = json!({"hours": 0, "minutes": minutes, "seconds": 0});
                json!({"items": [{"job": job, "requestedTime": time}]})
            }
            Self::Suspend(_) | Self::Unsuspend(_) => json!({"items": [{"job": job}]}),
            Self::Session(_, rank, kind) => {
                json!({"items": [{"job": job, "rank": rank, "sessionType": kind, "target": null}]})
            }
            Self::Attach(_, path) => json!({"job": job, "resource": {"type": "file", "path": path, "readOnly": false}}),
        }
    }
}
