//! Serves UCloud's files API on the user's drives, as the user.
//!
//! The kernel decides what is allowed: the process runs as the user, and [`resolve`] keeps every
//! path beneath its drive. All authority comes from bound parameters; what Core adds to a request
//! never reaches this module.
//!
//! Copies, emptying the trash and moves between file systems may take long. They have a separate
//! queue, so that they never delay a browse. After at most [`INSTANCE_MAX`] the request is answered
//! while the work continues, because Core gives up after 5 s. UCloud then shows the work as a task,
//! which the user can pause or cancel (see [`crate::tasks`]). Failed or cancelled work is
//! undone.

mod browse;
mod bulk;
mod copy;
pub(crate) mod entry;
pub(crate) mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod identity;
pub(crate) mod incoming;
pub(crate) mod leftovers;
pub(crate) mod operations;
pub(crate) mod outgoing;
pub(crate) mod path;
pub(crate) mod progress;
pub(crate) mod protected;
mod relocate;
mod remove;
mod rename;
pub(crate) mod request;
pub(crate) mod resolve;
pub(crate) mod startup;
#[cfg(test)]
pub(crate) mod tests;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_keys::identity::Username;
use countersign_keys::intent::Consent;

use nix::fcntl::OFlag;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};

use browse::{Listing, Page};
use bulk::{Bulk, Queue, Stop};
use entry::ProviderFile;
use error::{FilesError, RequestError};
use incoming::Incoming;
use outgoing::Outgoing;
use path::UcloudPath;
use progress::Progress;
use relocate::CrossDevice;
use request::{Browse, ConflictPolicy, FilesRequest, Retrieve};

use crate::drives::ids::DriveNumbers;
use crate::drives::table::Drives;
use crate::tasks::{self, Tasks};
use countersign_ipc::within::INSTANCE_MAX;

/// Most quick works at once. They mostly wait for the disk, and each may hold a thread.
const QUICK_MAX: usize = 16;
/// Most long works at once: two saturate most disks, and each holds hundreds of descriptors.
const LONG_MAX: usize = 2;
/// Most changes that run or wait; more are refused.
const UNDER_WAY_MAX: usize = 64;

/// The answer of a files call, ready to be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Page(Page),
    File(ProviderFile),
    /// To every change: `{}` for each item, in their order.
    Bulk {
        responses: Vec<Done>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Done {}

/// The files of one user. Clones share their queues.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    drives: Arc<Drives>,
    queues: Queues,
    answer_after: Duration,
    tasks: Arc<Tasks>,
    /// The user to whom long work is reported, if any.
    asker: Option<Username>,
    /// Whether a person was asked about the change.
    consent: Consent,
}

#[derive(Debug, Clone)]
struct Queues {
    quick: Arc<Semaphore>,
    long: Arc<Semaphore>,
    under_way: Arc<Semaphore>,
}

impl Files {
    pub(crate) fn new(drives: Drives) -> Self {
        let queues = Queues {
            quick: Arc::new(Semaphore::new(QUICK_MAX)),
            long: Arc::new(Semaphore::new(LONG_MAX)),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        };
        Self {
            drives: Arc::new(drives),
            queues,
            answer_after: INSTANCE_MAX,
            tasks: Arc::default(),
            asker: None,
            consent: Consent::Unasked,
        }
    }

    /// The same, reporting long work to the server at that socket.
    pub(crate) fn reporting_to(self, socket: PathBuf) -> Self {
        Self { tasks: Arc::new(Tasks::reporting_to(socket)), ..self }
    }

    /// The same, on behalf of that user.
    pub(crate) fn asked_by(&self, username: &Username) -> Self {
        Self { asker: Some(username.clone()), ..self.clone() }
    }

    /// The same, with what the intent says about the user's consent.
    pub(crate) fn approved(&self, consent: Consent) -> Self {
        Self { consent, ..self.clone() }
    }

    /// The same, answering within that time.
    pub(crate) fn answering_within(&self, within: Duration) -> Self {
        Self { answer_after: self.answer_after.min(within), ..self.clone() }
    }

    /// Work that continues after its request was answered.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) const fn drives(&self) -> &Arc<Drives> {
        &self.drives
    }

    /// Opens a folder for a terminal.
    pub(crate) async fn open_folder(&self, id: &str) -> Result<OwnedFd, RequestError> {
        let error = |trouble| RequestError::single(id, trouble);
        let path = self.drives.parse(id).map_err(error)?;
        let open =
            |place: &operations::Location| Ok(place.root.folder(place.path.inside(), OFlag::O_PATH)?.descriptor()?);
        self.look(path, open).await.map_err(error)
    }

    /// Removes what a killed instance left of its copies, in the long queue.
    pub(crate) async fn clean_up(&self) {
        let drives = Arc::clone(&self.drives);
        if let Err(trouble) = in_queue(&self.queues.long, move || drives.clean_up()).await {
            tracing::warn!(%trouble, "cannot look for unfinished copies");
        }
    }

    pub(crate) fn drive_numbers(&self) -> &DriveNumbers {
        self.drives.numbers()
    }

    /// How many changes are in progress, answered or not. An instance with any is not idle.
    pub(crate) fn under_way(&self) -> usize {
        UNDER_WAY_MAX.saturating_sub(self.queues.under_way.available_permits()).max(self.tasks.open())
    }

    /// Does the request. A change that has begun continues even if its caller is gone.
    pub(crate) async fn perform(&self, request: FilesRequest) -> Result<Answer, RequestError> {
        let (drives, consent) = (&self.drives, self.consent);
        match request {
            FilesRequest::Browse(browse) => self.browse(browse).await,
            FilesRequest::Retrieve(retrieve) => self.retrieve(retrieve).await,
            FilesRequest::CreateFolder(items) => self.change(Bulk::create_folder(drives, &items, consent)?).await,
            FilesRequest::Move(items) => self.change(Bulk::moving(drives, &items, consent)?).await,
            FilesRequest::Copy(items) => self.change(Bulk::copying(drives, &items, consent)?).await,
            FilesRequest::Trash(items) => self.change(Bulk::trashing(drives, &items)?).await,
            FilesRequest::EmptyTrash(items) => self.change(Bulk::emptying(drives, &items)?).await,
        }
    }

    async fn browse(&self, browse: Browse) -> Result<Answer, RequestError> {
        let error = |trouble| RequestError::single(&browse.path, trouble);
        let listing = Listing::parse(&browse).map_err(error)?;
        let path = self.drives.parse(&browse.path).map_err(error)?;
        // A little before the answer is due, so that it can give the reason.
        let end = Instant::now() + self.answer_after.saturating_sub(self.answer_after / 8);
        let page = self.look_in_time(path, move |place| listing.read(&place.root, &place.path, end)).await;
        page.map(Answer::Page).map_err(error)
    }

    async fn retrieve(&self, retrieve: Retrieve) -> Result<Answer, RequestError> {
        let error = |trouble| RequestError::single(&retrieve.id, trouble);
        let path = self.drives.parse(&retrieve.id).map_err(error)?;
        let file = self.look_in_time(path, |place| browse::retrieve(&place.root, &place.path)).await;
        file.map(Answer::File).map_err(error)
    }

    /// As [`Self::look`], with a time limit. Work that has begun continues, and frees its place in
    /// the queue when the file system answers.
    async fn look_in_time<T: Send + 'static>(
        &self,
        path: UcloudPath,
        look: impl FnOnce(&operations::Location) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let looked = tokio::time::timeout(self.answer_after, self.look(path, look)).await;
        looked.map_err(|_elapsed| FilesError::Slow)?
    }

    /// Reads something in the quick queue.
    async fn look<T: Send + 'static>(
        &self,
        path: UcloudPath,
        look: impl FnOnce(&operations::Location) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let drives = Arc::clone(&self.drives);
        in_queue(&self.queues.quick, move || look(&drives.open(&path)?)).await?
    }

    /// Opens a file for a download.
    pub(crate) async fn outgoing(&self, id: &str) -> Result<Outgoing, RequestError> {
        let error = |trouble| RequestError::single(id, trouble);
        let path = self.drives.parse(id).map_err(error)?;
        self.look(path, Outgoing::open).await.map_err(error)
    }

    /// Checks in advance, as far as possible, whether a file or folder could be put at a place.
    pub(crate) async fn can_come(&self, id: &str, policy: &str) -> Result<(), RequestError> {
        let error = |trouble| RequestError::single(id, trouble);
        let policy = ConflictPolicy::parse(policy).map_err(error)?;
        let path = self.drives.parse(id).map_err(error)?;
        let (drives, consent) = (Arc::clone(&self.drives), self.consent);
        let look = move || match drives.open_for_change(&path, consent)?.slot()?.look_if_any()? {
            Some(_) if policy == ConflictPolicy::Reject => Err(FilesError::Exists),
            Some(_) | None => Ok(()),
        };
        in_queue(&self.queues.quick, look).await.and_then(|looked| looked).map_err(error)
    }

    /// Makes a folder that must be new, and the missing ones above it. Returns where it is on this
    /// machine.
    pub(crate) async fn make_new_folder(&self, id: &str) -> Result<PathBuf, FilesError> {
        let path = self.drives.parse(id)?;
        let (drives, consent) = (Arc::clone(&self.drives), self.consent);
        let make = move || {
            let place = drives.open_for_change(&path, consent)?;
            operations::create_folder(&place, ConflictPolicy::Reject)?;
            Ok(place.root.folder(place.path.inside(), OFlag::O_PATH)?.local_path()?)
        };
        in_queue(&self.queues.quick, make).await?
    }

    /// Begins a file that a client uploads.
    pub(crate) async fn incoming(&self, id: &str, policy: &str) -> Result<Incoming, RequestError> {
        let error = |trouble| RequestError::single(id, trouble);
        let policy = ConflictPolicy::parse(policy).map_err(error)?;
        let path = self.drives.parse(id).map_err(error)?;
        let (drives, consent) = (Arc::clone(&self.drives), self.consent);
        let begin = move || Incoming::begin(&drives.open_for_change(&path, consent)?, policy);
        in_queue(&self.queues.quick, begin).await.and_then(|begun| begun).map_err(error)
    }

    async fn change(&self, bulk: Bulk) -> Result<Answer, RequestError> {
        let busy = |_| RequestError::whole(FilesError::Busy);
        let under_way = Arc::clone(&self.queues.under_way).try_acquire_owned().map_err(busy)?;
        let responses = vec![Done {}; bulk.len()];
        let (answer, outcome) = oneshot::channel();
        let (queues, bulk, progress) = (self.queues.clone(), Arc::new(bulk), Arc::new(Progress::default()));
        let (work, measured) = (Arc::clone(&bulk), Arc::clone(&progress));
        tokio::spawn(async move {
            let outcome = queues.run(work, measured).await;
            drop(under_way);
            // The receiver may be gone.
            let _ = answer.send(outcome);
        });
        let mut outcome = outcome;
        match tokio::time::timeout(self.answer_after, &mut outcome).await {
            Ok(Ok(outcome)) => outcome.map(|()| Answer::Bulk { responses }),
            Ok(Err(_)) => Err(RequestError::whole(FilesError::CutShort)),
            Err(_) => {
                self.watch(bulk, progress, outcome);
                Ok(Answer::Bulk { responses })
            }
        }
    }
}

impl Files {
    /// Follows work whose request was answered, and reports its outcome.
    fn watch(&self, bulk: Arc<Bulk>, progress: Arc<Progress>, outcome: tasks::Outcome) {
        let (tasks, asker) = (Arc::clone(&self.tasks), self.asker.clone());
        let (measured, counting) = (Arc::clone(&bulk), Arc::clone(&progress));
        let measure = move || counting.measured(measured.measure());
        tokio::spawn(async move {
            match asker {
                Some(username) => {
                    tokio::task::spawn_blocking(measure);
                    tasks.follow(username, bulk.title(), progress, outcome).await;
                }
                None => {
                    if let Ok(Err(error)) = outcome.await {
                        tracing::warn!(%error, "files work failed after it was answered");
                    }
                }
            }
        });
    }
}

impl Queues {
    /// Does the items in the bulk's queue. Items that turn out to cross file systems continue in
    /// the long queue.
    async fn run(&self, bulk: Arc<Bulk>, progress: Arc<Progress>) -> Result<(), RequestError> {
        let (queue, crossing) = match bulk.queue() {
            Queue::Quick => (&self.quick, CrossDevice::Refuse),
            Queue::Long => (&self.long, CrossDevice::Copy),
        };
        let mut outcome = run_in(queue, &bulk, 0, crossing, &progress).await;
        if crossing == CrossDevice::Refuse
            && let Err(Stop { item, trouble: FilesError::OtherDevice }) = outcome
        {
            outcome = run_in(&self.long, &bulk, item, CrossDevice::Copy, &progress).await;
        }
        outcome.map_err(|stop| bulk.error(stop))
    }
}

/// Does the items from `start` on when the queue has room. The work gives up its place in the queue
/// while it is paused.
async fn run_in(
    queue: &Arc<Semaphore>,
    bulk: &Arc<Bulk>,
    start: usize,
    crossing: CrossDevice,
    progress: &Arc<Progress>,
) -> Result<(), Stop> {
    let cut_short = |_| Stop { item: start, trouble: FilesError::CutShort };
    let Ok(permit) = Arc::clone(queue).acquire_owned().await else {
        return Err(Stop { item: start, trouble: FilesError::CutShort });
    };
    progress.take_place(Arc::clone(queue), permit);
    let (bulk, working) = (Arc::clone(bulk), Arc::clone(progress));
    let work = tokio::task::spawn_blocking(move || bulk.run(start, crossing, &working));
    let outcome = work.await.map_err(cut_short);
    progress.leave();
    outcome?
}

/// Runs work on a blocking thread when the queue has room.
async fn in_queue<T: Send + 'static>(
    queue: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FilesError> {
    let permit = Arc::clone(queue).acquire_owned().await.map_err(|_| FilesError::CutShort)?;
    let work = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(permit);
        outcome
    });
    work.await.map_err(|_| FilesError::CutShort)
}
