//! Receives the files of one upload: lists them, admits a few at a time, writes and names them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use countersign_keys::intent::Consent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::target::Target;
use super::wire::{ListedFile, ProtocolError, Replies};
use crate::drives::table::Drives;
use crate::files::error::FilesError;
use crate::files::incoming::{Incoming, is_there};
use crate::files::operations::Location;
use crate::files::path::{Name, UcloudPath};
use crate::files::request::ConflictPolicy;

/// Most open files of one upload, as in UCloud's own module.
const OPEN_MAX: usize = 64;
/// Open files that each upload may have, whatever the others have. A file holds three descriptors,
/// and a process has some 1024 of them.
const OPEN_MIN: usize = 8;
/// Most files that are given their names at once: each waits for the disk.
const PLACING_MAX: usize = 8;
/// Most listed files that wait for admission, and the most text of their paths, in bytes. UCloud's
/// page lists a folder step by step.
const WAITING_MAX: usize = 100_000;
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Deepest level beneath the folder at which a file may be: the same as for a copy.
const DEPTH_MAX: usize = 100;
/// Later modification times are invalid: the year 10000, in milliseconds since 1970.
const MODIFIED_MS_MAX: u64 = 253_402_300_800_000;

/// Why an upload failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The user already has the maximum number of uploads.
    #[error("too many of your uploads are under way already")]
    Uploads,
    /// The client listed more files than may wait.
    #[error("too many files were listed at once")]
    TooMany,
    /// The client listed a second file in an upload of a single one.
    #[error("one file was to be sent")]
    NotOne,
    /// The drive or the system failed.
    #[error(transparent)]
    Whole(#[from] FilesError),
    /// One file failed.
    #[error("{trouble}: {path}")]
    File { path: String, trouble: FilesError },
}

impl Failure {
    pub(super) fn of(path: &str, trouble: FilesError) -> Self {
        Self::File { path: path.to_owned(), trouble }
    }

    /// The close code of the socket.
    pub(super) const fn code(&self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::Protocol,
            Self::Uploads => CloseCode::Again,
            Self::TooMany => CloseCode::Size,
            Self::NotOne => CloseCode::Policy,
            Self::Whole(_) | Self::File { .. } => CloseCode::Error,
        }
    }
}

/// A file that is arriving.
#[derive(Debug)]
struct IncomingFile {
    incoming: Incoming,
    listed: ListedFile,
    lease: OwnedSemaphorePermit,
}

/// The decision about a listed file.
enum Admitted {
    /// The file is there already, or its name is taken and may not be replaced.
    Skip,
    Begin(Box<Incoming>),
}

/// A file that got its name or failed to: its path, its id and the outcome.
#[derive(Debug)]
pub(super) struct Placed(String, Option<i32>, Result<(), FilesError>);

#[derive(Debug)]
pub(super) struct Receiver {
    place: Location,
    is_folder: bool,
    policy: ConflictPolicy,
    /// Open files reserved for this upload, and those that all uploads share.
    room: [Arc<Semaphore>; 2],
    /// All files that are not done.
    known: HashSet<i32>,
    waiting: VecDeque<ListedFile>,
    waiting_bytes: usize,
    arriving: HashMap<i32, IncomingFile>,
    placing: JoinSet<(ListedFile, Result<(), FilesError>)>,
    replies: Replies,
    listed: usize,
    done: i32,
    reported: i32,
}

impl Receiver {
    pub(super) async fn open(
        drives: Arc<Drives>,
        target: Target,
        policy: ConflictPolicy,
        consent: Consent,
        shared: Arc<Semaphore>,
    ) -> Result<Self, Failure> {
        let (path, is_folder) = match target {
            Target::File(path) => (path, false),
            Target::Folder(path) => (path, true),
        };
        let open = move || drives.open_for_change(&path, consent);
        let place = spawn_blocking(open).await.unwrap_or(Err(FilesError::CutShort))?;
        Ok(Self {
            place,
            is_folder,
            policy,
            room: [Arc::new(Semaphore::new(OPEN_MIN)), shared],
            known: HashSet::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            arriving: HashMap::new(),
            placing: JoinSet::new(),
            replies: Replies::default(),
            listed: 0,
            done: 0,
            reported: 0,
        })
    }

    pub(super) const fn done(&self) -> i32 {
        self.done
    }

    /// Whether any listed file is not done.
    pub(super) fn is_waiting(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether there is a message for the client.
    pub(super) fn has_news(&self) -> bool {
        !self.replies.is_empty() || self.reported != self.done
    }

    /// The messages for the client.
    pub(super) fn news(&mut self) -> Bytes {
        if self.reported != self.done {
            self.reported = self.done;
            self.replies.completed(self.done);
        }
        self.replies.take()
    }

    /// Records a file that the client has.
    pub(super) fn list(&mut self, listed: ListedFile) -> Result<(), Failure> {
        self.listed = self.listed.saturating_add(1);
        if !self.is_folder && self.listed > 1 {
            return Err(Failure::NotOne);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(listed.path.len());
        if self.waiting.len() >= WAITING_MAX || self.waiting_bytes > WAITING_BYTES_MAX {
            return Err(Failure::TooMany);
        }
        if !self.known.insert(listed.id) {
            return Err(ProtocolError::Twice.into());
        }
        self.waiting.push_back(listed);
        Ok(())
    }

    /// Admits as many files as there is room for.
    pub(super) async fn admit(&mut self) -> Result<(), Failure> {
        loop {
            let next = self.next();
            if next.is_empty() {
                return Ok(());
            }
            let (place, policy, is_folder) = (self.place.clone(), self.policy, self.is_folder);
            let admitting = spawn_blocking(move || {
                let admit = |(listed, lease): (ListedFile, OwnedSemaphorePermit)| {
                    let admitted = admit(&place, is_folder, policy, &listed);
                    let admitted = admitted.map_err(|trouble| Failure::of(&listed.path, trouble))?;
                    Ok::<_, Failure>((listed, lease, admitted))
                };
                next.into_iter().map(admit).collect::<Result<Vec<_>, _>>()
            });
            let admitted = admitting.await.unwrap_or_else(|_| Err(FilesError::CutShort.into()))?;
            for (listed, lease, admitted) in admitted {
                match admitted {
                    Admitted::Skip => {
                        self.replies.skip(listed.id);
                        self.finished(listed.id);
                    }
                    Admitted::Begin(incoming) => {
                        self.replies.ok(listed.id);
                        self.arriving.insert(listed.id, IncomingFile { incoming: *incoming, listed, lease });
                    }
                }
            }
        }
    }

    /// The next files that there is room for.
    fn next(&mut self) -> Vec<(ListedFile, OwnedSemaphorePermit)> {
        let mut next = Vec::new();
        let open = self.arriving.len().saturating_add(self.placing.len());
        while open.saturating_add(next.len()) < OPEN_MAX {
            let [own, shared] = &self.room;
            let lease = Arc::clone(own).try_acquire_owned().or_else(|_| Arc::clone(shared).try_acquire_owned());
            let Ok(lease) = lease else { break };
            let Some(listed) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(listed.path.len());
            if self.known.contains(&listed.id) {
                next.push((listed, lease));
            }
        }
        next
    }

    /// Writes the next bytes of a file. Bytes of a skipped file may still arrive and are ignored.
    pub(super) async fn write(&mut self, id: i32, bytes: Bytes) -> Result<(), Failure> {
        let Some(mut file) = self.arriving.remove(&id) else { return Ok(()) };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if file.incoming.written().saturating_add(length) > file.listed.size {
            return Err(ProtocolError::TooLong.into());
        }
        let (file, outcome) = spawn_blocking(move || {
            let outcome = file.incoming.write_at(file.incoming.written(), &bytes);
            (file, outcome)
        })
        .await
        .map_err(|_| Failure::from(FilesError::CutShort))?;
        outcome.map_err(|trouble| Failure::of(&file.listed.path, trouble))?;
        if file.incoming.written() < file.listed.size {
            self.arriving.insert(id, file);
            return Ok(());
        }
        while self.placing.len() >= PLACING_MAX {
            let placed = self.next_placed().await;
            self.settle(placed).await?;
        }
        self.placing.spawn_blocking(move || {
            let modified = modified(file.listed.modified_ms);
            let outcome = file.incoming.commit(modified).map(drop);
            drop(file.lease);
            (file.listed, outcome)
        });
        Ok(())
    }

    /// Drops a file that the client does not send. If it waits for admission, admission passes over
    /// it.
    pub(super) fn skip(&mut self, id: i32) {
        self.arriving.remove(&id);
        self.finished(id);
    }

    /// Waits until a file gets its name or fails to. Waits for ever if no file is being placed.
    /// Cancel-safe.
    pub(super) async fn next_placed(&mut self) -> Placed {
        match self.placing.join_next().await {
            Some(Ok(placed)) => Placed(placed.0.path, Some(placed.0.id), placed.1),
            Some(Err(_)) => Placed(String::new(), None, Err(FilesError::CutShort)),
            None => std::future::pending().await,
        }
    }

    /// Records the outcome, and admits others.
    pub(super) async fn settle(&mut self, placed: Placed) -> Result<(), Failure> {
        let Placed(path, id, outcome) = placed;
        match (outcome, id) {
            (Ok(()), Some(id)) => self.finished(id),
            // Another process created the file meanwhile, and it must not be replaced.
            (Err(FilesError::Exists), Some(id)) if self.is_folder => {
                self.replies.skip(id);
                self.finished(id);
            }
            (Ok(()), None) => {}
            (Err(trouble), _) => return Err(Failure::of(&path, trouble)),
        }
        self.admit().await
    }

    /// Waits until all complete files have their names.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.waiting.clear();
        while !self.placing.is_empty() {
            let placed = self.next_placed().await;
            self.settle(placed).await?;
        }
        Ok(())
    }

    fn finished(&mut self, id: i32) {
        if self.known.remove(&id) {
            self.done = self.done.saturating_add(1);
        }
    }
}

/// Starts a file unless it is there already.
fn admit(
    place: &Location,
    is_folder: bool,
    policy: ConflictPolicy,
    listed: &ListedFile,
) -> Result<Admitted, FilesError> {
    let place =
        if is_folder { Location { path: beneath(&place.path, &listed.path)?, ..place.clone() } } else { place.clone() };
    if is_there(&place, listed.size, listed.modified_ms)? {
        return Ok(Admitted::Skip);
    }
    let begun =
        if is_folder { Incoming::begin_in_new_folders(&place, policy) } else { Incoming::begin(&place, policy) };
    match begun {
        Ok(incoming) => Ok(Admitted::Begin(Box::new(incoming))),
        // With `Reject`, the new files of a folder are still wanted.
        Err(FilesError::Exists) if is_folder && policy == ConflictPolicy::Reject => Ok(Admitted::Skip),
        Err(trouble) => Err(trouble),
    }
}

/// The path of a listed file. Refuses an empty name, and one that leads upwards or to the root.
fn beneath(folder: &UcloudPath, path: &str) -> Result<UcloudPath, FilesError> {
    let names = path.split('/').map(Name::parse).collect::<Result<Vec<_>, _>>()?;
    if names.len() > DEPTH_MAX {
        return Err(FilesError::TooDeep);
    }
    Ok(names.into_iter().fold(folder.clone(), |path, name| path.child(name)))
}

fn modified(milliseconds: i64) -> Option<SystemTime> {
    let milliseconds = u64::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds < MODIFIED_MS_MAX)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}
