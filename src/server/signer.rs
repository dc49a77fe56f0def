//! The server's part of the audit logs beside writing its own: their directories, their keys, and
//! the thread that signs what was written (P9).
//!
//! A log whose records are not those last signed keeps the server from starting, and ends one that
//! runs (P8). A disk that is full does not: what cannot be written down is refused by whoever would
//! have written it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::Uid;
use countersign_keys::secret::Secret;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::state::log_failure;
use super::state_directory::{self, StateDirectoryFailure};
use super::witness::Witnesses;
use crate::audit::{LogPlace, NoKey, Notary, NotaryFailure, Pseudonyms, SigningKey};
use crate::clock::{Clock, NoRandomness, random_bytes};
use crate::config::{Audit, Config, KEEP_PARTS, Keep, Names, SecretFile, SecretFileError};

/// How often is looked for new records. A checkpoint is signed at least every second while there
/// are any: this, and the time of a write to disk.
const EVERY: Duration = Duration::from_millis(500);

/// How often is looked for records that are old enough, or too many, and deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditFailure {
    /// A directory.
    #[error(transparent)]
    Place(#[from] StateDirectoryFailure),
    /// A key that cannot be made or kept.
    #[error("the key {path} cannot be made")]
    MakeKey {
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A key that cannot be read.
    #[error(transparent)]
    ReadKey(#[from] SecretFileError),
    /// A file that is no key.
    #[error("{path} is of no use")]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: NoKey,
    },
    /// A log without its key.
    #[error("the log in {directory} was signed with a key that is gone: put {key} back, or move the directory away")]
    KeyGone {
        /// The log.
        directory: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The log itself.
    #[error(transparent)]
    Notary(#[from] NotaryFailure),
    /// No thread.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
}

/// The thread that signs.
#[derive(Debug)]
pub(super) struct CheckpointSigner {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl CheckpointSigner {
    /// Takes up both logs, the gateway's and the server's, and has them signed from here on. What
    /// is received in the end is why that stopped.
    pub(super) fn start(config: &Config) -> Result<(Self, oneshot::Receiver<AuditFailure>), AuditFailure> {
        state_directory::private_directory(&config.state.audit())?;
        make_pseudonym_key(config)?;
        let logs = [(config.state.gateway_log(), "gateway"), (config.state.server_log(), "server")];
        let mut kept = Vec::with_capacity(logs.len());
        for (log, name) in logs {
            let witnesses = Witnesses::new(&config.audit.witness);
            kept.push(Kept { notary: open(config, log, name)?, witnesses });
        }
        let audit = config.audit.clone();
        let (stop, stopped) = mpsc::sync_channel(1);
        let (broken, is_broken) = oneshot::channel();
        let work = move || {
            if let Err(failure) = sign(kept, &audit, &stopped) {
                let _ = broken.send(failure.into()); // nobody waits for it where the server stops anyway
            }
        };
        let thread = std::thread::Builder::new().name("notary".to_owned()).spawn(work).map_err(AuditFailure::Thread)?;
        Ok((Self { stop, thread }, is_broken))
    }

    /// Signs what is left, and ends.
    pub(super) fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the audit log's last checkpoint was not signed");
        }
    }
}

/// Signs until told to stop, and then once more.
fn sign(mut logs: Vec<Kept>, audit: &Audit, stopped: &mpsc::Receiver<()>) -> Result<(), NotaryFailure> {
    let (mut is_failing, mut pruned) = (false, None);
    loop {
        let is_last = stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
        let mut failed = false;
        let is_pruning = pruned.is_none_or(|when: Instant| when.elapsed() >= PRUNE_EVERY);
        if is_pruning {
            pruned = Some(Instant::now());
        }
        for Kept { notary, witnesses } in &mut logs {
            let stepped = notary.step().and_then(|_| if is_pruning { prune(notary, audit) } else { Ok(()) });
            witnesses.tell(&notary.note(), is_last);
            match stepped {
                Ok(()) => {}
                Err(failure) if failure.may_pass() => {
                    if !is_failing {
                        log_failure("the audit log is not signed", &failure);
                    }
                    failed = true;
                }
                Err(failure) => {
                    log_failure("the audit log is not what it was", &failure);
                    return Err(failure);
                }
            }
        }
        if is_failing && !failed {
            tracing::info!("the audit log is signed again");
        }
        is_failing = failed;
        if is_last {
            return Ok(());
        }
    }
}

/// A log, and who hears of it.
#[derive(Debug)]
struct Kept {
    notary: Notary,
    witnesses: Witnesses,
}

fn prune(notary: &Notary, audit: &Audit) -> Result<(), NotaryFailure> {
    // With a clock that cannot be read, nothing is old.
    let now = Clock::System.now().ok().and_then(|now| OffsetDateTime::from_unix_timestamp(now.seconds()).ok());
    let since = now.zip(audit.keep_days).and_then(|(now, days)| now.date().checked_sub(time::Duration::days(days)));
    let bytes_max = match audit.keep {
        Keep::Share => notary.share_of_file_system(KEEP_PARTS),
        Keep::Bytes(bytes) => Some(bytes),
        Keep::All => None,
    };
    notary.prune(since, bytes_max)
}

/// What the pseudonyms of the records are made with, where there are to be any.
pub(super) fn pseudonyms(config: &Config) -> Result<Option<Pseudonyms>, AuditFailure> {
    match config.audit.names {
        Names::Plain => Ok(None),
        Names::Pseudonyms => Ok(Some(Pseudonyms::new(&secret(&config.state.pseudonym_key())?))),
    }
}

fn make_pseudonym_key(config: &Config) -> Result<(), AuditFailure> {
    let path = config.state.pseudonym_key();
    if config.audit.names == Names::Plain || path.exists() {
        return Ok(());
    }
    let key = Secret::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?));
    write_key(&path, &key)
}

fn open(config: &Config, log: LogPlace, name: &str) -> Result<Notary, AuditFailure> {
    state_directory::private_directory(log.directory())?;
    state_directory::private_directory(&log.entries())?;
    let path = config.state.audit().join(format!("{name}.key"));
    let key = if path.exists() {
        read_key(&path)?
    } else if log.checkpoint().exists() {
        return Err(AuditFailure::KeyGone { directory: log.directory().to_owned(), key: path });
    } else {
        make_key(&origin(config, name), &path)?
    };
    Ok(Notary::open(log, key)?)
}

/// The log's name for the rest of the world: an address without its scheme, which need not lead
/// anywhere.
fn origin(config: &Config, name: &str) -> String {
    let provider = &config.provider;
    let origin = provider.origin.as_str();
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    format!("{host}/ucloud/{}/audit/{name}", provider.id)
}

fn read_key(path: &Path) -> Result<SigningKey, AuditFailure> {
    SigningKey::parse(&secret(path)?).map_err(|source| AuditFailure::Key { path: path.to_owned(), source })
}

fn secret(path: &Path) -> Result<Secret<String>, SecretFileError> {
    SecretFile::new(path.to_owned(), Uid(nix::unistd::geteuid().as_raw())).read()
}

fn write_key(path: &Path, key: &Secret<String>) -> Result<(), AuditFailure> {
    let failed = |source| AuditFailure::MakeKey { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn make_key(origin: &str, path: &Path) -> Result<SigningKey, AuditFailure> {
    let failed = |source| AuditFailure::MakeKey { path: path.to_owned(), source };
    let seed = Secret::new(random_bytes::<32>()?);
    let key = SigningKey::from_seed(origin, &seed).map_err(|no_key| failed(io::Error::other(no_key)))?;
    write_key(path, &key.text(&seed))?;
    tracing::info!(key = %key.public(), "a key was made for an audit log: keep this public half elsewhere");
    Ok(key)
}
