//! Sealed sessions: what user and instance exchange inside a session, closed to the gateway and to
//! everything else on the way (protocol, section 10).
//!
//! ```text
//! SealKey ──► SealedOpening::accept ──► SealedSession ──► Opener, Sealer, PieceReader
//! of a token   the verified intent        HPKE context      keys by `Export`
//! ```
//!
//! The instance makes a [`SealKey`] for each token, and the user's intent signs the encapsulated
//! key. Each direction and each piece of an upload has a key of its own, exported from the HPKE
//! context. A record that is altered, repeated, moved or missing does not open, and nothing after
//! it does. Random bytes are arguments. Keeps P3 inside sessions.

mod agreement;
#[cfg(feature = "seal")]
mod frames;
#[cfg(all(any(test, fuzzing), feature = "seal"))]
pub mod fuzzing;
#[cfg(feature = "seal")]
mod key;
#[cfg(feature = "seal")]
mod piece;
#[cfg(feature = "seal")]
mod record;
#[cfg(all(test, feature = "seal"))]
mod tests;

pub use crate::seal::agreement::{EncapsulatedKey, KEM, POINT, SealClaim, SealFailure};
#[cfg(feature = "seal")]
pub use crate::seal::frames::Frames;
#[cfg(feature = "seal")]
pub use crate::seal::key::{SealKey, SealedSession};
#[cfg(feature = "seal")]
pub use crate::seal::piece::{PieceReader, SALT, plaintext_of};
#[cfg(feature = "seal")]
pub use crate::seal::record::{
    Kind, MessageReader, Opener, PLAINTEXT_MAX, RECORD_MAX, RECORD_OVERHEAD, Received, RecordRejection, Sealer,
};
