//! A file that one process at a time has to itself.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};

/// An open file and its lock, which is given back with it. To close the file would not do that: a
/// program that is just being started by another thread has the descriptor as well, until it runs.
#[derive(Debug)]
pub(crate) struct LockedFile(File);

impl LockedFile {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another process has it, or so has another part of this one.
    pub(crate) fn take(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockedFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Where it fails the file is closed all the same.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_lock_is_given_back_although_a_copy_of_the_descriptor_is_left() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let locked = LockedFile::take(open()).unwrap();
        let copy = locked.try_clone().unwrap();
        assert!(matches!(LockedFile::take(open()), Err(TryLockError::WouldBlock)));
        drop(locked);
        LockedFile::take(open()).unwrap();
        drop(copy);
    }
}
