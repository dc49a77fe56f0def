//! Keeps a look at a user's file, so that the next request need not open every directory again.
//!
//! The directories stay open. Whatever changes what a new look would find changes the metadata of
//! one of them (an entry, an owner, a mode), or what is at the end of the path.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use countersign_keys::time::Timestamp;
use nix::sys::stat::{fstat, stat};
use nix::sys::statfs::{self, FsType, fstatfs};

use crate::user_file::{self, CheckedDirectory, FileVersion, Opened, UserFileFailure};

/// File systems whose metadata show each change at once. Those of other machines (NFS, Lustre,
/// FUSE) show changes late, unless a file is opened again.
const PROMPT: [FsType; 5] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::TMPFS_MAGIC,
    statfs::OVERLAYFS_SUPER_MAGIC,
];

/// Opens the file at `beneath` like [`user_file::open`], and keeps the look at its path, if it can
/// be kept. `now`: the system's time.
///
/// # Errors
/// As for [`user_file::open`].
pub fn open_kept(
    home: &Path,
    beneath: &Path,
    owner: Uid,
    now: Timestamp,
) -> Result<(Opened, Option<KeptLook>), UserFileFailure> {
    let (opened, directories) = user_file::walk(home, beneath, owner)?;
    let kept = KeptLook::of(&opened, directories, now);
    Ok((opened, kept))
}

/// A look at a file and at the directories above it, down from the home.
#[derive(Debug)]
pub struct KeptLook {
    path: PathBuf,
    version: FileVersion,
    directories: Vec<(OwnedFd, FileVersion)>,
}

impl KeptLook {
    /// `None` if a change could be missed: on other file systems, and just after a change.
    fn of(opened: &Opened, directories: Vec<CheckedDirectory>, now: Timestamp) -> Option<Self> {
        let version = Some(opened.version()).filter(|version| version.is_settled(now))?;
        let directories: Option<Vec<_>> = directories
            .into_iter()
            .map(|CheckedDirectory { descriptor, version, .. }| {
                (version.is_settled(now) && is_prompt(&descriptor)).then_some((descriptor, version))
            })
            .collect();
        is_prompt(&opened.file).then_some(Self { path: opened.path.clone(), version, directories: directories? })
    }

    /// Whether a new look would find the same file, of the same content, in the same directories.
    pub fn still_holds(&self) -> bool {
        let is_same = |(descriptor, version): &(OwnedFd, FileVersion)| {
            fstat(descriptor.as_fd()).is_ok_and(|stat| FileVersion::of(&stat) == *version)
        };
        // By its path, and last: another home, or a mount on the way, leads elsewhere.
        self.directories.iter().all(is_same)
            && stat(&self.path).is_ok_and(|stat| FileVersion::of(&stat) == self.version)
    }
}

fn is_prompt(descriptor: &impl AsFd) -> bool {
    fstatfs(descriptor).is_ok_and(|found| PROMPT.contains(&found.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    const BENEATH: &str = ".config/countersign/authorized_keys";

    /// Later than whatever a test writes.
    const LATER: Timestamp = Timestamp::from_seconds(i64::MAX / 2);

    fn look(home: &Path, now: Timestamp) -> Option<KeptLook> {
        let owner = Uid(nix::unistd::geteuid().as_raw());
        open_kept(home, BENEATH.as_ref(), owner, now).unwrap().1
    }

    fn home_in(folder: &Path) -> PathBuf {
        let home = folder.join("home");
        let directory = home.join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        fs::write(home.join(BENEATH), "pinned").unwrap();
        for path in [&home, &home.join(".config"), &directory, &home.join(BENEATH)] {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        home
    }

    /// Waits until the file system's clock is past a file's last change.
    fn wait_for_the_clock(folder: &Path, file: &Path) {
        let changed = |path: &Path| fs::metadata(path).map(|found| (found.ctime(), found.ctime_nsec())).unwrap();
        while changed(file) >= {
            fs::write(folder.join("probe"), "").unwrap();
            changed(&folder.join("probe"))
        } {}
    }

    /// A change of the home, or of what is below it, after which the look does not hold.
    fn check(change: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let home = home_in(folder.path());
        wait_for_the_clock(folder.path(), &home.join(BENEATH));
        let kept = look(&home, LATER).expect("the temporary directory is on a file system of this machine");
        assert!(kept.still_holds());
        change(&home);
        assert!(!kept.still_holds());
    }

    fn chmod(beneath: &str) -> impl FnOnce(&Path) {
        move |home| fs::set_permissions(home.join(beneath), Permissions::from_mode(0o770)).unwrap()
    }

    #[test]
    fn p6_every_change_ends_a_kept_look() {
        check(|home| fs::write(home.join(BENEATH), "another").unwrap());
        check(|home| OpenOptions::new().append(true).open(home.join(BENEATH)).unwrap().write_all(b"x").unwrap());
        check(|home| fs::remove_file(home.join(BENEATH)).unwrap());
        check(|home| {
            fs::write(home.join("new"), "pinned").unwrap();
            fs::rename(home.join("new"), home.join(BENEATH)).unwrap();
        });
        for above in [".config/countersign", ".config", ""] {
            check(chmod(above));
        }
        check(chmod(BENEATH));
        check(|home| fs::rename(home.join(".config"), home.join("config")).unwrap());
        check(|home| {
            // The same file by another way, which a new look would refuse.
            fs::rename(home.join(".config"), home.join("config")).unwrap();
            std::os::unix::fs::symlink("config", home.join(".config")).unwrap();
        });
        // Only root can: the home is another one.
        check(|home| {
            fs::rename(home, home.with_extension("old")).unwrap();
            home_in(home.parent().unwrap());
        });
        check(|home| fs::rename(home, home.with_extension("old")).unwrap());
    }

    #[test]
    fn p6_of_a_file_system_that_may_show_changes_late_no_look_is_kept() {
        // procfs stands in for one of another machine.
        let (home, owner) = (format!("/proc/{}", std::process::id()), Uid(nix::unistd::geteuid().as_raw()));
        let (_, kept) = open_kept(home.as_ref(), "status".as_ref(), owner, LATER).unwrap();
        assert!(kept.is_none());
    }

    #[test]
    fn p6_just_after_a_change_no_look_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = home_in(folder.path());
        let changed = fs::metadata(&home).unwrap().modified().unwrap();
        let seconds = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let changed = Timestamp::from_seconds(i64::try_from(seconds).unwrap());
        for (later_s, want) in [(-3600, false), (0, false), (2, false), (5, true)] {
            assert_eq!(look(&home, changed.plus(later_s)).is_some(), want, "{later_s}");
        }
    }
}
