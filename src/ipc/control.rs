//! The line between the server and its gateway: one JSON message a line over a socket pair.
//!
//! The gateway can ask for a key or an instance and nothing more: no message here adds a key or a
//! mapping, and the one that starts an instance does what any request of Core's would. The server
//! can push what has ended, and the gateway says when it has taken note (P6). The gateway opens no
//! file once it serves: what was renewed in one comes this way too.

use countersign_keys::identity::{CallName, KeyId, Uid, Username};
use countersign_keys::intent::{Consent, Fingerprint};
use countersign_keys::keyring::KeyRecord;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::tcp_proof::ListenerKey;
use crate::config::{Maintenance, TlsFiles};

/// The longest line either side reads. A key record with an RSA-4096 key is under 2 KiB; four of
/// them (version 1) with their frame are under 10 KiB.
pub(crate) const LINE_MAX: usize = 64 * 1024;

/// The most listening sockets that a gateway gets, and addresses that a configuration names.
pub(crate) const LISTENERS_MAX: usize = 16;

/// The most keys in one [`FromGateway::Used`]: with the longest names the line is within
/// [`LINE_MAX`].
pub(crate) const USES_MAX: usize = 100;

/// A key of which an intent was used up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsedKey {
    /// Its owner.
    pub(crate) username: Username,
    /// Its id.
    pub(crate) kid: KeyId,
}

/// What the gateway says to the server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromGateway {
    /// Asks something; the server answers with the same `id`.
    Ask {
        /// Chosen by the gateway, unique among its open questions.
        id: u64,
        /// The question.
        question: Question,
    },
    /// Everything up to this notice has been acted on.
    Noted {
        /// The notice's number.
        notice: u64,
    },
    /// These keys were used since the gateway last said so; nothing is answered.
    Used {
        /// At most [`USES_MAX`].
        keys: Vec<UsedKey>,
    },
    /// The gateway serves its listening sockets.
    Ready,
}

/// What the gateway may ask.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Question {
    /// The user's key of this id.
    Key {
        /// The key's owner.
        username: Username,
        /// The key's id.
        kid: KeyId,
    },
    /// The user's version 1 keys: at most four.
    KeysV1 {
        /// The keys' owner.
        username: Username,
    },
    /// The instance that serves this user, if one is up.
    Instance {
        /// The user.
        username: Username,
    },
    /// The same, and it is started first if none is up. Asked where there is no Core that would ask
    /// for it with `init`, and after the user's signature was verified. The answer comes when the
    /// instance is ready or cannot be; others are given meanwhile.
    Launch {
        /// The user.
        username: Username,
    },
    /// The public half of the key with which this user's instance signs one-time tokens.
    InstanceKey {
        /// The user.
        username: Username,
    },
    /// Whether an intent of this user can come at all.
    Signer {
        /// The user.
        username: Username,
    },
    /// Whether an intent needs a passkey's assertion, and the challenge for it.
    StepUp {
        /// Whose intent.
        username: Username,
        /// For which call.
        call: CallName,
        /// Whether a person was asked before it was signed.
        consent: Consent,
        /// The intent, to the last byte.
        intent: Fingerprint,
        /// When it ends.
        until: Timestamp,
    },
    /// What a passkey asserted for an intent.
    Assertion {
        /// Whose intent.
        username: Username,
        /// The intent, to the last byte.
        intent: Fingerprint,
        /// `AuthenticationResponseJSON`, as the browser wrote it.
        credential: String,
    },
}

/// Whether an intent of a user can come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signer {
    /// The user is not connected, or the connection is over.
    NotConnected,
    /// The user is connected, and has no key that speaks for them.
    NoKey,
    /// The user has a key.
    HasKey,
}

/// Whether an intent needs a passkey's assertion.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "step_up", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StepUp {
    /// The signature is enough.
    NotNeeded,
    /// It does, and the user has none.
    NoPasskey,
    /// Too many challenges of the user are open.
    TooMany,
    /// It does.
    Challenge {
        /// `PublicKeyCredentialRequestOptionsJSON`.
        options: serde_json::Value,
    },
}

/// What an assertion is worth.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AssertionOutcome {
    /// The intent is asserted.
    Good,
    /// It is not.
    Refused {
        /// The reason, for the log.
        why: String,
    },
}

/// What the server says to the gateway.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromServer {
    /// Answers the question of this `id`.
    Answer {
        /// The question's number.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Tells of something that has ended; the gateway replies [`FromGateway::Noted`].
    Notice {
        /// Numbered from 1, without gaps.
        notice: u64,
        /// What has ended.
        ended: Ended,
    },
    /// Finish what is under way and exit.
    Stop,
}

/// An answer. Absence is an answer; a server that cannot tell says [`Answer::Failed`], and the
/// request is refused as unavailable (P8).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// The keys found: none, one, or up to four of version 1.
    Keys {
        /// In any state: the gateway judges state and expiry itself.
        keys: Vec<KeyRecord>,
    },
    /// The user's instance.
    Instance {
        /// Where it is.
        instance: Whereabouts,
    },
    /// The key of the user's instance.
    InstanceKey {
        /// SubjectPublicKeyInfo of a P-256 key, DER, standard base64; `None`: the user is not
        /// connected.
        spki: Option<String>,
    },
    /// Whether an intent of the user can come.
    Signer {
        /// What the user has to sign with.
        signer: Signer,
    },
    /// Whether an intent needs a passkey.
    StepUp {
        /// The answer.
        need: StepUp,
    },
    /// What an assertion is worth.
    Assertion {
        /// The answer.
        outcome: AssertionOutcome,
    },
    /// The server could not find out.
    Failed,
}

/// Where an instance is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whereabouts {
    /// It is ready, and listens here.
    Up(InstanceAddress),
    /// None is up.
    Down,
    /// The user's account can have none: nothing comes of asking for one.
    Refused,
}

/// Where an instance listens.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceAddress {
    /// The account that the instance runs as; `None` for one that the configuration names.
    pub(crate) uid: Option<Uid>,
    /// Its socket.
    pub(crate) socket: SocketAddress,
    /// What shows both ends of a TCP connection to it who the other is. `None` where the kernel
    /// says so, and for one that the configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<ListenerKey>,
}

/// A listening socket of ours.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SocketAddress {
    /// A Unix socket's path.
    Unix(std::path::PathBuf),
    /// A loop-back address.
    Tcp(std::net::SocketAddr),
}

/// What is no longer so.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ended", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ended {
    /// A key was revoked, or changed in any way: forget what was remembered of it.
    Key {
        /// The key's owner.
        username: Username,
        /// The key's id.
        kid: KeyId,
    },
    /// Nothing that was remembered of this user holds: keys, mapping, instance.
    User {
        /// The user.
        username: Username,
    },
    /// The user's instance is gone.
    Instance {
        /// The user.
        username: Username,
    },
    /// What stood in the files when the gateway began; it cannot open them again, so here is what
    /// stands there.
    Files {
        /// Who is served.
        maintenance: Maintenance,
        /// The certificate and its key, which fit each other; `None`: those in use stay.
        tls: Option<TlsFiles>,
    },
}
