//! The sessions that this instance has granted with one-time tokens. A signed call creates a
//! session, its token opens it once, and it ends with the process.
//!
//! A token says little. Its session records here what it grants, so that no client gets more than
//! the user signed. No session survives a restart, and a token without a session opens nothing. The
//! token of a job's interface alone says what it opens, because a page keeps it for hours.

mod instance_key;
pub(crate) mod issue;
pub(crate) mod served;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::{CallName, Origin, ProviderId, Username};
use countersign_keys::intent::ItemDigest;
use countersign_keys::jws::JwsRejection;
use countersign_keys::keyring::VerificationKey;
use countersign_keys::seal::{SealClaim, SealFailure, SealKey};
use countersign_keys::session::{
    Grant, INTERFACE_LIFETIME_S, InterfaceClaim, InterfaceKind, Opening, ProofNeed, SealNeed, SessionPermit,
    TOKEN_LIFETIME_S, TokenHash, Unsealed,
};
use tokio::time::Instant;

use self::instance_key::InstanceKey;
use self::served::Served;
use crate::account::OwnAccount;
use crate::jobs::shell::JobShell;
use crate::uploads::chunked::Upload;
use countersign_config::{Config, Terminals, WebPlace};
use countersign_os::clock::{Clock, NoRandomness, UnreadableClock, random_bytes};

/// How long an open session may be unused before it ends: a lost connection may come back.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// Most sessions at once, open or waiting. One request may ask for a thousand.
const SESSIONS_MAX: usize = 4096;

/// Why no token is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("this account has no usable instance key: approve a connection again")]
    NoKey,
    #[error("too many transfers and terminals are open or waiting")]
    TooMany,
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the token cannot be written")]
    Unwritable(#[from] JwsRejection),
}

/// Why a valid token opens nothing here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OpenError {
    /// An earlier instance process made the token, or its session has ended.
    #[error("there is no such session (any more): ask for another")]
    Unknown,
    #[error("the session is open already")]
    Open,
    #[error("the session has not been opened")]
    Waiting,
    #[error(transparent)]
    Seal(#[from] SealFailure),
}

/// What a session grants.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    Download {
        /// The file's id, as the user signed it.
        id: String,
    },
    /// A file, or a folder's files.
    Upload(Arc<Upload>),
    /// A terminal.
    Shell {
        /// The folder's id, as the user signed it.
        folder: String,
    },
    /// A shell in a job.
    JobShell(JobShell),
}

/// The item of a signed call for which a token is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedItem<'p> {
    pub(crate) username: &'p Username,
    pub(crate) call: &'p CallName,
    pub(crate) digest: ItemDigest,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    state: State,
    until: Instant,
}

#[derive(Debug)]
enum State {
    /// Not opened. The private key of its token, if the token offers a seal.
    Waiting(Option<SealKey>),
    Plain(Unsealed),
    Sealed,
}

impl Entry {
    const fn is_open(&self) -> bool {
        matches!(self.state, State::Plain(_) | State::Sealed)
    }

    /// Opens or continues the session. A private key is used or dropped when its token is redeemed.
    fn serve(&mut self, opening: Option<&Opening>) -> Result<Served, OpenError> {
        match (&mut self.state, opening) {
            (State::Waiting(key), Some(Opening::Sealed(opening))) => {
                let key = key.take().ok_or(OpenError::Unknown)?;
                let session = opening.accept(key)?;
                self.state = State::Sealed;
                Ok(Served::Sealed(Box::new(session)))
            }
            (State::Waiting(_), Some(Opening::Unsealed(evidence))) => {
                self.state = State::Plain(*evidence);
                Ok(Served::Plain(*evidence))
            }
            (State::Waiting(_), None) => Err(OpenError::Waiting),
            (State::Plain(_) | State::Sealed, Some(_)) => Err(OpenError::Open),
            (State::Plain(evidence), None) => Ok(Served::Plain(*evidence)),
            (State::Sealed, None) => Ok(Served::SealedBefore),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    key: Option<InstanceKey>,
    audience: Origin,
    provider: ProviderId,
    proof: ProofNeed,
    seal: SealNeed,
    terminals: Terminals,
    lifetime_s: i64,
    entries: Mutex<HashMap<TokenHash, Entry>>,
}

impl Sessions {
    pub(crate) fn of(account: &OwnAccount, config: &Config) -> Self {
        Self {
            key: InstanceKey::of(account, &config.provider.id),
            audience: config.provider.origin.clone(),
            provider: config.provider.id.clone(),
            proof: config.served().sessions.proof,
            seal: config.served().sessions.sealed,
            terminals: config.served().terminals,
            lifetime_s: TOKEN_LIFETIME_S.min(config.served().intent.lifetime_max_s),
            entries: Mutex::default(),
        }
    }

    /// Whether using a token takes a proof.
    pub(crate) const fn proof(&self) -> ProofNeed {
        self.proof
    }

    /// Whether sessions are sealed.
    pub(crate) const fn seal(&self) -> SealNeed {
        self.seal
    }

    pub(crate) const fn terminals(&self) -> Terminals {
        self.terminals
    }

    /// The public half of this instance's key. `None` if there is no usable key.
    pub(crate) fn public_key(&self) -> Option<&VerificationKey> {
        self.key.as_ref().map(InstanceKey::public)
    }

    /// The provider's URL for a path, with the scheme of its origin (`http` or `https`) or, for a
    /// WebSocket, `ws` or `wss`.
    pub(crate) fn endpoint(&self, websocket: bool, below: &str) -> String {
        let origin = self.audience.as_str();
        let origin = if websocket { origin.replacen("http", "ws", 1) } else { origin.to_owned() };
        format!("{origin}{}", self.path(below))
    }

    /// The path of one of the provider's endpoints.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/ucloud/{}/{below}", self.provider)
    }

    /// The provider's origin, for WebSockets.
    pub(crate) fn websocket_origin(&self) -> String {
        self.audience.as_str().replacen("http", "ws", 1)
    }

    /// Makes a token for one item of a signed call, and the session that it opens.
    pub(crate) fn grant(&self, item: &SignedItem<'_>, scope: Scope) -> Result<String, IssueError> {
        let seal = match self.seal {
            SealNeed::Required | SealNeed::Preferred => Some(SealKey::derive(random_bytes()?)),
            SealNeed::Off => None,
        };
        let claim = seal.as_ref().map(SealKey::claim);
        let token = self.token(item, self.lifetime_s, claim.as_ref(), None)?;
        let lifetime = Duration::from_secs(u64::try_from(self.lifetime_s).unwrap_or(0));
        let mut entries = self.entries();
        if entries.len() >= SESSIONS_MAX {
            return Err(IssueError::TooMany);
        }
        entries.insert(
            TokenHash::of(&token),
            Entry { scope, state: State::Waiting(seal), until: Instant::now() + lifetime },
        );
        Ok(token)
    }

    /// Makes a token for an interface of a job. It says itself what it opens, so no session waits
    /// for it. Without the proof that the site requires it opens nothing, so it may live for hours.
    pub(crate) fn grant_interface(
        &self,
        item: &SignedItem<'_>,
        kind: InterfaceKind,
        place: &WebPlace,
        origin: Option<String>,
    ) -> Result<String, IssueError> {
        let origin = origin.unwrap_or_else(|| self.audience.as_str().to_owned());
        let claim = InterfaceClaim { kind, place: place.to_string(), origin };
        let lifetime_s = match self.proof {
            ProofNeed::Required => INTERFACE_LIFETIME_S,
            ProofNeed::Off => self.lifetime_s,
        };
        self.token(item, lifetime_s, None, Some(&claim))
    }

    fn token(
        &self,
        &SignedItem { username, call, digest }: &SignedItem<'_>,
        lifetime_s: i64,
        seal: Option<&SealClaim>,
        interface: Option<&InterfaceClaim>,
    ) -> Result<String, IssueError> {
        let key = self.key.as_ref().ok_or(IssueError::NoKey)?;
        let (audience, now) = (&self.audience, Clock::System.now()?);
        let grant = Grant { audience, username, call, item: digest, now, lifetime_s, seal, interface };
        let input = grant.signing_input(random_bytes()?)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()))))
    }

    /// Opens the session of a permitted request, or continues it.
    pub(crate) fn open(&self, permit: &SessionPermit<'_>) -> Result<(Scope, Served), OpenError> {
        let mut entries = self.entries();
        let entry = entries.get_mut(&permit.session().hash()).ok_or(OpenError::Unknown)?;
        let served = entry.serve(permit.opening())?;
        entry.until = Instant::now() + IDLE_MAX;
        Ok((entry.scope.clone(), served))
    }

    /// Ends a session: its token opens nothing any more.
    pub(crate) fn close(&self, hash: TokenHash) {
        self.entries().remove(&hash);
    }

    /// Removes and returns the sessions that have ended. Dropping one may wait for the disk,
    /// because the unfinished part of its upload is removed with it.
    pub(crate) fn take_expired(&self) -> Vec<Scope> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.extract_if(|_, entry| now >= entry.until).map(|(_, entry)| entry.scope).collect()
    }

    /// How many are open. A session that waits to be opened does not keep the instance running.
    pub(crate) fn count_open(&self) -> usize {
        self.entries().values().filter(|entry| entry.is_open()).count()
    }

    /// The sessions that have not ended. Removes the others.
    fn entries(&self) -> MutexGuard<'_, HashMap<TokenHash, Entry>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.retain(|_, entry| now < entry.until);
        entries
    }
}

#[cfg(test)]
mod tests;
