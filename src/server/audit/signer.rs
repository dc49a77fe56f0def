//! Directories, keys and the signing thread of both audit logs (P9).
//!
//! A log that does not match its last signature keeps the server from starting, and stops a running
//! server (P8). A full disk does not: the writer of a record refuses what it cannot record.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::Uid;
use countersign_keys::secret::Secret;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::witness::Witnesses;
use crate::metrics::{ServerMetrics, seconds_now};
use crate::state::log_failure;
use crate::state_directory::{self, StateDirectoryFailure};
use countersign_audit::{LogLayout, LogSigner, NoKey, Pseudonyms, SigningFailure, SigningKey};
use countersign_config::{Audit, Config, KEEP_PARTS, Keep, Names, SecretFile, SecretFileError};
use countersign_os::clock::{Clock, NoRandomness, random_bytes};

/// Interval between checks for new records. A checkpoint is signed at least once a second while
/// there are new records: this interval, and the time of a write to disk.
const EVERY: Duration = Duration::from_millis(500);

/// Interval between checks for records to delete, by age or by size.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Why an audit log is not available.
#[derive(Debug, thiserror::Error)]
pub enum AuditFailure {
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] StateDirectoryFailure),
    /// A key cannot be made or stored.
    #[error("the key {path} cannot be made")]
    MakeKey {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A key cannot be read.
    #[error(transparent)]
    ReadKey(#[from] SecretFileError),
    /// The file does not contain a key.
    #[error("{path} is not a valid signing key")]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: NoKey,
    },
    /// A log exists without its key.
    #[error("the log in {directory} was signed with a key that is gone: put {key} back, or move the directory away")]
    KeyGone {
        /// The log.
        directory: PathBuf,
        /// The expected place of the key.
        key: PathBuf,
    },
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The log cannot be opened or signed.
    #[error(transparent)]
    Signing(#[from] SigningFailure),
    /// The thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl AuditFailure {
    /// Whether a log is not what was signed.
    pub(crate) const fn is_alteration(&self) -> bool {
        matches!(self, Self::Signing(failure) if !failure.may_pass())
    }
}

/// The signing thread.
#[derive(Debug)]
pub(crate) struct CheckpointSigner {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl CheckpointSigner {
    /// Opens both logs, the gateway's and the server's, and starts to sign them. The receiver gets
    /// the reason if signing stops.
    pub(crate) fn start(
        config: &Config,
        metrics: Arc<ServerMetrics>,
    ) -> Result<(Self, oneshot::Receiver<AuditFailure>), AuditFailure> {
        state_directory::private_directory(&config.state.audit())?;
        make_pseudonym_key(config)?;
        let logs = [(config.state.gateway_log(), "gateway"), (config.state.server_log(), "server")];
        let mut signed_logs = Vec::with_capacity(logs.len());
        for (log, name) in logs {
            let witnesses = Witnesses::new(&config.audit.witness);
            signed_logs.push(SignedLog { signer: open(config, log, name)?, witnesses });
        }
        let audit = config.audit.clone();
        let (stop, stopped) = mpsc::sync_channel(1);
        let (broken, is_broken) = oneshot::channel();
        let work = move || {
            if let Err(failure) = sign(signed_logs, &audit, &stopped, &metrics) {
                let _ = broken.send(failure.into()); // the receiver is gone if the server stops anyway
            }
        };
        let thread = std::thread::Builder::new().name("signer".to_owned()).spawn(work).map_err(AuditFailure::Thread)?;
        Ok((Self { stop, thread }, is_broken))
    }

    /// Signs the last records, and ends.
    pub(crate) fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("cannot sign the audit log's last checkpoint");
        }
    }
}

/// Signs until told to stop, and then once more.
fn sign(
    mut logs: Vec<SignedLog>,
    audit: &Audit,
    stopped: &mpsc::Receiver<()>,
    metrics: &ServerMetrics,
) -> Result<(), SigningFailure> {
    let (mut is_failing, mut pruned) = (false, None);
    loop {
        let is_last = stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
        let mut failed = false;
        let is_pruning = pruned.is_none_or(|when: Instant| when.elapsed() >= PRUNE_EVERY);
        if is_pruning {
            pruned = Some(Instant::now());
        }
        for (SignedLog { signer, witnesses }, counted) in logs.iter_mut().zip(&metrics.logs) {
            let stepped = signer.step().and_then(|_| if is_pruning { prune(signer, audit) } else { Ok(()) });
            witnesses.tell(&signer.note(), is_last);
            counted.backlog.set(signer.backlog());
            match stepped {
                Ok(()) => counted.signed.set(seconds_now()),
                Err(failure) if failure.may_pass() => {
                    counted.failures.add_one();
                    if !is_failing {
                        log_failure("cannot sign the audit log", &failure);
                    }
                    failed = true;
                }
                Err(failure) => {
                    log_failure("the audit log does not match its last checkpoint", &failure);
                    return Err(failure);
                }
            }
        }
        if is_failing && !failed {
            tracing::info!("signing the audit log again");
        }
        is_failing = failed;
        if is_last {
            return Ok(());
        }
    }
}

/// A log and its witnesses.
#[derive(Debug)]
struct SignedLog {
    signer: LogSigner,
    witnesses: Witnesses,
}

fn prune(signer: &LogSigner, audit: &Audit) -> Result<(), SigningFailure> {
    // If the clock cannot be read, no record counts as old.
    let now = Clock::System.now().ok().and_then(|now| OffsetDateTime::from_unix_timestamp(now.seconds()).ok());
    let since = now.zip(audit.keep_days).and_then(|(now, days)| now.date().checked_sub(time::Duration::days(days)));
    let bytes_max = match audit.keep {
        Keep::Share => signer.share_of_file_system(KEEP_PARTS),
        Keep::Bytes(bytes) => Some(bytes),
        Keep::All => None,
    };
    signer.prune(since, bytes_max)
}

/// The key of the records' pseudonyms, if they are configured.
pub(crate) fn pseudonyms(config: &Config) -> Result<Option<Pseudonyms>, AuditFailure> {
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

fn open(config: &Config, log: LogLayout, name: &str) -> Result<LogSigner, AuditFailure> {
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
    Ok(LogSigner::open(log, key)?)
}

/// The public name of a log: an address without its scheme, which need not resolve.
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
    tracing::info!(key = %key.public(), "made a signing key for an audit log: keep its public half elsewhere");
    Ok(key)
}
