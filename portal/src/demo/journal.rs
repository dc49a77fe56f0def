//! A log of decisions, read as the provider's operator would: the gateway's, or an instance's own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// How long a line may take to appear after the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// A file of JSON lines, of which some are decisions.
pub(crate) struct Journal {
    file: PathBuf,
}

/// A place in the journal: what comes after it has happened since.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize);

/// A decision against a request.
pub(crate) struct Refusal {
    /// Who refused: `gateway`, `user`.
    pub(crate) process: String,
    /// Why, in the log's words.
    pub(crate) reason: String,
}

impl Journal {
    /// The one in this file.
    pub(crate) fn of(file: PathBuf) -> Self {
        Self { file }
    }

    /// Its present end.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lines().len())
    }

    /// The refusal written since `mark`: of this request if its id is known, or else the last one.
    pub(crate) async fn refusal_since(&self, mark: Mark, request_id: &str) -> Option<Refusal> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(refusal) = self.find(mark, request_id) {
                    return refusal;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        found.await.ok()
    }

    fn find(&self, mark: Mark, request_id: &str) -> Option<Refusal> {
        let of_request = |decision: &Value| {
            request_id.is_empty() || decision.get("requestId").and_then(Value::as_str) == Some(request_id)
        };
        self.lines()
            .iter()
            .skip(mark.0)
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|decision| decision.get("decision").and_then(Value::as_str) == Some("refuse"))
            .rfind(of_request)
            .map(|decision| {
                let text = |name: &str| decision.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                Refusal { process: text("process"), reason: text("reason") }
            })
    }

    fn lines(&self) -> Vec<String> {
        // Not there yet, or not readable: no lines.
        fs::read_to_string(&self.file).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
