//! Keeps the records of jobs in files of the user's account.
//!
//! An id of Core is recorded once and never again: Core may repeat one. A record that is not final,
//! or that the server has not heard of, also has a file in `unfinished`, so that a start need not
//! read every record. Files are replaced whole, and are on the disk before the next step.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_config::user_file::UserFileFailure;
use countersign_home::own_directory::{OwnDirectory, STATE, WriteFailure};
use countersign_keys::identity::{CoreJobId, ProviderId, Uid};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::record::Record;
use crate::account::OwnAccount;

/// Longest record, in bytes. Most of a long one is names of interfaces.
const RECORD_MAX: usize = 32 * 1024;
/// Most jobs that are not final at once: more than a user watches.
const UNFINISHED_MAX: usize = 256;
/// The directory of records, below the provider's state, and that of the unfinished ones.
const JOBS: &str = "jobs";
const UNFINISHED: &str = "jobs-unfinished";

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFailure {
    /// The id has a record: Core repeats an id, or a request.
    #[error("a job with this number was started before")]
    Known,
    #[error("too many of your jobs wait for an answer of Slurm or of the provider")]
    TooMany,
    #[error("the record of the job cannot be read: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Read(#[from] UserFileFailure),
    #[error(transparent)]
    Write(#[from] WriteFailure),
    #[error("cannot look through the records of jobs")]
    List(#[source] Errno),
    #[error("the work was cut short")]
    CutShort,
}

/// The records of one account at one provider. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct JobRecords(Arc<Place>);

#[derive(Debug)]
struct Place {
    home: PathBuf,
    owner: Uid,
    provider: ProviderId,
    /// One change at a time, and the jobs that this process has begun. The directory's lock
    /// excludes other processes.
    changing: Mutex<HashSet<CoreJobId>>,
}

impl JobRecords {
    pub(crate) fn of(account: &OwnAccount, provider: &ProviderId) -> Self {
        let (home, owner, provider) = (account.home().to_owned(), account.uid(), provider.clone());
        Self(Arc::new(Place { home, owner, provider, changing: Mutex::default() }))
    }

    /// Records a job that is about to be submitted, if its id has no record.
    pub(crate) async fn begin(&self, id: &CoreJobId, record: Record) -> Result<(), StoreFailure> {
        let id = id.clone();
        self.work(move |place, begun| {
            let (unfinished, records) = place.directories()?;
            if place.names(&unfinished)?.len() >= UNFINISHED_MAX {
                return Err(StoreFailure::TooMany);
            }
            if read(&records, &id)?.is_some() {
                return Err(StoreFailure::Known);
            }
            let text = text_of(&record)?;
            begun.insert(id.clone());
            unfinished.replace(id.as_str(), &text)?;
            Ok(records.replace(id.as_str(), &text)?)
        })
        .await
    }

    /// Records a job's next state.
    pub(crate) async fn replace(&self, id: &CoreJobId, record: Record) -> Result<(), StoreFailure> {
        let id = id.clone();
        self.work(move |place, _| Ok(place.open(JOBS)?.replace(id.as_str(), &text_of(&record)?)?)).await
    }

    /// Nothing is left to do for a job: its record is final, or the server knows of it.
    pub(crate) async fn finish(&self, id: &CoreJobId) -> Result<(), StoreFailure> {
        let id = id.clone();
        self.work(move |place, begun| {
            let unfinished = place.open(UNFINISHED)?;
            match unlinkat(unfinished.strict().descriptor(), id.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(StoreFailure::List(errno)),
            }
            begun.remove(&id);
            Ok(())
        })
        .await
    }

    /// The record of a job; `None` if this account has started none of that id here.
    pub(crate) async fn read(&self, id: &CoreJobId) -> Result<Option<Record>, StoreFailure> {
        let id = id.clone();
        self.work(move |place, _| read(&place.open(JOBS)?, &id)).await
    }

    /// The jobs for which an earlier process of this account has left something to do. An id whose
    /// record was never written has none. What this process has begun is not among them, since it
    /// is being done.
    pub(crate) async fn left_over(&self) -> Result<Vec<(CoreJobId, Option<Record>)>, StoreFailure> {
        self.work(|place, begun| {
            let (unfinished, records) = place.directories()?;
            unfinished.remove_unfinished()?;
            records.remove_unfinished()?;
            let ids = place.names(&unfinished)?.into_iter().filter(|id| !begun.contains(id));
            ids.map(|id| read(&records, &id).map(|record| (id, record))).collect()
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place, &mut HashSet<CoreJobId>) -> Result<T, StoreFailure> + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let place = Arc::clone(&self.0);
        let working = tokio::task::spawn_blocking(move || {
            let mut begun = place.changing.lock().unwrap_or_else(PoisonError::into_inner);
            work(&place, &mut begun)
        });
        working.await.map_err(|_| StoreFailure::CutShort)?
    }
}

impl Place {
    fn open(&self, name: &str) -> Result<OwnDirectory, WriteFailure> {
        let [one, two, three] = STATE;
        OwnDirectory::make(&self.home, self.owner, &[one, two, three, self.provider.as_str(), name])
    }

    /// Both directories, locked in this order.
    fn directories(&self) -> Result<(OwnDirectory, OwnDirectory), WriteFailure> {
        Ok((self.open(UNFINISHED)?, self.open(JOBS)?))
    }

    /// The ids of the files in a directory.
    fn names(&self, directory: &OwnDirectory) -> Result<Vec<CoreJobId>, StoreFailure> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listed =
            Dir::openat(directory.strict().descriptor(), ".", flags, Mode::empty()).map_err(StoreFailure::List)?;
        let mut ids = Vec::new();
        for entry in listed.iter() {
            let entry = entry.map_err(StoreFailure::List)?;
            ids.extend(entry.file_name().to_str().ok().and_then(|name| CoreJobId::parse(name).ok()));
        }
        Ok(ids)
    }
}

fn read(records: &OwnDirectory, id: &CoreJobId) -> Result<Option<Record>, StoreFailure> {
    let opened = match records.strict().open(id.as_str()) {
        Ok(opened) => opened,
        Err(failure) if failure.is_absence() => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let text = opened.private()?.read(RECORD_MAX)?;
    serde_json::from_slice(&text).map(Some).map_err(|_| StoreFailure::Malformed("it is not as this program writes it"))
}

fn text_of(record: &Record) -> Result<Vec<u8>, StoreFailure> {
    let text = serde_json::to_vec(record).map_err(|_| StoreFailure::Malformed("it has no text"))?;
    if text.len() > RECORD_MAX { Err(StoreFailure::Malformed("it is too long")) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
