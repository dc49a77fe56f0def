//! `[ipc]`, `[audit]` and `[state]`: how long data is kept, and the layout of the state directory.

use std::path::PathBuf;
use std::time::Duration;

use countersign_keys::store::seal_file::SEAL_FILE;

use crate::audit::LogPlace;

/// The file with the key of the records' pseudonyms, beside the logs.
pub(crate) const PSEUDONYM_KEY: &str = "pseudonym.key";

/// The file that maps UCloud's numbers of drives, in a provider's directory in a user's home.
/// Earlier releases kept it beside these directories, so a provider cannot have this id.
pub(crate) const DRIVE_NUMBERS: &str = "drives";

/// The directory for notes of unfinished copies, beside those of the providers in a user's home. A
/// provider cannot have this id.
pub(crate) const UNFINISHED: &str = "unfinished";

/// `[ipc]`.
#[derive(Clone, Debug)]
pub(crate) struct Ipc {
    /// The directory of the socket, absolute; writable only by root and the server's account.
    pub(crate) directory: PathBuf,
}

impl Ipc {
    /// The server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("ucloud.sock")
    }
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// A new file of records begins after this many bytes.
    pub(crate) segment_max: u64,
    /// Days to keep records; `None` for ever.
    pub(crate) keep_days: Option<i64>,
    /// Bytes of records to keep of each log.
    pub(crate) keep: Keep,
    pub(crate) names: Names,
    pub(crate) witness: Witness,
}

/// Bytes of records to keep of each log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keep {
    /// 1/[`KEEP_PARTS`] of the file system.
    Share,
    Bytes(u64),
    All,
}

/// By default, both logs together keep half of their file system.
pub(crate) const KEEP_PARTS: u64 = 4;

/// How records name users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Names {
    Plain,
    Pseudonyms,
}

/// Where copies of checkpoints are sent.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    /// Appended to this file.
    pub(crate) file: Option<PathBuf>,
    /// To the system's log.
    pub(crate) syslog: bool,
    /// Posted to this URL.
    pub(crate) url: Option<String>,
    /// Shortest interval.
    pub(crate) every: Duration,
}

/// `[state]`: the layout of the state directory.
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

    /// The seal of the store, which shows if the store was rolled back.
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

    pub(crate) fn pseudonym_key(&self) -> PathBuf {
        self.audit().join(PSEUDONYM_KEY)
    }

    pub(crate) fn gateway_log(&self) -> LogPlace {
        LogPlace::new(self.audit().join("gateway"))
    }

    pub(crate) fn server_log(&self) -> LogPlace {
        LogPlace::new(self.audit().join("server"))
    }

    /// The server's service endpoint, if `instances.listen` is `unix`.
    pub(crate) fn service_socket(&self) -> PathBuf {
        self.directory.join("service.sock")
    }

    /// Where a gateway that the service manager started gets its sockets.
    pub(crate) fn gateway_socket(&self) -> PathBuf {
        self.directory.join("gateway.sock")
    }

    /// The directory of the instances' sockets, `<uid>-<n>.sock`.
    pub(crate) fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }
}
