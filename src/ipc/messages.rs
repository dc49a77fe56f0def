//! What is asked of the server over its Unix socket, and what it answers: one path an operation,
//! `POST`, JSON.
//!
//! No message says who asks: the server takes uid, gid and pid from the kernel. A uid sees and
//! changes only what is its own; uid 0 and the server's own uid may also list and remove for
//! others, and nothing else. Refusals have a status code and a [`Refused`] body.

mod instances;

use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::keyring::{Algorithm, FINGERPRINT_WORDS, KeyRecord, KeyState, Protocol};
pub(crate) use countersign_keys::store::records::{Begun, Death};
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::instances::{
    DRIVES_MAKE, DRIVES_REMOVE, DRIVES_REPORT, DriveTable, DrivesReport, MadeDrive, Making, MakingAnswer,
    NumberedDrive, RemovedDrive, TASK_SILENCE_MAX_S, TASK_TEXT_MAX, TASKS_BEGIN, TASKS_TELL, TaskBegun, TaskKnown,
    TaskNumber, TaskState, TaskStatus, TaskTold,
};

/// The longest request or answer body. A list of every key of one user (16 of at most 1 KiB) is 16
/// KiB; an administrator's list of all connections comes in pages of [`LIST_MAX`].
pub(crate) const BODY_MAX: usize = 256 * 1024;

/// The longest that the server keeps a long poll open, in seconds: below the usual 30 s of anything
/// that times out.
pub(crate) const POLL_MAX_S: u64 = 25;

/// The most connections in one answer of [`CONNECT_LIST`].
pub(crate) const LIST_MAX: usize = 500;

/// Describes the pending offer that a code names. [`Find`] → [`Offer`].
pub(crate) const CONNECT_FIND: &str = "/connect/find";
/// Approves it, for the uid that asks. [`Approve`] → [`Approved`].
pub(crate) const CONNECT_APPROVE: &str = "/connect/approve";
/// Begins a connection here, bound to the uid that asks. [`Start`] → [`Started`].
pub(crate) const CONNECT_START: &str = "/connect/start";
/// Waits, up to [`POLL_MAX_S`], for an offer to such a ticket. [`Await`] → [`Awaited`].
pub(crate) const CONNECT_AWAIT: &str = "/connect/await";
/// Who is connected. [`ConnectList`] → [`Connections`].
pub(crate) const CONNECT_LIST: &str = "/connect/list";
/// Ends connections: mapping removed, keys revoked, Core told. [`Remove`] → [`Removed`].
pub(crate) const CONNECT_REMOVE: &str = "/connect/remove";
/// The keys of a user. [`KeysList`] → [`Keys`].
pub(crate) const KEYS_LIST: &str = "/keys/list";
/// Activates another key of a user who is connected. [`KeyAdd`] → [`Empty`].
pub(crate) const KEYS_ADD: &str = "/keys/add";
/// Revokes a key; answers when no gateway honours it any more (P6). [`KeyRevoke`] → [`Empty`].
pub(crate) const KEYS_REVOKE: &str = "/keys/revoke";
/// Who the server takes the caller for. [`Empty`] → [`Whoami`].
pub(crate) const WHOAMI: &str = "/whoami";

/// The longest name of a key, in bytes: a line of the pins file stays readable.
pub(crate) const KEY_NAME_MAX: usize = 64;

/// What is said of a name that is none.
pub(crate) const KEY_NAME_RULE: &str = "a key's name has 1 to 64 bytes and no control characters";

/// Whether a key may be called that, by its owner or their browser: it is shown in terminals and
/// stands in a line of its own.
pub(crate) fn is_key_name(name: &str) -> bool {
    (1..=KEY_NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

/// The body of every refusal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status_code: u16,
    /// One sentence for the person who asked.
    pub(crate) why: String,
    /// The kind, for programs: see [`super::answers::ErrorCode`].
    pub(crate) error_code: String,
}

/// Asks for the offer that a code names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Find {
    /// As the connection page showed it.
    pub(crate) code: String,
}

/// A key that was offered and waits for approval. Whoever shows it computes the code again from
/// `ticket_hash`, `username` and `spki`, and refuses one that differs from what was typed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Offer {
    /// The code.
    pub(crate) code: String,
    /// SHA-256 of the ticket, base64url.
    pub(crate) ticket_hash: String,
    /// The UCloud user who is being connected.
    pub(crate) username: Username,
    /// The offered key: SubjectPublicKeyInfo, DER, standard base64.
    pub(crate) spki: String,
    /// What it signs with.
    pub(crate) algorithm: Algorithm,
    /// The id that it will have.
    pub(crate) kid: KeyId,
    /// What OpenSSH would print of it.
    pub(crate) fingerprint: String,
    /// What the browser calls itself; chosen by whoever made the offer.
    pub(crate) name: String,
    /// When it was offered.
    pub(crate) offered: Timestamp,
    /// From which address, as the gateway saw it.
    pub(crate) address: String,
    /// Where the connection was begun.
    pub(crate) begun: Begun,
    /// Until when it can be approved.
    pub(crate) until: Timestamp,
    /// When the key will expire if approved now.
    pub(crate) key_expires: Timestamp,
    /// The provider's id.
    pub(crate) provider: String,
    /// The provider's public origin.
    pub(crate) origin: String,
}

/// Approves an offer, after the key has been pinned in the account of the uid that asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Approve {
    /// The offer's code.
    pub(crate) code: String,
    /// The login name that the caller takes itself for; the server checks that it is the uid's.
    pub(crate) account: String,
    /// The public half of the account's instance key: SubjectPublicKeyInfo of a P-256 key, DER,
    /// standard base64.
    pub(crate) instance_key: String,
}

/// An approval that has taken effect here; Core is told in the background until it has heard.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Approved {
    /// The user.
    pub(crate) username: Username,
    /// The key that is active now.
    pub(crate) kid: KeyId,
    /// The uid that the user is mapped to.
    pub(crate) uid: Uid,
    /// When the key expires.
    pub(crate) key_expires: Timestamp,
}

/// Begins a connection on the trusted side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Start {
    /// The UCloud user.
    pub(crate) username: Username,
}

/// A ticket that only the uid that asked can approve. Its `Debug` form leaves the ticket out.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Started {
    /// The connection page's address, with the ticket in its fragment.
    pub(crate) url: String,
    /// The ticket, base64url.
    pub(crate) ticket: String,
    /// Until when it is good.
    pub(crate) until: Timestamp,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Waits for an offer.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Await {
    /// The ticket of [`Started`].
    pub(crate) ticket: String,
}

impl std::fmt::Debug for Await {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Await")
    }
}

/// What became of the ticket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Awaited {
    /// Nothing yet: ask again.
    Open,
    /// A key was offered.
    Offered {
        /// The offer.
        offer: Offer,
    },
    /// Approved.
    Approved,
    /// Nothing can come of it any more.
    Dead {
        /// Why.
        why: Death,
    },
}

/// Asks who is connected.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConnectList {
    /// Administrators: everybody's, from the user after this one on. Others leave both out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Username>,
    /// Administrators: `true` for everybody's.
    #[serde(default)]
    pub(crate) all: bool,
}

/// Some connections, by username.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Connections {
    /// At most [`LIST_MAX`].
    pub(crate) connections: Vec<Connection>,
    /// Whether there are more after the last of these.
    pub(crate) more: bool,
}

/// A connected user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Connection {
    /// The UCloud user.
    pub(crate) username: Username,
    /// The uid.
    pub(crate) uid: Uid,
    /// The login name at the time of the connection.
    pub(crate) account: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// How many keys are active and have not expired.
    pub(crate) active_keys: u32,
    /// Whether Core has heard how it stands: that it began or, where its time is over, that it
    /// ended.
    pub(crate) core_told: bool,
    /// When it ends, or ended, by itself; `None`: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends: Option<Timestamp>,
    /// Whether the user's instance is up.
    #[serde(default)]
    pub(crate) instance_up: bool,
}

/// Ends connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Remove {
    /// The UCloud user; left out: whoever is connected to the uid that asks. Administrators must
    /// name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<Username>,
}

/// What was ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Removed {
    /// The users; their pins are the caller's to remove.
    pub(crate) usernames: Vec<Username>,
}

/// Asks for a user's keys.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeysList {
    /// The UCloud user; left out: whoever is connected to the uid that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<Username>,
}

/// A user's keys, the oldest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Keys {
    /// The keys.
    pub(crate) keys: Vec<ListedKey>,
}

/// One key, as lists show it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListedKey {
    /// Its owner.
    pub(crate) username: Username,
    /// Its id.
    pub(crate) kid: KeyId,
    /// What it signs with.
    pub(crate) algorithm: Algorithm,
    /// The version of the protocol that it is good for.
    pub(crate) protocol: Protocol,
    /// Active or revoked.
    pub(crate) state: KeyState,
    /// What OpenSSH would print of it.
    pub(crate) fingerprint: String,
    /// The same in words, for people.
    pub(crate) words: [String; FINGERPRINT_WORDS],
    /// What its owner calls it.
    pub(crate) name: String,
    /// When it was added.
    pub(crate) created: Timestamp,
    /// When it expires.
    pub(crate) expires: Timestamp,
    /// The beginning of the hour in which an intent of it was last used; `None`: never.
    pub(crate) last_used: Option<Timestamp>,
}

/// Adds a key of a user who is connected to the uid that asks; the caller has pinned it before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeyAdd {
    /// The UCloud user; left out: whoever is connected to the uid that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<Username>,
    /// 16 random bytes of the caller's.
    pub(crate) kid: KeyId,
    /// SubjectPublicKeyInfo, DER, standard base64.
    pub(crate) spki: String,
    /// What it signs with.
    pub(crate) algorithm: Algorithm,
    /// The version of the protocol; version 1 only where the configuration accepts it.
    pub(crate) protocol: Protocol,
    /// When it expires; at most the configured lifetime from now.
    pub(crate) expires: Timestamp,
    /// What its owner calls it: 1 to [`KEY_NAME_MAX`] bytes, no control characters.
    pub(crate) name: String,
}

impl KeyAdd {
    /// The key of a record, as it was pinned.
    pub(crate) fn of(record: &KeyRecord) -> Self {
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

/// Revokes a key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeyRevoke {
    /// The UCloud user; left out: whoever is connected to the uid that asks. Administrators must
    /// name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<Username>,
    /// The key.
    pub(crate) kid: KeyId,
}

/// Who the caller is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Whoami {
    /// From the kernel.
    pub(crate) uid: Uid,
    /// The uid's login name, if it has one.
    pub(crate) account: Option<String>,
    /// The UCloud users connected to it: one, or in development several.
    pub(crate) usernames: Vec<Username>,
    /// The provider's id.
    pub(crate) provider: String,
    /// The provider's public origin.
    pub(crate) origin: String,
    /// How long a key lives, in seconds.
    pub(crate) key_lifetime_s: u64,
    /// Whether the caller may list and remove for others.
    pub(crate) administrator: bool,
    /// For administrators, of how many users Core has still to hear that they are connected, or no
    /// longer; for others 0.
    #[serde(default)]
    pub(crate) untold: usize,
}
