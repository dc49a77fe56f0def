//! `~/.config/countersign/instance_key.PROVIDER`: with it the user's instance signs one-time tokens
//! (protocol, section 7).
//!
//! Made once at each provider, when the first key is approved. Its private half never leaves the
//! account; what is passed on is the public half.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::identity::ProviderId;
use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

use crate::clock::{NoRandomness, random_bytes};
use crate::commands::account::Account;
use crate::commands::used_intents;
use crate::config::strict_file::StrictFileFailure;
use crate::exit::Exit;
use crate::instance_key::{self, LENGTH_MAX, SHARED_FILE, file_of};
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
    #[error("~/.config/countersign/{file} is no P-256 key in PKCS #8 PEM: move it away, and approve again")]
    Form {
        /// Its name.
        file: String,
    },
    /// It cannot be written as text.
    #[error("the instance key cannot be written as PEM")]
    Encoding,
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
            Self::Strict(_) | Self::Write(_) | Self::Form { .. } | Self::Encoding | Self::Randomness(_) => {
                Exit::Failure
            }
        }
    }
}

/// The public half of the account's instance key at a provider, as standard base64 of its SPKI. The
/// key is made where there is none.
///
/// The key of earlier releases is the provider's if it was used there: instances have left their
/// journal, and browsers have pinned that key.
pub(super) fn public_half(account: &Account, provider: &ProviderId) -> Result<String, InstanceKeyFailure> {
    let directory = OwnDirectory::make(account.home(), account.uid(), &DIRECTORY)?;
    let own = file_of(provider);
    let key = match read(&directory, &own)? {
        Some(key) => key,
        None => {
            let earlier = if used_intents::was_used(account, provider) { read(&directory, SHARED_FILE)? } else { None };
            match earlier {
                Some(key) => key,
                None => make(&directory, &own)?,
            }
        }
    };
    let spki = key.public_key().to_public_key_der().map_err(|_| InstanceKeyFailure::Encoding)?;
    Ok(STANDARD.encode(spki.as_bytes()))
}

fn read(directory: &OwnDirectory, file: &str) -> Result<Option<SecretKey>, InstanceKeyFailure> {
    match directory.strict().open(file) {
        Ok(opened) => {
            let pem = Secret::new(opened.private()?.read(LENGTH_MAX)?);
            instance_key::parse(&pem).map(Some).ok_or_else(|| InstanceKeyFailure::Form { file: file.to_owned() })
        }
        Err(failure) if failure.is_absence() => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn make(directory: &OwnDirectory, file: &str) -> Result<SecretKey, InstanceKeyFailure> {
    let key = draw()?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| InstanceKeyFailure::Encoding)?;
    directory.replace(file, pem.as_bytes())?;
    Ok(key)
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
