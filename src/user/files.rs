//! The user's files: UCloud's files API on the drives of the configuration, done as the user.
//!
//! What may be done is what the user may do, and beneath the drives only: the kernel resolves every
//! path (see [`beneath`]). All authority comes from bound parameters; what Core adds to a request
//! never gets here.
//!
//! Copies, emptying the trash and moves between file systems may take long. They have a lane of
//! their own, so that they never keep a browse waiting; and after [`INSTANCE_MAX`], or less, the
//! request is answered while they go on, because Core gives up after 5 s. Whoever asked then sees
//! it at UCloud as a task, and may have it rest or stop (see [`crate::user::tasks`]); if it fails,
//! or is stopped, what it began is undone.

pub(crate) mod beneath;
mod browse;
mod bulk;
pub(crate) mod change;
pub(crate) mod drives;
pub(crate) mod entry;
pub(crate) mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod headway;
pub(crate) mod identity;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod path;
pub(crate) mod protected;
mod relocate;
mod remove;
mod rename;
pub(crate) mod request;
mod stage;
pub(crate) mod startup;
#[cfg(test)]
mod tests;
pub(crate) mod unfinished;

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
use bulk::{Bulk, Pace, Stop};
use drives::Drives;
use entry::ProviderFile;
use error::{FilesError, Trouble};
use headway::Headway;
use incoming::Incoming;
use outgoing::Outgoing;
use path::UcloudPath;
use relocate::Crossing;
use request::{Browse, ConflictPolicy, FilesRequest, Retrieve};

use crate::ipc::within::INSTANCE_MAX;
use crate::user::drive_numbers::DriveNumbers;
use crate::user::tasks::{self, Tasks};

/// How many quick works run at once. They mostly wait for the disk, and each may hold a thread.
const QUICK_MAX: usize = 16;
/// How many long works run at once: two saturate most disks, and each holds hundreds of
/// descriptors.
const LONG_MAX: usize = 2;
/// How many changes may be under way or waiting; more are refused.
const UNDER_WAY_MAX: usize = 64;

/// What a files call answers with, ready to be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// To a browse.
    Page(Page),
    /// To a retrieve.
    File(ProviderFile),
    /// To all that changes something: `{}` an item, in their order.
    Bulk {
        /// As many as there were items.
        responses: Vec<Done>,
    },
}

/// `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Done {}

/// The files of one user. Clones share their lanes.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    drives: Arc<Drives>,
    lanes: Lanes,
    answer_after: Duration,
    tasks: Arc<Tasks>,
    /// Who asks, if anybody is told of what takes long.
    asker: Option<Username>,
    /// Whether a person was asked about what is done.
    consent: Consent,
}

#[derive(Debug, Clone)]
struct Lanes {
    quick: Arc<Semaphore>,
    long: Arc<Semaphore>,
    under_way: Arc<Semaphore>,
}

impl Files {
    /// Serves these drives.
    pub(crate) fn new(drives: Drives) -> Self {
        let lanes = Lanes {
            quick: Arc::new(Semaphore::new(QUICK_MAX)),
            long: Arc::new(Semaphore::new(LONG_MAX)),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        };
        Self {
            drives: Arc::new(drives),
            lanes,
            answer_after: INSTANCE_MAX,
            tasks: Arc::default(),
            asker: None,
            consent: Consent::Unasked,
        }
    }

    /// The same, with what takes long told to the server at that socket.
    pub(crate) fn told_at(self, socket: PathBuf) -> Self {
        Self { tasks: Arc::new(Tasks::told_at(socket)), ..self }
    }

    /// The same, as that user asks.
    pub(crate) fn asked_by(&self, username: &Username) -> Self {
        Self { asker: Some(username.clone()), ..self.clone() }
    }

    /// The same, for what the user approved or was not asked about, as the intent says.
    pub(crate) fn approved(&self, consent: Consent) -> Self {
        Self { consent, ..self.clone() }
    }

    /// The same, answering within that time.
    pub(crate) fn answering_within(&self, within: Duration) -> Self {
        Self { answer_after: self.answer_after.min(within), ..self.clone() }
    }

    /// What goes on after its request was answered.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The drives.
    pub(crate) const fn drives(&self) -> &Arc<Drives> {
        &self.drives
    }

    /// Opens a folder that somebody is to work in.
    pub(crate) async fn open_folder(&self, id: &str) -> Result<OwnedFd, FilesError> {
        let error = |trouble| FilesError::single(id, trouble);
        let path = self.drives.parse(id).map_err(error)?;
        let open = |place: &change::Place| Ok(place.root.folder(place.path.inside(), OFlag::O_PATH)?.descriptor()?);
        self.look(path, open).await.map_err(error)
    }

    /// Removes what a killed instance left of its copies, in the lane of what takes long.
    pub(crate) async fn clean_up(&self) {
        let drives = Arc::clone(&self.drives);
        if let Err(trouble) = in_lane(&self.lanes.long, move || drives.clean_up()).await {
            tracing::warn!(%trouble, "what was left of unfinished copies has not been looked for");
        }
    }

    /// UCloud's numbers of the drives.
    pub(crate) fn drive_numbers(&self) -> &DriveNumbers {
        self.drives.numbers()
    }

    /// How many changes are under way, answered or not. An instance with any is not idle.
    pub(crate) fn under_way(&self) -> usize {
        UNDER_WAY_MAX.saturating_sub(self.lanes.under_way.available_permits()).max(self.tasks.open())
    }

    /// Does what is asked. A change, once begun, goes on even if nobody waits for its answer any
    /// more.
    pub(crate) async fn perform(&self, request: FilesRequest) -> Result<Answer, FilesError> {
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

    async fn browse(&self, browse: Browse) -> Result<Answer, FilesError> {
        let error = |trouble| FilesError::single(&browse.path, trouble);
        let listing = Listing::parse(&browse).map_err(error)?;
        let path = self.drives.parse(&browse.path).map_err(error)?;
        // A little before the answer is due, so that it can say why.
        let end = Instant::now() + self.answer_after.saturating_sub(self.answer_after / 8);
        let page = self.look_in_time(path, move |place| listing.read(&place.root, &place.path, end)).await;
        page.map(Answer::Page).map_err(error)
    }

    async fn retrieve(&self, retrieve: Retrieve) -> Result<Answer, FilesError> {
        let error = |trouble| FilesError::single(&retrieve.id, trouble);
        let path = self.drives.parse(&retrieve.id).map_err(error)?;
        let file = self.look_in_time(path, |place| browse::retrieve(&place.root, &place.path)).await;
        file.map(Answer::File).map_err(error)
    }

    /// The same, for an answer that nobody waits for when its time is over. What has begun goes on,
    /// and gives its place back when the file system lets go of it.
    async fn look_in_time<T: Send + 'static>(
        &self,
        path: UcloudPath,
        look: impl FnOnce(&change::Place) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let looked = tokio::time::timeout(self.answer_after, self.look(path, look)).await;
        looked.map_err(|_elapsed| Trouble::Slow)?
    }

    /// Looks at something in the quick lane.
    async fn look<T: Send + 'static>(
        &self,
        path: UcloudPath,
        look: impl FnOnce(&change::Place) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let drives = Arc::clone(&self.drives);
        in_lane(&self.lanes.quick, move || look(&drives.open(&path)?)).await?
    }

    /// Opens a file to be sent.
    pub(crate) async fn outgoing(&self, id: &str) -> Result<Outgoing, FilesError> {
        let error = |trouble| FilesError::single(id, trouble);
        let path = self.drives.parse(id).map_err(error)?;
        self.look(path, Outgoing::open).await.map_err(error)
    }

    /// Whether a file or folder could come to a place, as far as that can be told before it does.
    pub(crate) async fn can_come(&self, id: &str, policy: &str) -> Result<(), FilesError> {
        let error = |trouble| FilesError::single(id, trouble);
        let policy = ConflictPolicy::parse(policy).map_err(error)?;
        let path = self.drives.parse(id).map_err(error)?;
        let (drives, consent) = (Arc::clone(&self.drives), self.consent);
        let look = move || match drives.open_for_change(&path, consent)?.slot()?.look_if_any()? {
            Some(_) if policy == ConflictPolicy::Reject => Err(Trouble::Exists),
            Some(_) | None => Ok(()),
        };
        in_lane(&self.lanes.quick, look).await.and_then(|looked| looked).map_err(error)
    }

    /// Begins a file that is to come.
    pub(crate) async fn incoming(&self, id: &str, policy: &str) -> Result<Incoming, FilesError> {
        let error = |trouble| FilesError::single(id, trouble);
        let policy = ConflictPolicy::parse(policy).map_err(error)?;
        let path = self.drives.parse(id).map_err(error)?;
        let (drives, consent) = (Arc::clone(&self.drives), self.consent);
        let begin = move || Incoming::begin(&drives.open_for_change(&path, consent)?, policy);
        in_lane(&self.lanes.quick, begin).await.and_then(|begun| begun).map_err(error)
    }

    async fn change(&self, bulk: Bulk) -> Result<Answer, FilesError> {
        let busy = |_| FilesError::whole(Trouble::Busy);
        let under_way = Arc::clone(&self.lanes.under_way).try_acquire_owned().map_err(busy)?;
        let responses = vec![Done {}; bulk.len()];
        let (answer, outcome) = oneshot::channel();
        let (lanes, bulk, headway) = (self.lanes.clone(), Arc::new(bulk), Arc::new(Headway::default()));
        let (work, progress) = (Arc::clone(&bulk), Arc::clone(&headway));
        tokio::spawn(async move {
            let outcome = lanes.run(work, progress).await;
            drop(under_way);
            // Whoever watches it may be gone.
            let _ = answer.send(outcome);
        });
        let mut outcome = outcome;
        match tokio::time::timeout(self.answer_after, &mut outcome).await {
            Ok(Ok(outcome)) => outcome.map(|()| Answer::Bulk { responses }),
            Ok(Err(_)) => Err(FilesError::whole(Trouble::CutShort)),
            Err(_) => {
                self.watch(bulk, headway, outcome);
                Ok(Answer::Bulk { responses })
            }
        }
    }
}

impl Files {
    /// Sees to it that work of which the request was answered is told of.
    fn watch(&self, bulk: Arc<Bulk>, headway: Arc<Headway>, outcome: tasks::Outcome) {
        let (tasks, asker) = (Arc::clone(&self.tasks), self.asker.clone());
        let (measured, counting) = (Arc::clone(&bulk), Arc::clone(&headway));
        let measure = move || counting.measured(measured.measure());
        tokio::spawn(async move {
            match asker {
                Some(username) => {
                    tokio::task::spawn_blocking(measure);
                    tasks.follow(username, bulk.title(), headway, outcome).await;
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

impl Lanes {
    /// Does the items: quickly as far as they go, and the rest in the long lane.
    async fn run(&self, bulk: Arc<Bulk>, headway: Arc<Headway>) -> Result<(), FilesError> {
        let (lane, crossing) = match bulk.pace() {
            Pace::Quick => (&self.quick, Crossing::Refuse),
            Pace::Long => (&self.long, Crossing::Copy),
        };
        let mut outcome = run_in(lane, &bulk, 0, crossing, &headway).await;
        if crossing == Crossing::Refuse
            && let Err(Stop { item, trouble: Trouble::OtherDevice }) = outcome
        {
            outcome = run_in(&self.long, &bulk, item, Crossing::Copy, &headway).await;
        }
        outcome.map_err(|stop| bulk.error(stop))
    }
}

/// Does the items from one on when the lane has room. The place belongs to the work, which gives it
/// up while it rests.
async fn run_in(
    lane: &Arc<Semaphore>,
    bulk: &Arc<Bulk>,
    start: usize,
    crossing: Crossing,
    headway: &Arc<Headway>,
) -> Result<(), Stop> {
    let cut_short = |_| Stop { item: start, trouble: Trouble::CutShort };
    let Ok(permit) = Arc::clone(lane).acquire_owned().await else {
        return Err(Stop { item: start, trouble: Trouble::CutShort });
    };
    headway.take_place(Arc::clone(lane), permit);
    let (bulk, working) = (Arc::clone(bulk), Arc::clone(headway));
    let work = tokio::task::spawn_blocking(move || bulk.run(start, crossing, &working));
    let outcome = work.await.map_err(cut_short);
    headway.leave();
    outcome?
}

/// Does blocking work on a thread of its own when the lane has room.
async fn in_lane<T: Send + 'static>(
    lane: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    let permit = Arc::clone(lane).acquire_owned().await.map_err(|_| Trouble::CutShort)?;
    let work = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(permit);
        outcome
    });
    work.await.map_err(|_| Trouble::CutShort)
}
