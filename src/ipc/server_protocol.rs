//! Messages on the server's Unix socket: one path an operation, `POST`, JSON.
//!
//! No message names its sender: the server takes uid, gid and pid from the kernel. A uid sees and
//! changes only its own data. Uid 0 and the server's own uid may also list and remove for others,
//! and nothing else. Refusals have a status and a [`Refused`] body.

mod applications;
mod instances;
mod jobs;
mod licences;
mod links;
mod projects;
mod usage;

use countersign_keys::identity::{CoreResourceId, KeyId, Uid, Username};
use countersign_keys::keyring::{Algorithm, FINGERPRINT_WORDS, KeyRecord, KeyState, Protocol};
pub use countersign_keys::store::records::{Begun, Death};
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::applications::{
    APPLICATION_MAX, APPLICATION_NAME_MAX, APPLICATIONS_DECIDE, APPLICATIONS_OFFERED, APPLICATIONS_PENDING,
    APPLICATIONS_SHOW, ApplicationDecided, ApplicationDecision, ApplicationNamed, ApplicationOffered, ApplicationText,
    PendingApplication, PendingApplications,
};
pub use self::instances::{
    DRIVES_MAKE, DRIVES_REMOVE, DRIVES_REPORT, DriveTable, DrivesReport, MadeDrive, Making, MakingAnswer,
    NumberedDrive, RemovedDrive, TASK_SILENCE_MAX_S, TASK_TEXT_MAX, TASKS_BEGIN, TASKS_TELL, TaskBegun, TaskKnown,
    TaskNumber, TaskState, TaskStatus, TaskTold,
};
pub use self::jobs::{
    JOB_LINKS_MAX, JOBS_CHOICES, JOBS_EXTEND, JOBS_SUBMITTED, JOBS_SUSPEND, JobChoices, JobExtend, JobSubmitted,
    JobSuspend, OUTPUT_FOLDER_MAX, TARGET_NAME_MAX,
};
pub use self::licences::{
    KnownLicence, LICENCES_MAKE, LICENCES_READ, LICENCES_REMOVE, LicenceMade, Licences, LicencesRead,
};
pub use self::links::{KnownLink, LINKS_LIST, LINKS_MAKE, LINKS_REMOVE, LinkForgotten, LinkMade, Links, LinksList};
pub use self::projects::{
    DecidedMember, ListedMember, ListedProject, MemberWaits, PROJECT_MEMBERS_PAGE, PROJECTS_DECIDE,
    PROJECTS_DECIDED_MAX, PROJECTS_LIST, PROJECTS_MEMBERS, PROJECTS_PAGE, ProjectMembers, ProjectMembersList, Projects,
    ProjectsDecided, ProjectsDecision, ProjectsList,
};
pub use self::usage::{OwnersUsage, USAGE_HELD_MAX, USAGE_LIST, USAGE_PAGE, UsageList, UsagePage};

/// Longest body of a request or answer. All keys of one user (16 of at most 1 KiB) are 16 KiB; an
/// administrator's list of connections comes in pages of [`LIST_MAX`].
pub const BODY_MAX: usize = 256 * 1024;

/// Longest long poll, in seconds: below the usual timeout of 30 s.
pub const POLL_MAX_S: u64 = 25;

/// Most connections in one answer of [`CONNECT_LIST`].
pub const LIST_MAX: usize = 500;

/// Describes the pending offer of a code. [`Find`] → [`Offer`].
pub const CONNECT_FIND: &str = "/connect/find";
/// Approves an offer for the calling uid. [`Approve`] → [`Approved`].
pub const CONNECT_APPROVE: &str = "/connect/approve";
/// Begins a connection bound to the calling uid. [`Start`] → [`Started`].
pub const CONNECT_START: &str = "/connect/start";
/// Waits up to [`POLL_MAX_S`] for an offer on such a ticket. [`Await`] → [`Awaited`].
pub const CONNECT_AWAIT: &str = "/connect/await";
/// Lists connections. [`ConnectList`] → [`Connections`].
pub const CONNECT_LIST: &str = "/connect/list";
/// Ends connections: removes the mapping, revokes the keys, tells Core. [`Remove`] → [`Removed`].
pub const CONNECT_REMOVE: &str = "/connect/remove";
/// Lists a user's keys. [`KeysList`] → [`Keys`].
pub const KEYS_LIST: &str = "/keys/list";
/// Activates another key of a connected user. [`KeyAdd`] → [`Empty`].
pub const KEYS_ADD: &str = "/keys/add";
/// Revokes a key; answers when no gateway accepts it any more (P6). [`KeyRevoke`] → [`Empty`].
pub const KEYS_REVOKE: &str = "/keys/revoke";
/// Describes the caller. [`Empty`] → [`Whoami`].
pub const WHOAMI: &str = "/whoami";

/// The counts of the server, for administrators. [`Empty`] → [`countersign_metrics::Snapshot`].
pub const METRICS: &str = "/metrics";

/// Longest name of a key, in bytes, so that a line of the pins file stays readable.
pub const KEY_NAME_MAX: usize = 64;

/// The sentence that refuses another name.
pub const KEY_NAME_RULE: &str = "a key's name has 1 to 64 bytes and no control characters";

/// Whether a key may have that name. Terminals display it, and it is part of a line.
pub fn is_key_name(name: &str) -> bool {
    (1..=KEY_NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// A public link or licence that one of the account's users deletes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceRemoved {
    /// The user who signed.
    pub username: Username,
    /// UCloud's number.
    pub number: CoreResourceId,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The body of every refusal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub status_code: u16,
    /// One sentence for the user.
    pub why: String,
    /// The code, for programs: see [`super::error_code::ErrorCode`].
    pub error_code: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Find {
    /// As the connection page showed it.
    pub code: String,
}

/// A key that was offered and waits for approval. A client that shows it recomputes the code from
/// `ticket_hash`, `username` and `spki`, and refuses one that differs from the code typed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    pub code: String,
    /// SHA-256 of the ticket, base64url.
    pub ticket_hash: String,
    /// The UCloud user to be connected.
    pub username: Username,
    /// The offered key: SubjectPublicKeyInfo, DER, standard base64.
    pub spki: String,
    pub algorithm: Algorithm,
    /// The id that the key will have.
    pub kid: KeyId,
    /// In OpenSSH's format.
    pub fingerprint: String,
    /// The browser's name for itself; chosen by the client that made the offer.
    pub name: String,
    pub offered: Timestamp,
    /// The offering client's address, as the gateway saw it.
    pub address: String,
    /// Where the connection was begun: at Core or here.
    pub begun: Begun,
    /// Until when the offer can be approved.
    pub until: Timestamp,
    /// When the key will expire if it is approved now.
    pub key_expires: Timestamp,
    /// The provider's id.
    pub provider: String,
    /// The provider's public origin.
    pub origin: String,
}

/// Approves an offer. The caller has pinned the key in its account before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    pub code: String,
    /// The caller's login name according to itself; the server checks that it is the uid's.
    pub account: String,
    /// The public half of the account's instance key: SubjectPublicKeyInfo of a P-256 key, DER,
    /// standard base64.
    pub instance_key: String,
}

/// An approval that has taken effect here. The server tells Core in the background, with retries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approved {
    pub username: Username,
    /// The key that is active now.
    pub kid: KeyId,
    /// The uid that the user is mapped to.
    pub uid: Uid,
    pub key_expires: Timestamp,
}

/// Begins a connection on the trusted side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Start {
    pub username: Username,
}

/// A ticket that only the calling uid can approve. Its `Debug` form omits the ticket.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Started {
    /// The connection page's URL, with the ticket in its fragment.
    pub url: String,
    /// base64url.
    pub ticket: String,
    pub until: Timestamp,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("until", &self.until).finish_non_exhaustive()
    }
}

#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Await {
    /// The ticket of [`Started`].
    pub ticket: String,
}

impl std::fmt::Debug for Await {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Await")
    }
}

/// The state of a ticket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Awaited {
    /// No offer yet: ask again.
    Open,
    /// A key was offered.
    Offered {
        offer: Offer,
    },
    Approved,
    /// The ticket has ended.
    Dead {
        why: Death,
    },
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectList {
    /// Administrators: only connections after this user. Others omit both members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Username>,
    /// Administrators: `true` for all users' connections.
    #[serde(default)]
    pub all: bool,
}

/// A page of connections, by username.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connections {
    /// At most [`LIST_MAX`].
    pub connections: Vec<Connection>,
    /// Whether there are more after the last of these.
    pub more: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    pub username: Username,
    pub uid: Uid,
    /// The login name at the time of the connection.
    pub account: String,
    pub since: Timestamp,
    /// Keys that are active and not expired.
    pub active_keys: u32,
    /// Whether Core knows the connection's state: that it began or, if it has expired, that it
    /// ended.
    pub core_told: bool,
    /// When it expires or expired; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    #[serde(default)]
    pub instance_up: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remove {
    /// Defaults to the user connected to the calling uid. Administrators must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Removed {
    /// The users; the caller has to remove their pins.
    pub usernames: Vec<Username>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeysList {
    /// Defaults to the user connected to the calling uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
}

/// A user's keys, oldest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    pub keys: Vec<ListedKey>,
}

/// One key, as lists show it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListedKey {
    pub username: Username,
    pub kid: KeyId,
    pub algorithm: Algorithm,
    /// The protocol version that the key signs.
    pub protocol: Protocol,
    pub state: KeyState,
    /// In OpenSSH's format.
    pub fingerprint: String,
    /// The fingerprint in words, for people.
    pub words: [String; FINGERPRINT_WORDS],
    /// The owner's name for the key.
    pub name: String,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// The hour in which an intent of the key was last used; `None` if never.
    pub last_used: Option<Timestamp>,
}

/// Adds a key of a user who is connected to the calling uid. The caller has pinned it before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyAdd {
    /// Defaults to the user connected to the calling uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// 16 random bytes of the caller's.
    pub kid: KeyId,
    /// SubjectPublicKeyInfo, DER, standard base64.
    pub spki: String,
    pub algorithm: Algorithm,
    /// Version 1 only if the configuration accepts it.
    pub protocol: Protocol,
    /// At most the configured lifetime from now.
    pub expires: Timestamp,
    /// The owner's name for the key: 1 to [`KEY_NAME_MAX`] bytes, no control characters.
    pub name: String,
}

impl KeyAdd {
    /// The key of a record, as it was pinned.
    pub fn of(record: &KeyRecord) -> Self {
        Self {
            username: Some(record.owner.clone()),
            kid: record.kid,
            spki: record.spki.clone(),
            algorithm: record.algorithm,
            protocol: record.protocol,
            expires: record.expires,
            name: record.name.clone(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRevoke {
    /// Defaults to the user connected to the calling uid. Administrators must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    pub kid: KeyId,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Whoami {
    /// From the kernel.
    pub uid: Uid,
    /// The uid's login name, if it has one.
    pub account: Option<String>,
    /// The UCloud users connected to it: one, or several in development.
    pub usernames: Vec<Username>,
    /// The provider's id.
    pub provider: String,
    /// The provider's public origin.
    pub origin: String,
    /// Lifetime of a key, in seconds.
    pub key_lifetime_s: u64,
    /// Whether the caller may list and remove for others.
    pub administrator: bool,
    /// For administrators, how many users' connections or removals Core does not know yet; 0 for
    /// others.
    #[serde(default)]
    pub untold: usize,
}
