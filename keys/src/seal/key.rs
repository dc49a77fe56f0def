//! The instance's side of the key agreement: HPKE in base mode (RFC 9180 section 5.1.1).

use std::fmt;

use hpke::aead::{AeadCtxR, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, Serializable as _};
use zeroize::Zeroizing;

use crate::seal::agreement::{POINT, SealClaim, SealFailure};
use crate::seal::record::{Opener, RecordKey, Sealer};
use crate::secret::Secret;
use crate::session::SealedOpening;

type Kem = DhP256HkdfSha256;
type Context = AeadCtxR<AesGcm256, HkdfSha256, Kem>;

/// Labels of the exporter contexts. Their lengths differ, and so do those of whole contexts.
const UP: &[u8] = b"countersign up";
const DOWN: &[u8] = b"countersign down";
const PIECE: &[u8] = b"countersign piece";
const PIECE_ANSWER: &[u8] = b"countersign piece answer";

/// The private key of one token. Dropping it zeroes it.
#[derive(Debug)]
pub struct SealKey(Secret<[u8; 32]>);

impl SealKey {
    /// A key from 32 random bytes (`DeriveKeyPair`, RFC 9180 section 7.1.3). The bytes must be
    /// used for nothing else.
    #[must_use]
    pub const fn derive(random: [u8; 32]) -> Self {
        Self(Secret::new(random))
    }

    /// The claim of the token.
    #[must_use]
    pub fn claim(&self) -> SealClaim {
        let (_, public) = Kem::derive_keypair(self.0.expose());
        let mut point = [0; POINT];
        public.write_exact(&mut point);
        SealClaim::of(&point)
    }

    /// Runs `SetupBaseR`.
    pub(super) fn set_up(self, enc: &[u8; POINT], info: &[u8]) -> Result<Context, SealFailure> {
        let (private, _) = Kem::derive_keypair(self.0.expose());
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc).map_err(|_| SealFailure::Point)?;
        hpke::setup_receiver::<AesGcm256, HkdfSha256, Kem>(&OpModeR::Base, &private, &enc, info)
            .map_err(|_| SealFailure::Point)
    }
}

impl SealedOpening {
    /// Agrees on the session's keys. Consumes the token's private key, so that one token seals one
    /// session.
    ///
    /// # Errors
    /// The encapsulated key is no point of the curve.
    pub fn accept(&self, key: SealKey) -> Result<SealedSession, SealFailure> {
        let context = key.set_up(self.enc().as_bytes(), self.token().as_bytes())?;
        Ok(SealedSession { context, intent: *self.intent() })
    }
}

/// A session whose keys only the user and the instance have. Only [`SealedOpening::accept`] makes
/// one.
pub struct SealedSession {
    context: Context,
    /// SHA-256 of the intent that opened the session.
    intent: [u8; 32],
}

impl fmt::Debug for SealedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSession")
    }
}

impl SealedSession {
    /// Opens and seals the records of a socket.
    ///
    /// # Errors
    /// A key cannot be derived.
    pub fn into_socket(self) -> Result<(Opener, Sealer), SealFailure> {
        let opener = Opener::new(&self.export(&[UP, &self.intent])?)?;
        Ok((opener, Sealer::new(&self.export(&[DOWN, &self.intent])?)?))
    }

    /// Seals the records of a download.
    ///
    /// # Errors
    /// A key cannot be derived.
    pub fn into_download(self) -> Result<Sealer, SealFailure> {
        Sealer::new(&self.export(&[DOWN, &self.intent])?)
    }

    /// Opens the records of one piece of an upload. The client draws the salt for each time that it
    /// seals a piece, so no two of them share a key.
    pub(super) fn piece(&self, salt: &[u8; 16], offset: i64, total: i64) -> Result<Opener, SealFailure> {
        Opener::new(&self.export(&[PIECE, salt, &offset.to_be_bytes(), &total.to_be_bytes()])?)
    }

    /// Seals the answer to one piece. All answers to one piece are the same records, so that a
    /// piece that comes again uses no nonce for another plaintext.
    pub(super) fn piece_answer(&self, salt: &[u8; 16], offset: i64, total: i64) -> Result<Sealer, SealFailure> {
        Sealer::new(&self.export(&[PIECE_ANSWER, salt, &offset.to_be_bytes(), &total.to_be_bytes()])?)
    }

    /// Seals a piece as a client does.
    #[cfg(any(test, fuzzing))]
    pub(super) fn piece_sealer(&self, salt: &[u8; 16], offset: i64, total: i64) -> Result<Sealer, SealFailure> {
        Sealer::new(&self.export(&[PIECE, salt, &offset.to_be_bytes(), &total.to_be_bytes()])?)
    }

    fn export(&self, context: &[&[u8]]) -> Result<RecordKey, SealFailure> {
        let mut key = Zeroizing::new([0; 32]);
        self.context.export(&context.concat(), key.as_mut_slice()).map_err(|_| SealFailure::Derivation)?;
        Ok(key)
    }
}
