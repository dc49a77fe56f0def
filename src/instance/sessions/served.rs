//! How the requests of a session are served: in plaintext or sealed (protocol, section 10).

use countersign_keys::seal::SealedSession;
use countersign_keys::session::Unsealed;

/// How an open session is served. The evidence of its opening decides, and nothing else does.
#[derive(Debug)]
pub(crate) enum Served {
    Plain(Unsealed),
    /// The request opens the session.
    Sealed(Box<SealedSession>),
    /// An earlier request opened it, sealed.
    SealedBefore,
}
