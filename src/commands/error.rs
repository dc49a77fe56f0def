//! Errors of the commands, and the exit code of each.

use std::io;
use std::path::PathBuf;

use countersign_keys::call::RowRejection;
use countersign_keys::enrolment::EnrolmentRejection;
use countersign_keys::identity::{IdentityRejection, KeyId, ProviderId};
use countersign_keys::keyring::KeyRejection;
use countersign_keys::store::sealed_store::UnsealedStore;

use crate::commands::account::AccountFailure;
use crate::commands::apps::review_failure::ReviewFailure;
use crate::commands::instance_key::InstanceKeyFailure;
use crate::commands::offer::OfferMismatch;
use countersign_audit::proof::ProofRejection;
use countersign_audit::{CheckpointRejection, NoKey};
use countersign_config::ConfigError;
use countersign_home::own_directory::WriteFailure;
use countersign_home::pin_file::PinFailure;
use countersign_ipc::client::AskError;
use countersign_ipc::server_protocol::{Death, Refused};
use countersign_os::clock::{NoRandomness, UnreadableClock};
use countersign_os::exit_code::Exit;
use countersign_os::quoted::{SENTENCE_MAX, quoted_within};
use countersign_replay::JournalFailure;
use countersign_server::StateDirectoryFailure;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The configuration is invalid.
    #[error("the configuration is refused:\n{0}")]
    Config(ConfigError),
    /// No account to act for.
    #[error(transparent)]
    Account(#[from] AccountFailure),
    /// The command line is incomplete.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A name or id on the command line is malformed.
    #[error(transparent)]
    Identity(#[from] IdentityRejection),
    /// A code on the command line is malformed.
    #[error(transparent)]
    Code(EnrolmentRejection),
    /// Standard input is not a terminal.
    #[error("this needs an answer, and standard input is not a terminal: answer with --yes")]
    NobodyToAsk,
    /// The user declined.
    #[error("Cancelled. Nothing was changed")]
    Declined,
    /// The server cannot be reached.
    #[error("the server cannot be reached at {} (is countersign server running?)", socket.display())]
    Unreachable {
        /// The server's socket.
        socket: PathBuf,
        /// The cause.
        source: AskError,
    },
    /// The directory of the server's socket does not exist.
    #[error("the server cannot be reached: there is no {}", directory.display())]
    NoServer {
        /// The expected directory of the socket.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The owner of the socket's directory must be the server's account.
    #[error("{} belongs to root, and must belong to the account that the server runs as", directory.display())]
    ServerIsRoot {
        /// The directory of the socket.
        directory: PathBuf,
    },
    /// The server refused.
    #[error("the server refuses: {}", quoted_within(&refused.why, SENTENCE_MAX))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        refused: Refused,
    },
    /// The server's answer cannot be parsed.
    #[error("cannot parse the server's answer (it may have another version)")]
    Answer(#[source] Option<serde_json::Error>),
    /// The server's answer contradicts what the user typed.
    #[error(transparent)]
    Lie(#[from] OfferMismatch),
    /// The connection page's ticket is dead.
    #[error("{}", death(*.0))]
    TicketDead(Death),
    /// Another terminal approved the offer.
    #[error("this connection has been approved from another terminal")]
    ApprovedElsewhere,
    /// The file of pinned keys.
    #[error(transparent)]
    Pins(#[from] PinFailure),
    /// The instance key.
    #[error(transparent)]
    InstanceKey(#[from] InstanceKeyFailure),
    /// A pinned key is malformed.
    #[error("a pinned key is refused")]
    Key(#[source] KeyRejection),
    /// A file does not contain a public key.
    #[error("{} is not a public key that can be added", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyRejection,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no log in the given directory.
    #[error("there is no audit log in {}", path.display())]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// A given key is not a log's key.
    #[error("this is not a log's key")]
    AuditKey(#[source] NoKey),
    /// None of the given keys is this log's.
    #[error("no key of {origin} was given: pass --key with the key that countersign audit key prints there")]
    NoAuditKey {
        /// The log whose key is needed.
        origin: String,
    },
    /// There is no such record.
    #[error("there is no record {wanted}")]
    NoRecord {
        /// The record that was looked for.
        wanted: String,
    },
    /// A record that no checkpoint covers yet.
    #[error("this record is not signed yet: the next checkpoint comes within a second while the server runs")]
    NotSigned,
    /// The log's checkpoint is invalid.
    #[error("the log's checkpoint is invalid")]
    Checkpoint(#[source] CheckpointRejection),
    /// The proof is invalid.
    #[error("this proof is invalid")]
    Proof(#[source] ProofRejection),
    /// A log does not match its signatures. The findings have been printed.
    #[error("an audit log is not what was signed")]
    Tampered,
    /// The state directory cannot be used, or a server runs in it.
    #[error(transparent)]
    Place(#[from] StateDirectoryFailure),
    /// The key store disagrees with its seal, or cannot be opened.
    #[error(transparent)]
    Unsealed(#[from] UnsealedStore),
    /// The action cannot be recorded, so it is not performed.
    #[error("the audit log cannot be written")]
    Record(#[source] io::Error),
    /// The gateway's replay log.
    #[error(transparent)]
    Journal(#[from] JournalFailure),
    /// No UCloud user is connected to the account.
    #[error(
        "this account is not connected to that UCloud user, or to none: begin a connection with countersign connect start USERNAME"
    )]
    NotConnected,
    /// Neither the server nor the account knows the key.
    #[error("there is no key {0}: see countersign keys list")]
    NoSuchKey(KeyId),
    /// The key is pinned for another provider, and this provider's server does not know it.
    #[error("the key {kid} is pinned for the provider {provider}: revoke it there")]
    OtherProvidersKey {
        /// The key.
        kid: KeyId,
        /// The provider for which it is pinned.
        provider: ProviderId,
    },
    /// The standard table of calls is invalid.
    #[error("the table of calls is invalid")]
    Calls(#[source] RowRejection),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    /// Randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Reading or writing the terminal failed.
    #[error("cannot write the output or read the answer")]
    Terminal(#[source] io::Error),
    /// An application cannot be reviewed.
    #[error(transparent)]
    Review(#[from] ReviewFailure),
    /// The async runtime cannot be started.
    #[error("cannot start the async runtime")]
    Runtime(#[source] io::Error),
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        // Not a source: the text of the cause is part of this text, one line for each problem.
        Self::Config(error)
    }
}

impl CommandError {
    /// Whether the reader of the output is gone, so that nothing can be reported.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Terminal(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::ServerIsRoot { .. } => Exit::Config,
            Self::Incomplete(_) | Self::Identity(_) | Self::Code(_) | Self::NobodyToAsk => Exit::Usage,
            Self::AuditKey(_) | Self::NoAuditKey { .. } => Exit::Usage,
            Self::Tampered | Self::Checkpoint(_) | Self::Proof(_) => Exit::Tampered,
            Self::Unsealed(UnsealedStore::Disagrees { .. }) => Exit::Store,
            Self::Account(failure) => failure.exit(),
            Self::Unreachable { .. } | Self::NoServer { .. } => Exit::Unreachable,
            Self::Refused { status: 400..=499, .. } | Self::Lie(_) | Self::KeyFile { .. } | Self::NotConnected => {
                Exit::Refused
            }
            Self::Pins(failure) => exit_of_pins(failure),
            Self::InstanceKey(failure) => failure.exit(),
            Self::Review(failure) => failure.exit(),
            Self::Refused { .. }
            | Self::Declined
            | Self::Place(_)
            | Self::Unsealed(UnsealedStore::Store(_))
            | Self::Record(_)
            | Self::Journal(_)
            | Self::Answer(_)
            | Self::TicketDead(_)
            | Self::ApprovedElsewhere
            | Self::Key(_)
            | Self::File { .. }
            | Self::Write { .. }
            | Self::NoSuchKey(_)
            | Self::OtherProvidersKey { .. }
            | Self::NoLog { .. }
            | Self::NoRecord { .. }
            | Self::NotSigned
            | Self::Calls(_)
            | Self::Clock(_)
            | Self::Randomness(_)
            | Self::Terminal(_)
            | Self::Runtime(_) => Exit::Failure,
        }
    }

    /// Whether the server answered 404.
    pub(super) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A file that others could have written counts as refused.
const fn exit_of_pins(failure: &PinFailure) -> Exit {
    match failure {
        PinFailure::Strict(failure) | PinFailure::Write(WriteFailure::Strict(failure)) if failure.is_exposure() => {
            Exit::Refused
        }
        PinFailure::Strict(_) | PinFailure::Write(_) | PinFailure::Text { .. } | PinFailure::Line { .. } => {
            Exit::Failure
        }
    }
}

const fn death(why: Death) -> &'static str {
    match why {
        Death::SecondOffer => {
            "a second key was offered for this connection: another browser has its page's address. Nothing was approved; begin again"
        }
        Death::Expired => "no key was offered in time: begin again",
        Death::Withdrawn => "this connection was withdrawn: begin again",
    }
}
