//! Files with secrets: named in the configuration, opened only by the process that needs one.
//!
//! Requires a regular file of mode 0600 or 0400 that belongs to root or its reader. Checks the
//! descriptor that is then read.

use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use countersign_keys::secret::Secret;
use nix::errno::Errno;
use nix::unistd::AccessFlags;

use crate::admin_file::{self, FileReason};

/// Longest secret, in bytes. A TLS key with its comments is under 8 KiB.
const SECRET_MAX: u64 = 64 * 1024;

/// Longest token, in bytes.
const TOKEN_MAX: u64 = 4 * 1024;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SecretFileError(#[from] FileReason);

/// The path of a secret. [`SecretFile::read`] checks the file, each time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretFile {
    path: PathBuf,
    reader: Uid,
}

impl SecretFile {
    pub const fn new(path: PathBuf, reader: Uid) -> Self {
        Self { path, reader }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secret, without surrounding white space.
    pub fn read(&self) -> Result<Secret<String>, SecretFileError> {
        self.read_at_most(SECRET_MAX)
    }

    fn read_at_most(&self, max: u64) -> Result<Secret<String>, SecretFileError> {
        let path = self.path.as_path();
        let (file, metadata) = admin_file::open(path)?;
        admin_file::refuse_owned_by_others(path, &metadata, self.reader)?;
        let mode = admin_file::permissions(&metadata);
        if !matches!(mode, 0o600 | 0o400) {
            return Err(FileReason::Exposed { path: path.to_owned(), mode }.into());
        }
        let text = Secret::new(admin_file::read_limited(path, file, max)?);
        let trimmed = text.expose().trim();
        if trimmed.is_empty() {
            return Err(FileReason::Empty { path: path.to_owned() }.into());
        }
        Ok(Secret::new(trimmed.to_owned()))
    }

    /// Reads a secret that is one word of printable ASCII, such as a token: no second line, no byte
    /// order mark.
    pub fn read_token(&self) -> Result<Secret<String>, SecretFileError> {
        let token = self.read_at_most(TOKEN_MAX)?;
        if token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(token);
        }
        Err(FileReason::NotToken { path: self.path.clone() }.into())
    }

    /// Whether this process could open it, or that is unknown. An instance that can should not run.
    pub fn is_within_reach(&self) -> bool {
        !matches!(nix::unistd::access(&self.path, AccessFlags::R_OK), Err(Errno::EACCES | Errno::ENOENT))
    }
}
