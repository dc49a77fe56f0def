//! A log of decisions, of the gateway or of an instance, read as the operator reads it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// How long a line may take to appear after the response.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(20);

/// JSON lines, some of them decisions, in one file or in the numbered files of a directory.
pub(crate) struct Journal {
    place: PathBuf,
}

/// A position in the journal.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize);

/// A record of a refused request.
pub(crate) struct Refusal {
    /// The process that refused: `gateway` or `user`.
    pub(crate) process: String,
    /// The reason, as the log has it.
    pub(crate) reason: String,
}

impl Journal {
    /// The journal in this file or directory.
    pub(crate) fn of(place: PathBuf) -> Self {
        Self { place }
    }

    /// The current end.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lines().len())
    }

    /// The refusal after `mark`: of the request `request_id` if it is known, otherwise the latest.
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

    /// Every record.
    pub(crate) fn decisions(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// A reader from the beginning that returns new records as they appear.
    pub(crate) fn follow(&self) -> Follower {
        Follower { place: self.place.clone(), file: 0, read: 0, half: Vec::new() }
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
        // A file that does not exist or cannot be read has no lines.
        let texts = files(&self.place).into_iter().map(|file| fs::read_to_string(file).unwrap_or_default());
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// The files, oldest first.
fn files(place: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match fs::read_dir(place) {
        Ok(entries) => entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect(),
        Err(_) => vec![place.to_owned()],
    };
    files.sort();
    files
}

/// A reader of a growing journal.
pub(crate) struct Follower {
    place: PathBuf,
    /// The index of the current file.
    file: usize,
    /// The bytes read of the current file.
    read: u64,
    /// A line without its end so far.
    half: Vec<u8>,
}

impl Follower {
    /// The records written since the last call.
    pub(crate) fn news(&mut self) -> Vec<Value> {
        let files = files(&self.place);
        let mut news = Vec::new();
        while let Some(file) = files.get(self.file) {
            news.append(&mut self.read_on(file));
            if self.file.saturating_add(1) == files.len() {
                break;
            }
            // The writer does not append to a file that has a successor.
            self.file = self.file.saturating_add(1);
            self.read = 0;
        }
        news
    }

    fn read_on(&mut self, file: &Path) -> Vec<Value> {
        // A file that does not exist or cannot be read has no new records.
        let Ok(mut file) = File::open(file) else { return Vec::new() };
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
