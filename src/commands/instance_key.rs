//! `~/.config/countersign/instance_key`: with it the user's instance signs one-time tokens (protocol, section 7).
//!
//! Made once, when the first key is approved. Its private half never leaves the account; what is passed on is the public half.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

use crate::clock::{NoRandomness, random_bytes};
use crate::commands::account::Account;
use crate::config::strict_file::StrictFileFailure;
use crate::exit::Exit;
use crate::instance_key::{self, FILE, LENGTH_MAX};
use crate::own_directory::{OwnDirectory, WriteFailure};
use crate::pin_file::DIRECTORY;

/// How often random bytes are drawn until they are a key. One draw in 2³² is not.
const DRAWS_MAX: usize = 8;

/// Why there is no instance key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceKeyFailure {
    /// It, or a directory above it, could have been read or written by others.
    #[error(transparent)]
    Strict(#[from] StrictFileFailure),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteFailure),
    /// It is not what was written there.
    #[error("~/.config/countersign/{FILE} is no P-256 key in PKCS #8 PEM: move it away, and approve again")]
    Form,
    /// It cannot be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl InstanceKeyFailure {
    /// The exit code: a key that others could have read or written is refused by a rule.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Strict(failure) | Self::Write(WriteFailure::Strict(failure)) if failure.is_exposure() => {
                Exit::Refused
            }
            Self::Strict(_) | Self::Write(_) | Self::Form | Self::Randomness(_) => Exit::Failure,
        }
    }
}

/// The public half of the account's instance key, as standard base64 of its SPKI. The key is made where there is none.
pub(super) fn public_half(account: &Account) -> Result<String, InstanceKeyFailure> {
    let directory = OwnDirectory::make(account.home(), account.uid(), &DIRECTORY)?;
    let key = match directory.strict().open(FILE) {
        Ok(opened) => {
            let pem = Secret::new(opened.private()?.read(LENGTH_MAX)?);
            instance_key::parse(&pem).ok_or(InstanceKeyFailure::Form)?
        }
        Err(failure) if failure.is_absence() => {
            let key = draw()?;
            let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| InstanceKeyFailure::Form)?;
            directory.replace(FILE, pem.as_bytes())?;
            key
        }
        Err(failure) => return Err(failure.into()),
    };
    let spki = key.public_key().to_public_key_der().map_err(|_| InstanceKeyFailure::Form)?;
    Ok(STANDARD.encode(spki.as_bytes()))
}

fn draw() -> Result<SecretKey, NoRandomness> {
    for _ in 0..DRAWS_MAX {
        let bytes = Secret::new(random_bytes::<32>()?);
        if let Ok(key) = SecretKey::from_slice(bytes.expose()) {
            return Ok(key);
        }
    }
    Err(NoRandomness)
}
