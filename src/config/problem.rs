//! Problems of a configuration: reason, key and place, reported together, one on each line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use countersign_keys::call::RowRejection;
use countersign_keys::core_token::CoreKeyRejection;
use countersign_keys::identity::IdentityRejection;

use crate::admin_file::FileReason;
use crate::secret_file::SecretFileError;
use crate::spans::Position;
use crate::tls::TlsError;
use crate::{DRIVE_NUMBERS, UNFINISHED};
use countersign_os::log::Chain;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not trustworthy.
    #[error("{}", Chain(.0))]
    File(FileReason),
    /// Its content is wrong: at least one problem, in the order of the file.
    #[error("{}", Lines { file, problems })]
    Content { file: PathBuf, problems: Vec<Problem> },
}

impl ConfigError {
    /// Whether the only problem is that secrets cannot be read.
    pub fn is_of_secrets_alone(&self) -> bool {
        let is_of_a_secret =
            |problem: &Problem| matches!(problem.reason, Reason::SecretFile(_) | Reason::Tls(TlsError::Key(_)));
        matches!(self, Self::Content { problems, .. } if problems.iter().all(is_of_a_secret))
    }
}

impl From<FileReason> for ConfigError {
    fn from(reason: FileReason) -> Self {
        // Not as a cause: like the problems of its content, it is displayed in full.
        Self::File(reason)
    }
}

#[derive(Debug)]
pub struct Problem {
    /// `None` for a missing key.
    pub(super) place: Option<Position>,
    /// The dotted path of the key; empty if the text is not TOML.
    pub(super) key: String,
    pub(super) reason: Reason,
}

struct Lines<'a> {
    file: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, key, reason }) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(place) = place {
                write!(f, ":{place}")?;
            }
            if !key.is_empty() {
                write!(f, ": {key}")?;
            }
            write!(f, ": {}", Chain(reason))?;
        }
        Ok(())
    }
}

/// The problem of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    /// The text is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// An unknown key, or a value of the wrong type.
    #[error("{0}")]
    Shape(String),
    /// A required key is missing.
    #[error("is missing: {0}")]
    Missing(&'static str),
    /// A name that breaks its rule.
    #[error(transparent)]
    Identity(#[from] IdentityRejection),
    /// A provider's id that is also the name of a file in users' homes.
    #[error(
        "cannot be \"{DRIVE_NUMBERS}\" or \"{UNFINISHED}\": instances keep files of these names in \
         ~/.local/state/countersign. Choose another id"
    )]
    ProviderTaken,
    #[error(
        "prefix and suffix are of lower-case letters, digits and hyphens, the prefix has at most 24, and the suffix \
         has a dot: \"app-\" and \".apps.example.org\""
    )]
    WebHosts,
    #[error("the host of provider.origin or core.origin has this form: choose another prefix or suffix")]
    WebHostsTaken,
    #[error("a host name could be of a public link and of a web interface: choose another prefix or suffix")]
    LinkHostsTaken,
    #[error(
        "has 1 to 16 lower-case letters, digits, '-' or '_', begins with a letter and does not end with a digit: a \
         project's number follows it"
    )]
    GroupPrefix,
    #[error("is the first gid and the last, from 1000 upward: [70000, 79999]")]
    Gids,
    /// A referenced file is refused.
    #[error(transparent)]
    File(#[from] FileReason),
    /// A secret's file is refused.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// The value looks like the secret itself. It is not repeated here.
    #[error("has to be the name of a file with the secret in it, never the secret itself")]
    SecretInline,
    /// A secret that an instance could read.
    #[error("{} can be read by this account, which is an instance's: only the server's account may", .0.display())]
    WithinReach(PathBuf),
    /// Core's key is invalid.
    #[error("{path} is not the public key of a key pair with which Core could sign")]
    CoreKey {
        path: PathBuf,
        /// The cause.
        source: CoreKeyRejection,
    },
    /// Certificate or key are refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Clear text on a network.
    #[error(
        "is missing: {0} is not a loop-back address, so it needs TLS: tls = {{ certificate = \"fullchain.pem\", key = \"key.pem\" }}"
    )]
    TlsAbsent(SocketAddr),
    /// Not an address with a port.
    #[error("is not an IP address with a port, such as \"0.0.0.0:8889\" or \"[::1]:8889\"")]
    Address,
    /// Port 0 would select another port at every start.
    #[error("needs a port: with 0 it would be another one at every start")]
    PortZero,
    #[error("is empty: {0}")]
    Empty(&'static str),
    #[error("has more than {0} entries")]
    TooMany(usize),
    /// Only loop-back is allowed here.
    #[error("is not a loop-back address, and instances are asked in clear text")]
    NotLoopBack,
    /// A seal is required of sessions that no intent opens.
    #[error(
        "is \"required\", and sessions.proof is \"off\": the proof signs the seal. Set sessions.proof to \"required\""
    )]
    SealWithoutProof,
    /// Metrics on an address that other machines reach.
    #[error(
        "is not a loop-back address, and metrics have neither TLS nor a password. Choose one such as \"127.0.0.1:9464\", \
         or set metrics.anywhere = true if only your collectors reach this address"
    )]
    MetricsReach,
    #[error("is not four octal digits such as \"0660\"")]
    SocketMode,
    /// A duplicate.
    #[error("appears twice")]
    Twice,
    /// After this wait a request could not be answered in time.
    #[error(
        "is not between 0 and {max}: UCloud gives up on a request after 5 s, and its own work needs the rest. Choose \
         {max} or less; {default} is the default"
    )]
    NoTimeLeft {
        /// The longest wait.
        max: i64,
        /// The default.
        default: i64,
    },
    #[error("is not between {min} and {max}")]
    OutOfRange { min: i64, max: i64 },
    #[error("is not a size such as \"1 MiB\" (B, KiB, MiB, GiB)")]
    Size,
    #[error("is not between 1 KiB and 64 MiB")]
    SizeOutOfRange,
    #[error("is not a time such as \"90 days\" (s, minutes, hours, days)")]
    Time,
    #[error("is not between 1 s and 3650 days")]
    TimeOutOfRange,
    #[error("is not a call of the table: see countersign calls")]
    UnknownCall,
    /// A row of `[[calls]]` is refused.
    #[error(transparent)]
    Call(#[from] RowRejection),
    /// A row of `[[calls]]` that the signer could not describe, and so not sign.
    #[error("is missing: the signer asks with it, such as {{ one = \"Rotate the key {{id}}\", subjects = [\"id\"] }}")]
    NoWords,
    /// A row of `[[calls]]` for which no process has an implementation.
    #[error("has to be \"core\": a site adds calls that come through UCloud")]
    DirectRow,
    #[error(
        "is not the address of a licence server, such as \"licences.example.org:27000\": letters, digits and . - _ : [ ]"
    )]
    LicenceAddress,
    /// A key without effect beside another's value.
    #[error("means nothing unless {0}")]
    Idle(&'static str),
    /// The port is the gateway's own.
    #[error("is also the port of gateway.listen {0}")]
    PortTaken(SocketAddr),
    /// A program without an absolute path.
    #[error("has to begin with the absolute path of a program")]
    NotAbsoluteProgram,
    /// The id of a drive or product.
    #[error("is not 1 to 64 letters, digits, '.', '-' or '_', beginning with a letter or digit")]
    Name,
    /// A URL with invalid characters or a fragment.
    #[error("has to be an origin and a path, in printable ASCII, without a fragment")]
    Url,
    #[error("has to be \"~\", or begin with \"~/\" or \"/\", without \"..\"")]
    DrivePath,
    #[error("has to be the path of a folder")]
    Folder,
    /// Only one of path and id has a placeholder for the group.
    #[error("has to have {{group}} in it if the drive's id has, and only then")]
    DriveGroup,
    /// The place of user-made drives.
    #[error("has to be \"~/FOLDER/{{name}}\" if the drive's id has {{name}} in it, and has no {{name}} otherwise")]
    DriveMade,
    /// A drive's title.
    #[error("is not 1 to 128 bytes without control characters")]
    Title,
    #[error("is not 1 to 80 characters without control, invisible or right-to-left characters")]
    BrandTitle,
    #[error("is neither an e-mail address nor an address that begins with https://")]
    BrandContact,
    #[error("{} {what}", path.display())]
    Logo {
        path: PathBuf,
        /// What it is not.
        what: &'static str,
    },
    /// A text of a product.
    #[error("is longer than 1024 bytes, or has control characters")]
    Text,
    /// Products of a category that differ.
    #[error(
        "has another type, unit, frequency or \"free\" than {0} of the same category; these belong to the category"
    )]
    CategoryDiffers(String),
    #[error("is none of the products of type \"storage\"")]
    NoSuchProduct,
    #[error("is none of the drives without {{group}} and {{name}}: each user has one folder for jobs")]
    NoSuchDrive,
    #[error("has to be an absolute path")]
    NotAbsolute,
    /// Too long for a Unix socket's name.
    #[error("is longer than {0} bytes, so that the sockets in it would have no valid name")]
    SocketPath(usize),
}
