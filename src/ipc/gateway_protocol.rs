//! The control channel between the server and its gateway: one JSON message a line over a socket
//! pair.
//!
//! The gateway can ask for a key or an instance. No message adds a key or a mapping, and the one
//! that starts an instance does what any request of Core's would. The server pushes notices of what
//! has ended, and the gateway acknowledges them (P6). The gateway cannot open files while it
//! serves, so renewed files come through this channel too.

use countersign_keys::identity::{CallName, CoreJobId, KeyId, LinkName, Uid, Username};
use countersign_keys::intent::{Consent, Fingerprint};
use countersign_keys::keyring::KeyRecord;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::tcp_proof::ListenerKey;
use countersign_config::{GatewayRules, TlsFiles};
use countersign_metrics::Snapshot;

/// Longest line in either direction, in bytes. A key record with an RSA-4096 key is under 2 KiB;
/// four of them (version 1) with their frame are under 10 KiB.
pub const LINE_MAX: usize = 256 * 1024;

/// Most keys in one [`FromGateway::Used`]: with the longest usernames the line still fits
/// [`LINE_MAX`].
pub const USES_MAX: usize = 100;

/// A key of which an intent was consumed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UsedKey {
    pub username: Username,
    pub kid: KeyId,
}

/// The gateway's message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromGateway {
    /// Asks a question; the server answers with the same `id`.
    Ask {
        /// Chosen by the gateway, unique among its open questions.
        id: u64,
        question: Question,
    },
    /// Acknowledges all notices up to this one.
    Noted { notice: u64 },
    /// Reports keys used since the last report. Has no answer.
    Used {
        /// At most [`USES_MAX`].
        keys: Vec<UsedKey>,
    },
    /// An alarm was raised so often since it was told last. The gateway has logged it.
    Alarm { alarm: Alarm, count: u64 },
    /// The gateway serves its listening sockets.
    Ready,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// The user's key of this id.
    Key { username: Username, kid: KeyId },
    /// The user's version 1 keys: at most four.
    KeysV1 { username: Username },
    /// The user's instance, if one is up.
    Instance { username: Username },
    /// The user's instance, which is started if none is up. Asked if no Core would ask with `init`,
    /// and after the user's signature was verified. The answer comes when the instance is ready or
    /// has failed; other answers may come first.
    Launch { username: Username },
    /// The public half of the key with which the user's instance signs one-time tokens.
    InstanceKey { username: Username },
    /// Whether the user can sign intents.
    Signer { username: Username },
    /// Where requests for a public link go.
    Link { name: LinkName },
    /// Whether an intent needs a passkey's assertion, and the challenge for it.
    StepUp {
        username: Username,
        call: CallName,
        /// Whether a person confirmed before it was signed.
        consent: Consent,
        /// Digest of the whole intent.
        intent: Fingerprint,
        /// When the intent expires.
        until: Timestamp,
    },
    /// Whether a passkey's assertion for an intent is valid.
    Assertion {
        username: Username,
        /// Digest of the whole intent.
        intent: Fingerprint,
        /// `AuthenticationResponseJSON`, as the browser wrote it.
        credential: String,
    },
    /// What the server has counted.
    Metrics,
    /// Whether the server can do its part.
    Health,
}

/// Whether the server can do its part of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The key store answers.
    pub store: bool,
    /// The audit log can be written.
    pub log: bool,
}

/// Whether a user can sign intents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signer {
    /// The user is not connected, or the connection has expired.
    NotConnected,
    /// The user is connected but has no valid key.
    NoKey,
    HasKey,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "step_up", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepUp {
    /// The signature is enough.
    NotNeeded,
    /// An assertion is needed, but the user has no passkey.
    NoPasskey,
    /// The user has too many open challenges.
    TooMany,
    /// An assertion is needed.
    Challenge {
        /// `PublicKeyCredentialRequestOptionsJSON`.
        options: serde_json::Value,
    },
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum AssertionOutcome {
    Good,
    Refused {
        /// For the log.
        why: String,
    },
}

/// The server's message.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromServer {
    /// Answers the question of this `id`.
    Answer { id: u64, answer: Answer },
    /// Notifies of something that has ended; the gateway replies [`FromGateway::Noted`].
    Notice {
        /// Numbered from 1, without gaps.
        notice: u64,
        ended: Ended,
    },
    /// Finish requests in flight and exit.
    Stop,
}

/// An answer. Absence is an answer; a server that cannot tell sends [`Answer::Failed`], and the
/// request is refused as unavailable (P8).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The keys found: none, one, or up to four of version 1.
    Keys {
        /// In any state: the gateway checks state and expiry itself.
        keys: Vec<KeyRecord>,
    },
    Instance {
        instance: Whereabouts,
    },
    InstanceKey {
        /// SubjectPublicKeyInfo of a P-256 key, DER, standard base64; `None` if the user is not
        /// connected.
        spki: Option<String>,
    },
    Signer {
        signer: Signer,
    },
    Link {
        /// `None` if no running job has the link.
        target: Option<LinkTarget>,
    },
    StepUp {
        need: StepUp,
    },
    Assertion {
        outcome: AssertionOutcome,
    },
    Metrics {
        snapshot: Snapshot,
    },
    Health {
        health: Health,
    },
    /// The server could not find out.
    Failed,
}

/// The job that a public link belongs to. The owner's instance decides whether that job has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTarget {
    /// The owner.
    pub username: Username,
    pub job: CoreJobId,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whereabouts {
    Up(InstanceAddress),
    Down,
    /// The user's account may not have an instance, so asking for one is useless.
    Refused,
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceAddress {
    /// The instance's account; `None` if the configuration names the instance.
    pub uid: Option<Uid>,
    pub socket: SocketAddress,
    /// Authenticates both ends of a TCP connection. `None` if the kernel does that, and if the
    /// configuration names the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ListenerKey>,
}

/// A listening socket of this site.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketAddress {
    Unix(std::path::PathBuf),
    /// A loop-back address.
    Tcp(std::net::SocketAddr),
}

/// What has ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ended", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ended {
    /// A key was revoked or changed: forget it.
    Key { username: Username, kid: KeyId },
    /// Forget everything about this user: keys, mapping, instance.
    User { username: Username },
    /// The user's instance is gone.
    Instance { username: Username },
    /// A public link was deleted.
    Link { name: LinkName },
    /// The rules in use: a reload has changed them.
    Rules { rules: Box<GatewayRules> },
    /// The certificate in use: these are the certificate and its matching key now.
    Certificate { files: TlsFiles },
}
