//! Answers UCloud's calls that create, rename and delete users' own drives, where the site offers
//! them (`{name}` in `[[drives]]`). Each drive is a folder.
//!
//! The instance derives a drive's id, and so its folder, from the title that the user signed. The
//! drive's number comes from UCloud unsigned. The instance pins the number before it reports the
//! drive as created. When a drive is deleted, its number becomes free. Its id is not reused while
//! the number is remembered.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::bind::{Items, Projection};
use countersign_keys::identity::Username;
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;
use countersign_keys::store::drives::{CoreDriveId, DRIVES_MAX};
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::call::{DrivesCall, NOT_OFFERED, text};
use crate::drives::ids::PinFailure;
use crate::drives::table::Drives;
use crate::files::Files;
use crate::files::error::FilesError;
use crate::files::operations::TRASH;
use countersign_config::{Config, Drive, MadeDrives, PlainName};
use countersign_ipc::client::request;
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::{
    DRIVES_MAKE, DRIVES_REMOVE, MadeDrive, Making, MakingAnswer, NumberedDrive, RemovedDrive,
};
use countersign_os::log::Chain;

/// The longest folder name that is made from a title, in bytes. A number may follow.
const NAME_MAX: usize = 40;

/// The folder's name if a title has no usable character.
const NAMELESS: &str = "drive";

/// Most names tried for one title: more than a user's drives can take, together with deleted drives
/// whose ids are remembered.
const NAMES_TRIED: u32 = 600;

/// How often the server is told that a drive is gone while it answers that it is busy, and the
/// pause between two tries. The server answers an account 20 times a second.
const FORGET_TRIES: u32 = 4;
const FORGET_PAUSE: Duration = Duration::from_millis(250);

/// Why a drive is not created or deleted.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    #[error("a drive needs a title")]
    NoTitle,
    #[error("drives that you make are of the product `{0}`")]
    Product(String),
    #[error("drives that you make are yours alone: leave the project first")]
    OfProject,
    #[error("UCloud has given the drive no number")]
    NoNumber,
    #[error("UCloud has given the drive the number of another")]
    NumberTaken,
    #[error("you have {DRIVES_MAX} drives, as many as there can be")]
    TooMany,
    #[error("there are too many drives of that name")]
    NoName,
    #[error("there is no such drive")]
    NoDrive,
    #[error("this drive is the provider's, and not yours to delete")]
    NotMade,
    #[error("the drive is not empty: delete what is in it, and empty its trash, first")]
    NotEmpty,
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the drive cannot be made: {}", Chain(.0))]
    Pin(PinFailure),
    #[error("the drive is removed, and its number is not free yet: delete it again: {}", Chain(.0))]
    Free(PinFailure),
    #[error("the provider's server does not answer")]
    Server,
    #[error("too many drives are made or deleted at once: try again in a moment")]
    Busy,
    #[error("the work was cut short")]
    CutShort,
}

impl From<PinFailure> for DriveError {
    fn from(cause: PinFailure) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Pin(cause)
    }
}

impl DriveError {
    fn error_code(&self) -> ErrorCode {
        match self {
            Self::NotOffered | Self::NoDrive => ErrorCode::NotFound,
            Self::NoTitle | Self::Product(_) | Self::OfProject | Self::NoNumber => ErrorCode::Malformed,
            Self::NotMade => ErrorCode::Forbidden,
            // Core repeats a request after a 503. A fault in the user's own account would still be
            // there.
            Self::NumberTaken | Self::TooMany | Self::NoName | Self::NotEmpty | Self::Pin(_) | Self::Free(_) => {
                ErrorCode::Conflict
            }
            Self::Files(error) => error.error_code(),
            Self::Busy => ErrorCode::TooMany,
            Self::Server | Self::CutShort => ErrorCode::Unavailable,
        }
    }
}

/// Creates and deletes drives.
#[derive(Clone, Debug)]
pub(crate) struct DriveMaker {
    files: Files,
    /// The server's socket.
    socket: PathBuf,
    /// The name of the product that these drives belong to.
    product: String,
    /// The configured drive that these drives are made from.
    drive: Drive,
}

/// A requested drive. The user signed the title. The number is UCloud's statement.
#[derive(Debug)]
struct NewDrive {
    title: String,
    number: CoreDriveId,
}

impl DriveMaker {
    /// Returns `None` if users cannot create drives here.
    pub(crate) fn of(files: &Files, config: &Config) -> Option<Self> {
        let served = config.served();
        let drive = served.drives.iter().find(|drive| drive.is_made())?;
        let product = drive.product_among(&served.products).map(|product| product.name.clone()).unwrap_or_default();
        Some(Self { files: files.clone(), socket: config.ipc.socket(), product, drive: drive.clone() })
    }

    fn made(&self) -> Result<&MadeDrives, DriveError> {
        self.files.drives().table().made().ok_or(DriveError::NotOffered)
    }

    /// Creates all of the drives, or none.
    async fn create(self, username: Username, new: Vec<NewDrive>) -> Result<Vec<Value>, DriveError> {
        let mut ids: Vec<String> = Vec::new();
        for drive in new {
            match self.create_one(&username, &drive).await {
                Ok(id) => ids.push(id),
                Err(error) => {
                    for id in ids {
                        self.take_back(&username, &id).await;
                    }
                    return Err(error);
                }
            }
        }
        let at_core = |id: &String| json!({ "id": self.drive.id_at_core(&username, id) });
        Ok(ids.iter().map(at_core).collect())
    }

    async fn create_one(&self, username: &Username, drive: &NewDrive) -> Result<String, DriveError> {
        let made = self.made()?;
        let number = &drive.number;
        if let Some(gone) = self.files.drives().numbers().freed(number.as_str()) {
            // In case the server has not been told of the deletion: it accepts a number only once.
            self.forget(username, &gone).await;
        }
        for try_ in 1..=NAMES_TRIED {
            let Some(name) = name_for(&drive.title, try_) else { continue };
            let Some(id) = made.id(&name).filter(|id| self.is_new(id)) else { continue };
            match self.note(username, number, &id).await? {
                Making::Noted => {}
                Making::IdTaken => continue,
                Making::NumberTaken => return Err(DriveError::NumberTaken),
                Making::TooMany => return Err(DriveError::TooMany),
            }
            let (parent, folder) = (made.parent.clone(), made.folder(&name));
            let drives = Arc::clone(self.files.drives());
            let folder_made = blocking(move || make_folder(&drives, &parent, &folder)).await;
            let pinned = match folder_made {
                Ok(true) => {
                    let (files, drive) = (self.files.clone(), NumberedDrive { number: number.clone(), id: id.clone() });
                    blocking(move || Ok(files.drive_numbers().pin(drive)?)).await
                }
                Ok(false) => {
                    self.forget(username, &id).await;
                    continue;
                }
                Err(error) => Err(error),
            };
            return match pinned {
                Ok(()) => Ok(id),
                Err(error) => {
                    self.take_back(username, &id).await;
                    Err(error)
                }
            };
        }
        Err(DriveError::NoName)
    }

    /// Checks that no configured drive has this id, and no created one whose number is remembered.
    fn is_new(&self, id: &str) -> bool {
        let drives = self.files.drives();
        drives.table().made_as(id).is_some() && !drives.numbers().is_numbered(id)
    }

    /// Checks all of the drives before it removes the first.
    async fn delete(self, username: Username, named: Vec<String>) -> Result<Vec<Value>, DriveError> {
        let drives = self.files.drives();
        let mut removed: Vec<(String, PathBuf)> = Vec::new();
        for named in &named {
            if drives.numbers().freed(named).is_some() {
                continue; // deleted earlier, but UCloud has not heard
            }
            let id = drives.id(named).ok_or(DriveError::NoDrive)?;
            let (made, name) = drives.table().made_as(&id).ok_or(DriveError::NotMade)?;
            removed.push((id, made.folder(&name)));
        }
        let folders: Vec<PathBuf> = removed.iter().map(|(_, folder)| folder.clone()).collect();
        let drives = Arc::clone(drives);
        blocking(move || {
            folders.iter().try_for_each(|folder| check_empty(&drives, folder))?;
            folders.iter().try_for_each(|folder| remove_folder(folder))
        })
        .await?;
        let ids: Vec<String> = removed.into_iter().map(|(id, _)| id).collect();
        self.free(&ids).await?;
        for id in &ids {
            self.forget(&username, id).await;
        }
        Ok(named.iter().map(|_| json!({})).collect())
    }

    async fn free(&self, ids: &[String]) -> Result<(), DriveError> {
        let (files, ids) = (self.files.clone(), ids.to_vec());
        blocking(move || files.drive_numbers().free(&ids).map_err(DriveError::Free)).await
    }

    async fn take_back(&self, username: &Username, id: &str) {
        if let Some(folder) = self.files.drives().table().folder(id) {
            // If the folder has got content meanwhile, it stays, and so does its number.
            if blocking(move || remove_folder(&folder)).await.is_ok()
                && let Err(error) = self.free(&[id.to_owned()]).await
            {
                tracing::error!(id, %error, "the number of a drive that was not made stays taken");
            }
        }
        self.forget(username, id).await;
    }

    async fn note(&self, username: &Username, number: &CoreDriveId, id: &str) -> Result<Making, DriveError> {
        let made = MadeDrive { username: username.clone(), number: number.clone(), id: id.to_owned() };
        let answer = self.ask(DRIVES_MAKE, &made).await?;
        let answer: MakingAnswer = serde_json::from_slice(&answer).map_err(|_error| DriveError::Server)?;
        Ok(answer.outcome)
    }

    /// Tells the server that a drive is gone. If that fails, the server keeps the drive in its
    /// table, and it counts against the user's limit.
    async fn forget(&self, username: &Username, id: &str) {
        let removed = RemovedDrive { username: username.clone(), id: id.to_owned() };
        for _ in 0..FORGET_TRIES {
            match self.ask(DRIVES_REMOVE, &removed).await {
                Ok(_) => return,
                Err(DriveError::Busy) => tokio::time::sleep(FORGET_PAUSE).await,
                Err(_) => break,
            }
        }
        tracing::warn!(id, "the server does not know that this drive is gone");
    }

    async fn ask<Q: Serialize>(&self, path: &'static str, question: &Q) -> Result<bytes::Bytes, DriveError> {
        match request(&self.socket, Method::POST, path, question).await {
            Ok((StatusCode::OK, body)) => Ok(body),
            Ok((StatusCode::TOO_MANY_REQUESTS, _)) => Err(DriveError::Busy),
            Ok((status, _)) => {
                tracing::warn!(path, %status, "the server does not take a drive");
                Err(DriveError::Server)
            }
            Err(failure) => {
                tracing::warn!(path, %failure, "the server does not answer");
                Err(DriveError::Server)
            }
        }
    }
}

/// Answers a call about drives themselves.
pub(crate) async fn answer(
    permit: &Permit<'_, '_>,
    call: DrivesCall,
    files: &Files,
    maker: Option<&DriveMaker>,
) -> Reply {
    let responses = match maker.cloned() {
        Some(maker) => perform(permit, call, files, maker).await,
        None => Err(DriveError::NotOffered),
    };
    match responses {
        Ok(responses) => json_reply(StatusCode::OK, &json!({ "responses": responses })),
        Err(error) => {
            if let DriveError::Pin(failure) | DriveError::Free(failure) = &error {
                tracing::error!(%failure, %error, "a drive is not made or removed");
            }
            error.error_code().reply_with(&error.to_string())
        }
    }
}

async fn perform(
    permit: &Permit<'_, '_>,
    call: DrivesCall,
    files: &Files,
    maker: DriveMaker,
) -> Result<Vec<Value>, DriveError> {
    let (items, username) = (permit.items(), permit.username().clone());
    match call {
        DrivesCall::Create => {
            let new = new_drives(items, &maker.product)?;
            to_the_end(maker.create(username, new)).await
        }
        DrivesCall::Delete => to_the_end(maker.delete(username, ids(items))).await,
        // UCloud keeps a drive's title: nothing changes here.
        DrivesCall::Rename => {
            let known = |named: &String| files.drives().id(named).map(|_id| json!({})).ok_or(DriveError::NoDrive);
            ids(items).iter().map(known).collect()
        }
    }
}

/// Runs to completion even if the client disconnects: a half-made drive would be unusable.
async fn to_the_end(
    work: impl Future<Output = Result<Vec<Value>, DriveError>> + Send + 'static,
) -> Result<Vec<Value>, DriveError> {
    tokio::spawn(work).await.unwrap_or(Err(DriveError::CutShort))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DriveError> + Send + 'static,
) -> Result<T, DriveError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(DriveError::CutShort))
}

fn ids(items: &Items<'_>) -> Vec<String> {
    items.projections().iter().map(|item| text(item, "id")).collect()
}

/// The drives of a request. The user signs the title, the product and that the drive is in no
/// project. UCloud adds the number.
fn new_drives(items: &Items<'_>, product: &str) -> Result<Vec<NewDrive>, DriveError> {
    let bodies = items.body().member("items").and_then(Json::elements).unwrap_or_default();
    items.projections().iter().zip(bodies).map(|(signed, body)| new_drive(signed, body, product)).collect()
}

fn new_drive(signed: &Projection<'_>, body: &Json<'_>, product: &str) -> Result<NewDrive, DriveError> {
    let specification = signed.parameter("specification");
    let title = specification.member("title").and_then(Json::as_str).unwrap_or_default();
    if title.trim().is_empty() {
        return Err(DriveError::NoTitle);
    }
    let named = specification.member("product").and_then(|product| product.member("id")).and_then(Json::as_str);
    if named != Some(product) {
        return Err(DriveError::Product(product.to_owned()));
    }
    if body.member("owner").and_then(|owner| owner.member("project")).is_some_and(|project| !project.is_zero()) {
        return Err(DriveError::OfProject);
    }
    let number = body.member("id").and_then(Json::as_str).and_then(|number| CoreDriveId::parse(number).ok());
    Ok(NewDrive { title: title.to_owned(), number: number.ok_or(DriveError::NoNumber)? })
}

/// A folder name for a title. Keeps ASCII letters and digits, dots and underscores, and joins them
/// with a dash where other characters stood. From the second try on, the number of the try follows.
fn name_for(title: &str, try_: u32) -> Option<PlainName> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_');
    let words: Vec<&str> = title.split(|letter| !is_plain(letter)).filter(|word| !word.is_empty()).collect();
    let mut name: String = words.join("-").trim_start_matches(['.', '_', '-']).chars().take(NAME_MAX).collect();
    if name.is_empty() {
        NAMELESS.clone_into(&mut name);
    }
    if try_ > 1 {
        name = format!("{name}-{try_}");
    }
    PlainName::parse(&name)
}

/// Makes a drive's folder, for its user alone. Returns whether it is new.
fn make_folder(drives: &Drives, parent: &Path, folder: &Path) -> Result<bool, DriveError> {
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(FilesError::from)?;
    drives.check_made(folder)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(FilesError::from(error).into()),
    }
}

/// An empty trash does not count as content.
fn check_empty(drives: &Drives, folder: &Path) -> Result<(), DriveError> {
    match drives.check_made(folder) {
        Err(FilesError::NotFound) => return Ok(()),
        outcome => outcome?,
    }
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FilesError::from)?,
    };
    for entry in entries {
        let entry = entry.map_err(FilesError::from)?;
        let is_trash = entry.file_name().as_bytes() == TRASH && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_trash || std::fs::read_dir(entry.path()).map_err(FilesError::from)?.next().is_some() {
            return Err(DriveError::NotEmpty);
        }
    }
    Ok(())
}

/// Removes an empty folder. Succeeds if the folder does not exist.
fn remove_folder(folder: &Path) -> Result<(), DriveError> {
    let _ = std::fs::remove_dir(folder.join(OsStr::from_bytes(TRASH))); // content in it is found below
    match std::fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(DriveError::NotEmpty),
        Err(error) => Err(FilesError::from(error).into()),
    }
}

#[cfg(test)]
mod tests;
