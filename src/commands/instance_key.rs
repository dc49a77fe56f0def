//! The instance key, `~/.config/countersign/instance_key.PROVIDER`. The user's instance signs
//! one-time tokens with it (protocol, section 7).
//!
//! Made once for each provider, when the first key is approved. The private half never leaves the
//! account; only the public half is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::identity::ProviderId;
use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

use crate::commands::account::Account;
use crate::commands::used_intents;
use countersign_config::user_file::UserFileFailure;
use countersign_home::instance_key::{self, LENGTH_MAX, SHARED_FILE, file_of};
use countersign_home::own_directory::{OwnDirectory, WriteFailure};
use countersign_home::pin_file::DIRECTORY;
use countersign_os::clock::{NoRandomness, random_bytes};
use countersign_os::exit_code::Exit;

/// How often random bytes are drawn until they are a valid key. One draw in 2³² is not.
const DRAWS_MAX: usize = 8;

/// Why there is no instance key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceKeyFailure {
    /// Other accounts could read or write the file, or a directory above it.
    #[error(transparent)]
    Strict(#[from] UserFileFailure),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteFailure),
    /// The file does not contain such a key.
    #[error("~/.config/countersign/{file} is not a P-256 key in PKCS #8 PEM: move it away, and approve again")]
    Form {
        /// The file's name.
        file: String,
    },
    /// The key cannot be encoded.
    #[error("the instance key cannot be written as PEM")]
    Encoding,
    /// There are no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl InstanceKeyFailure {
    /// The exit code. A key that other accounts could read or write counts as refused.
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

/// The public half of the account's instance key for a provider, as standard base64 of its SPKI.
/// Makes the key if there is none.
///
/// Adopts the key of earlier releases if it was used with this provider: instances left their
/// journal there, and browsers have pinned that key.
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
