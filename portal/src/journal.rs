//! A log of decisions, read as the provider's operator would: the gateway's, or an instance's own.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
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

    /// Every decision there is.
    pub(crate) fn decisions(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Reads on from the beginning, as decisions are made.
    pub(crate) fn follow(&self) -> Follower {
        Follower { file: self.file.clone(), read: 0, half: Vec::new() }
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

/// A reader of a journal that grows.
pub(crate) struct Follower {
    file: PathBuf,
    /// Bytes read so far.
    read: u64,
    /// A line whose end has not been written yet.
    half: Vec<u8>,
}

impl Follower {
    /// The decisions written since the last call.
    pub(crate) fn news(&mut self) -> Vec<Value> {
        // Not there yet, or not readable: no news.
        let Ok(mut file) = File::open(&self.file) else { return Vec::new() };
        let mut bytes = std::mem::take(&mut self.half);
        let was = bytes.len();
        let read = file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut bytes));
        if read.is_err() {
            bytes.truncate(was);
        }
        self.read = self.read.saturating_add(u64::try_from(bytes.len().saturating_sub(was)).unwrap_or(0));
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
        self.half = bytes.split_off(whole);
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
