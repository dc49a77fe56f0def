//! What is kept, and where: `[ipc]`, `[audit]` and `[state]`, the layout of the state directory
//! said once.

use std::path::PathBuf;
use std::time::Duration;

use countersign_keys::store::seal_file::SEAL_FILE;

use crate::audit::LogPlace;

/// The name of the file with the key of the records' pseudonyms, beside the logs.
pub(crate) const PSEUDONYM_KEY: &str = "pseudonym.key";

/// The file with what UCloud's numbers of drives mean, in the directory of a provider in a user's
/// home; that of earlier releases, beside these directories. So no provider has this id.
pub(crate) const DRIVE_NUMBERS: &str = "drives";

/// The directory with the notes of unfinished copies, beside those of the providers in a user's
/// home. So no provider has this id.
pub(crate) const UNFINISHED: &str = "unfinished";

/// `[ipc]`.
#[derive(Clone, Debug)]
pub(crate) struct Ipc {
    /// The directory of the socket, absolute; nobody but root and the server's account may write to
    /// it.
    pub(crate) directory: PathBuf,
}

impl Ipc {
    /// The socket at which the server is asked.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("ucloud.sock")
    }
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// A file of records is followed by another once it has so many bytes.
    pub(crate) segment_max: u64,
    /// How many days records are kept; `None`: for ever.
    pub(crate) keep_days: Option<i64>,
    /// How many bytes of records are kept of each log.
    pub(crate) keep: Keep,
    /// How users stand in the records.
    pub(crate) names: Names,
    /// Where copies of checkpoints go.
    pub(crate) witness: Witness,
}

/// How many bytes of records are kept of each log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keep {
    /// One of [`KEEP_PARTS`] parts of the file system that they are on.
    Share,
    /// So many.
    Bytes(u64),
    /// All.
    All,
}

/// Both logs together keep half of their file system, if nothing else is configured.
pub(crate) const KEEP_PARTS: u64 = 4;

/// How users stand in the records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Names {
    /// By their usernames.
    Plain,
    /// By pseudonyms.
    Pseudonyms,
}

/// Where copies of checkpoints go.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    /// Appended to this file.
    pub(crate) file: Option<PathBuf>,
    /// To the system's log.
    pub(crate) syslog: bool,
    /// Posted there.
    pub(crate) url: Option<String>,
    /// How often, at most.
    pub(crate) every: Duration,
}

/// `[state]`: the layout of the state directory, said once.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Absolute, mode 0700, the server's own.
    pub(crate) directory: PathBuf,
}

impl State {
    /// The server's sled store.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The seal of the store, which shows that it did not go back.
    pub(crate) fn seal(&self) -> PathBuf {
        self.directory.join(SEAL_FILE)
    }

    /// The gateway's replay log.
    pub(crate) fn replay(&self) -> PathBuf {
        self.directory.join("replay")
    }

    /// The audit logs and their keys.
    pub(crate) fn audit(&self) -> PathBuf {
        self.directory.join("audit")
    }

    /// The key of the pseudonyms.
    pub(crate) fn pseudonym_key(&self) -> PathBuf {
        self.audit().join(PSEUDONYM_KEY)
    }

    /// The gateway's log.
    pub(crate) fn gateway_log(&self) -> LogPlace {
        LogPlace::new(self.audit().join("gateway"))
    }

    /// The server's log.
    pub(crate) fn server_log(&self) -> LogPlace {
        LogPlace::new(self.audit().join("server"))
    }

    /// The server's service endpoint, where `instances.listen` is `unix`.
    pub(crate) fn service_socket(&self) -> PathBuf {
        self.directory.join("service.sock")
    }

    /// Where a gateway that the service manager starts comes for its sockets.
    pub(crate) fn gateway_socket(&self) -> PathBuf {
        self.directory.join("gateway.sock")
    }

    /// The directory of the instances' sockets, `<uid>-<n>.sock`.
    pub(crate) fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }
}
