//! A file locked for one process.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};

/// An open file and its lock, which is released on drop. Closing alone would not release it: a
/// program that another thread is just starting holds the descriptor too, until it runs.
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Takes the lock.
    ///
    /// # Errors
    /// If another process, or another part of this one, has it.
    pub fn take(file: File) -> Result<Self, TryLockError> {
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
        // If this fails, the file is closed all the same.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
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
