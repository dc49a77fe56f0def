//! Searches for names beneath a folder, or in all drives. Sends results while the walk continues.
//!
//! The walk never follows a link. It holds one open folder a level, whatever a drive contains. It
//! runs on a separate thread, in a separate queue, and stops at once when the client stops waiting
//! for results. A client that takes results slowly slows the walk down.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout_at;

use super::files::entry::ProviderFile;
use super::files::error::FilesError;
use super::files::path::{NAME_BYTES_MAX, UcloudPath};
use super::files::resolve::{Folder, Kind, Mounts, Names};
use crate::drives::table::Drives;

/// Most walks at once: they compete for the same disk.
const WALKS_MAX: usize = 2;
/// Most searches that walk or wait.
const SEARCHES_MAX: usize = 16;
/// Most results of a message, and how long the first of them waits for others. UCloud's own module
/// does the same.
const BATCH_MAX: usize = 100;
const BATCH_AFTER: Duration = Duration::from_millis(100);
/// Most results of a search: more than a user reads.
const RESULTS_MAX: usize = 10_000;
/// Most levels of folders. Each holds two descriptors.
const DEPTH_MAX: usize = 64;
/// How long a walk may take. To search more than fits in this time, the user names a folder.
const TIME_MAX: Duration = Duration::from_secs(120);

/// The most that a search may cost.
#[derive(Debug, Clone, Copy)]
struct Limits {
    results: usize,
    depth: usize,
    time: Duration,
}

/// The searches of one user. Clones share their queue.
#[derive(Debug, Clone)]
pub(crate) struct Searches {
    drives: Arc<Drives>,
    walking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    limits: Limits,
}

/// The results of a search as they are found. Dropping it ends the search.
#[derive(Debug)]
pub(crate) struct SearchResults {
    results: mpsc::Receiver<ProviderFile>,
    _cancel: CancelOnDrop,
}

#[derive(Debug)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Searches {
    pub(crate) fn of(drives: Arc<Drives>) -> Self {
        Self {
            drives,
            walking: Arc::new(Semaphore::new(WALKS_MAX)),
            waiting: Arc::new(Semaphore::new(SEARCHES_MAX)),
            limits: Limits { results: RESULTS_MAX, depth: DEPTH_MAX, time: TIME_MAX },
        }
    }

    /// Begins a search for names that contain the query, regardless of case. Searches beneath a
    /// folder, or in all drives if no folder is given.
    ///
    /// # Errors
    /// If the query is empty or too long, the folder cannot be opened, or too many searches run or
    /// wait.
    pub(crate) async fn begin(&self, query: &str, folder: Option<&str>) -> Result<SearchResults, FilesError> {
        let query = query.trim().to_lowercase();
        if query.is_empty() || query.len() > NAME_BYTES_MAX {
            return Err(FilesError::Query);
        }
        self.drives.numbers().learn_of(folder.into_iter()).await;
        let starts = match folder {
            Some(folder) => vec![self.drives.parse(folder)?],
            None => self.drives.all(),
        };
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| FilesError::Busy)?;
        let turn = Arc::clone(&self.walking).acquire_owned().await.map_err(|_| FilesError::CutShort)?;
        let (drives, is_named) = (Arc::clone(&self.drives), folder.is_some());
        let opening = tokio::task::spawn_blocking(move || open_all(&drives, starts, is_named));
        let starts = opening.await.map_err(|_| FilesError::CutShort)??;

        let (sender, results) = mpsc::channel(BATCH_MAX);
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancel = CancelOnDrop(Arc::clone(&cancelled));
        let end = Instant::now() + self.limits.time;
        let mut walk = Walk { query, sender, cancelled, end, limits: self.limits };
        tokio::task::spawn_blocking(move || {
            for (path, folder) in starts {
                if walk.walk(path, folder).is_none() {
                    break;
                }
            }
            drop((turn, waiting));
        });
        Ok(SearchResults { results, _cancel: cancel })
    }
}

impl SearchResults {
    /// The next results, at least one. `None` when the search has ended.
    pub(crate) async fn next(&mut self) -> Option<Vec<ProviderFile>> {
        let mut batch = vec![self.results.recv().await?];
        let end = tokio::time::Instant::now() + BATCH_AFTER;
        while batch.len() < BATCH_MAX {
            match timeout_at(end, self.results.recv()).await {
                Ok(Some(result)) => batch.push(result),
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }
}

/// Opens the folders where the search begins. A missing drive is an error only if the user named
/// it.
fn open_all(
    drives: &Drives,
    starts: Vec<UcloudPath>,
    is_named: bool,
) -> Result<Vec<(UcloudPath, Arc<Folder>)>, FilesError> {
    let open = |path: UcloudPath| {
        let place = drives.open(&path)?;
        let folder = place.root.folder(path.inside(), OFlag::O_RDONLY)?;
        Ok((path, folder))
    };
    let opened = starts.into_iter().map(open);
    if is_named { opened.collect() } else { Ok(opened.flatten().collect()) }
}

struct Walk {
    query: String,
    sender: mpsc::Sender<ProviderFile>,
    cancelled: Arc<AtomicBool>,
    end: Instant,
    limits: Limits,
}

struct Level {
    path: UcloudPath,
    folder: Arc<Folder>,
    names: Names,
}

impl Level {
    fn open(path: UcloudPath, folder: Arc<Folder>) -> Result<Self, Errno> {
        let names = folder.names()?;
        Ok(Self { path, folder, names })
    }
}

impl Walk {
    /// Searches a folder and everything beneath it. Returns `None` once the whole search has to
    /// end.
    fn walk(&mut self, path: UcloudPath, folder: Arc<Folder>) -> Option<()> {
        let mut levels = Vec::new();
        levels.extend(Level::open(path, folder));
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { return Some(()) };
            if self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.end {
                return None;
            }
            let Some(Ok(name)) = level.names.next() else {
                levels.pop();
                continue;
            };
            // Skips entries that have vanished or cannot be examined.
            let Ok(Some(stat)) = level.folder.look(&name) else { continue };
            let path = level.path.child(name.clone());
            if name.text().to_lowercase().contains(&self.query) {
                self.limits.results = self.limits.results.checked_sub(1)?;
                self.sender.blocking_send(ProviderFile::describe(&path, &stat)).ok()?;
            }
            if Kind::of(&stat) == Kind::Folder && depth < self.limits.depth {
                let inner = level.folder.enter(name.as_bytes(), OFlag::O_RDONLY, Mounts::Enter);
                let inner = inner.ok().and_then(Result::ok).map(Arc::new);
                levels.extend(inner.and_then(|inner| Level::open(path, inner).ok()));
            }
        }
    }
}
