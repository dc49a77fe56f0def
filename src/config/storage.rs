//! `[ipc]`, `[audit]` and `[state]`: how long data is kept, and the layout of the state directory.

use std::path::PathBuf;
use std::time::Duration;

use countersign_keys::store::seal::SEAL_FILE;

use countersign_audit::LogLayout;

/// The file with the key of the records' pseudonyms, beside the logs.
pub const PSEUDONYM_KEY: &str = "pseudonym.key";

/// The file that maps UCloud's numbers of drives, in a provider's directory in a user's home.
/// Earlier releases kept it beside these directories, so a provider cannot have this id.
pub const DRIVE_NUMBERS: &str = "drives";

/// The directory for notes of unfinished copies, beside those of the providers in a user's home. A
/// provider cannot have this id.
pub const UNFINISHED: &str = "unfinished";

/// `[ipc]`.
#[derive(Clone, Debug)]
pub struct Ipc {
    /// The directory of the socket, absolute; writable only by root and the server's account.
    pub directory: PathBuf,
}

impl Ipc {
    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("ucloud.sock")
    }
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// A new file of records begins after this many bytes.
    pub segment_max: u64,
    /// Days to keep records; `None` for ever.
    pub keep_days: Option<i64>,
    /// Bytes of records to keep of each log.
    pub keep: Keep,
    pub names: Names,
    pub witness: Witness,
}

/// Bytes of records to keep of each log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// 1/[`KEEP_PARTS`] of the file system.
    Share,
    Bytes(u64),
    All,
}

/// By default, both logs together keep half of their file system.
pub const KEEP_PARTS: u64 = 4;

/// How records name users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    Plain,
    Pseudonyms,
}

/// Where copies of checkpoints are sent.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Appended to this file.
    pub file: Option<PathBuf>,
    /// To the system's log.
    pub syslog: bool,
    /// Posted to this URL.
    pub url: Option<String>,
    /// Shortest interval.
    pub every: Duration,
}

/// `[state]`: the layout of the state directory.
#[derive(Clone, Debug)]
pub struct State {
    /// Absolute, mode 0700, the server's own.
    pub directory: PathBuf,
}

impl State {
    /// The server's sled store.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The seal of the store, which shows if the store was rolled back.
    pub fn seal(&self) -> PathBuf {
        self.directory.join(SEAL_FILE)
    }

    /// The gateway's replay log.
    pub fn replay(&self) -> PathBuf {
        self.directory.join("replay")
    }

    /// The audit logs and their keys.
    pub fn audit(&self) -> PathBuf {
        self.directory.join("audit")
    }

    pub fn pseudonym_key(&self) -> PathBuf {
        self.audit().join(PSEUDONYM_KEY)
    }

    pub fn gateway_log(&self) -> LogLayout {
        LogLayout::new(self.audit().join("gateway"))
    }

    pub fn server_log(&self) -> LogLayout {
        LogLayout::new(self.audit().join("server"))
    }

    /// The server's service endpoint, if `instances.listen` is `unix`.
    pub fn service_socket(&self) -> PathBuf {
        self.directory.join("service.sock")
    }

    /// Where a gateway that the service manager started gets its sockets.
    pub fn gateway_socket(&self) -> PathBuf {
        self.directory.join("gateway.sock")
    }

    /// The directory of the instances' sockets, `<uid>-<n>.sock`.
    pub fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }
}
