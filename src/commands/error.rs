//! Why a command did not do what it was asked, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use countersign_keys::call::RowRejection;
use countersign_keys::enrolment::EnrolmentRejection;
use countersign_keys::identity::{IdentityRejection, KeyId, ProviderId};
use countersign_keys::keyring::KeyRejection;
use countersign_keys::store::sealed_store::UnsealedStore;

use crate::audit::proof::ProofRejection;
use crate::audit::{CheckpointRejection, NoKey};
use crate::clock::{NoRandomness, UnreadableClock};
use crate::commands::account::AccountFailure;
use crate::commands::instance_key::InstanceKeyFailure;
use crate::commands::offer::OfferLie;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::ipc::client::AskError;
use crate::ipc::messages::{Death, Refused};
use crate::journal::JournalFailure;
use crate::own_directory::WriteFailure;
use crate::pin_file::PinFailure;
use crate::quoted::{SENTENCE_MAX, quoted_within};
use crate::server::StateDirectoryFailure;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The configuration.
    #[error("the configuration is refused:\n{0}")]
    Config(ConfigError),
    /// No account to act for.
    #[error(transparent)]
    Account(#[from] AccountFailure),
    /// Something is missing on the command line.
    #[error("{0}")]
    Incomplete(&'static str),
    /// What was typed is no name or id of its kind.
    #[error(transparent)]
    Identity(#[from] IdentityRejection),
    /// What was typed is no code.
    #[error(transparent)]
    Code(EnrolmentRejection),
    /// There is nobody to ask.
    #[error("this needs an answer, and standard input is no terminal: give it with --yes")]
    NobodyToAsk,
    /// The answer was no.
    #[error("Cancelled. Nothing was changed")]
    Declined,
    /// The server cannot be reached.
    #[error("the server cannot be reached at {} (is countersign server running?)", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// The cause.
        source: AskError,
    },
    /// There is no directory for the server's socket.
    #[error("the server cannot be reached: there is no {}", directory.display())]
    NoServer {
        /// Where its socket should be.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory of the server's socket does not say which account the server has.
    #[error("{} belongs to root, and must belong to the account that the server runs as", directory.display())]
    ServerIsRoot {
        /// Where its socket should be.
        directory: PathBuf,
    },
    /// The server said no.
    #[error("the server refuses: {}", quoted_within(&refused.why, SENTENCE_MAX))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its reason.
        refused: Refused,
    },
    /// The server's answer makes no sense.
    #[error("the server's answer is not understood (is it of another version?)")]
    Answer(#[source] Option<serde_json::Error>),
    /// The server's answer is a lie.
    #[error(transparent)]
    Lie(#[from] OfferLie),
    /// The connection page's ticket came to nothing.
    #[error("{}", death(*.0))]
    TicketDead(Death),
    /// Somebody approved the offer from another terminal.
    #[error("this connection has been approved from another terminal")]
    ApprovedElsewhere,
    /// The pinned keys.
    #[error(transparent)]
    Pins(#[from] PinFailure),
    /// The instance key.
    #[error(transparent)]
    InstanceKey(#[from] InstanceKeyFailure),
    /// A pinned key that is none.
    #[error("a pinned key is refused")]
    Key(#[source] KeyRejection),
    /// A file with a key that is none.
    #[error("{} is no public key that can be added", path.display())]
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
    /// There is no log where one was said to be.
    #[error("there is no audit log in {}", path.display())]
    NoLog {
        /// The place.
        path: PathBuf,
    },
    /// What was given as a log's key is none.
    #[error("a log's key was expected")]
    AuditKey(#[source] NoKey),
    /// None of the keys given is this log's.
    #[error("no key of {origin} was given: --key, with what countersign audit key prints there")]
    NoAuditKey {
        /// Whose key is wanted.
        origin: String,
    },
    /// There is no such record.
    #[error("there is no record {wanted}")]
    NoRecord {
        /// What was looked for.
        wanted: String,
    },
    /// A record that no checkpoint covers yet.
    #[error("this record is not signed yet: the next checkpoint comes within a second while the server runs")]
    NotSigned,
    /// A log's checkpoint.
    #[error("the log's checkpoint is not to be believed")]
    Checkpoint(#[source] CheckpointRejection),
    /// A proof that is none.
    #[error("this proves nothing")]
    Proof(#[source] ProofRejection),
    /// A log is not what was signed; what is wrong has been printed.
    #[error("an audit log is not what was signed")]
    Tampered,
    /// The state directory cannot be used, or a server runs in it.
    #[error(transparent)]
    Place(#[from] StateDirectoryFailure),
    /// The key store.
    #[error(transparent)]
    Unsealed(#[from] UnsealedStore),
    /// What is done could not be written down, so it is not done.
    #[error("the audit log cannot be written")]
    Record(#[source] io::Error),
    /// The gateway's replay log.
    #[error(transparent)]
    Journal(#[from] JournalFailure),
    /// No UCloud user is connected to the account.
    #[error(
        "this account is not connected to that UCloud user, or to none: countersign connect start USERNAME begins a connection"
    )]
    NotConnected,
    /// Neither the server nor the account knows the key.
    #[error("there is no key {0}: see countersign keys list")]
    NoSuchKey(KeyId),
    /// It is pinned for another provider, and this one's server does not know it.
    #[error("the key {kid} is pinned for the provider {provider}: revoke it there")]
    OtherProvidersKey {
        /// The key.
        kid: KeyId,
        /// The provider that its line names.
        provider: ProviderId,
    },
    /// The standard table of calls is broken.
    #[error("the table of calls is broken")]
    Calls(#[source] RowRejection),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    /// Randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The terminal, or what stands for it.
    #[error("cannot write the output or read the answer")]
    Terminal(#[source] io::Error),
    /// The system does not let the command run.
    #[error("the system does not let this program wait for an answer")]
    Runtime(#[source] io::Error),
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        // Not as a cause: its text is part of this one's, a line for each problem.
        Self::Config(error)
    }
}

impl CommandError {
    /// Whether whoever read the output has gone: there is nobody to tell.
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

    /// Whether the server said that there is no such thing.
    pub(super) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A file that others could have written is refused by a rule.
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
