//! Reads a user's own files that decide who may act as that user, by sshd's rules for
//! `authorized_keys`.
//!
//! From the home directory down, every directory and the file itself must belong to the user or
//! root. No other account may be able to write them. Does not follow symbolic links. Checks the
//! descriptor that is used next, never a name, so that no file can be exchanged in between (P3).

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use countersign_keys::identity::Uid;
use countersign_keys::time::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// Permission bits with which others than the owner could write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Permission bits with which others than the owner could do anything.
const ANYTHING_BY_OTHERS: u32 = 0o077;

/// After how long a file's version is taken to tell, in seconds.
const SETTLED_AFTER_S: i64 = 2;

#[derive(Debug, thiserror::Error)]
pub enum UserFileFailure {
    /// The file, or a directory above it, does not exist.
    #[error("{path} does not exist")]
    Absent { path: PathBuf },
    /// It cannot be opened, or is a symbolic link.
    #[error("cannot open {path} (symbolic links are not followed)")]
    Open {
        path: PathBuf,
        /// The cause.
        source: Errno,
    },
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another account owns it.
    #[error("{path} belongs to uid {owner}, and must belong to uid {wanted} or root")]
    Owner {
        path: PathBuf,
        owner: Uid,
        /// The account that should own it.
        wanted: Uid,
    },
    #[error("{path} has mode {mode:04o}: others can write it; chmod go-w {path}")]
    Writable {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret that others can read.
    #[error("{path} has mode {mode:04o}, and must be its owner's alone: chmod 0600 {path}")]
    Exposed {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A device, a pipe or a directory.
    #[error("{path} is not a regular file")]
    NotRegular { path: PathBuf },
    #[error("{path} is longer than {max} bytes")]
    TooLong {
        path: PathBuf,
        /// The limit, in bytes.
        max: usize,
    },
    /// The path leaves the home directory.
    #[error("{path} is not a plain path below the home directory")]
    Outside { path: PathBuf },
}

impl UserFileFailure {
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// Whether others could have written or read it.
    pub const fn is_exposure(&self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Writable { .. } | Self::Exposed { .. })
    }
}

/// Opens the file at `beneath`, below the directory `home` of the account `owner`.
///
/// # Errors
/// If it does not exist, or if another account than its owner or root could have written it.
pub fn open(home: &Path, beneath: &Path, owner: Uid) -> Result<Opened, UserFileFailure> {
    walk(home, beneath, owner).map(|(opened, _)| opened)
}

/// The file, and the directories down to it, the home first.
pub(crate) fn walk(
    home: &Path,
    beneath: &Path,
    owner: Uid,
) -> Result<(Opened, Vec<CheckedDirectory>), UserFileFailure> {
    let outside = || UserFileFailure::Outside { path: beneath.to_owned() };
    let mut directories = vec![CheckedDirectory::home(home, owner)?];
    let mut names = beneath.components().peekable();
    while let Some(component) = names.next() {
        let (Component::Normal(name), Some(directory)) = (component, directories.last()) else {
            return Err(outside());
        };
        let name = name.to_str().ok_or_else(outside)?;
        if names.peek().is_none() {
            return Ok((directory.open(name)?, directories));
        }
        let below = directory.enter(name)?;
        directories.push(below);
    }
    Err(outside())
}

/// An open file that only its owner or root can have written.
#[derive(Debug)]
pub struct Opened {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    stat: FileStat,
}

/// A fingerprint of a file's metadata. Another file, or a later version, has another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    pub(crate) const fn of(stat: &FileStat) -> Self {
        let FileStat { st_dev, st_ino, st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, .. } = *stat;
        Self {
            device: st_dev,
            inode: st_ino,
            size: st_size,
            modified: (st_mtime, st_mtime_nsec),
            changed: (st_ctime, st_ctime_nsec),
        }
    }

    /// Whether another change now would have another version: the clocks of file systems have steps
    /// of up to two seconds.
    pub const fn is_settled(&self, now: Timestamp) -> bool {
        now.seconds().saturating_sub(self.changed.0) > SETTLED_AFTER_S
    }
}

impl Opened {
    /// The metadata when the file was opened.
    pub const fn version(&self) -> FileVersion {
        FileVersion::of(&self.stat)
    }

    /// The owner: the account or root.
    pub const fn owner(&self) -> Uid {
        Uid(self.stat.st_uid)
    }

    /// Requires that only the owner can read it, for secrets.
    ///
    /// # Errors
    /// If others can read it.
    pub fn private(self) -> Result<Self, UserFileFailure> {
        let mode = self.stat.st_mode & 0o7777;
        if mode & ANYTHING_BY_OTHERS != 0 {
            return Err(UserFileFailure::Exposed { path: self.path, mode });
        }
        Ok(self)
    }

    /// Reads it, up to `max` bytes.
    ///
    /// # Errors
    /// If it is longer, or cannot be read.
    pub fn read(self, max: usize) -> Result<Vec<u8>, UserFileFailure> {
        let Self { file, path, stat: _ } = self;
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        match file.take(limit).read_to_end(&mut bytes) {
            Err(source) => Err(UserFileFailure::Read { path, source }),
            Ok(_) if bytes.len() > max => Err(UserFileFailure::TooLong { path, max }),
            Ok(_) => Ok(bytes),
        }
    }
}

/// An open directory in which only its owner or root can write.
#[derive(Debug)]
pub struct CheckedDirectory {
    pub(crate) descriptor: OwnedFd,
    path: PathBuf,
    owner: Uid,
    pub(crate) version: FileVersion,
}

impl CheckedDirectory {
    /// Opens the account's home. The path up to there is under root's control, so its links are
    /// followed.
    pub fn home(path: &Path, owner: Uid) -> Result<Self, UserFileFailure> {
        let descriptor = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| not_opened(path.to_owned(), errno))?;
        Self::checked(descriptor, path.to_owned(), owner)
    }

    /// Opens a directory in this one.
    pub fn enter(&self, name: &str) -> Result<Self, UserFileFailure> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.descriptor, single(name, &path)?, flags, Mode::empty())
            .map_err(|errno| not_opened(path.clone(), errno))?;
        Self::checked(descriptor, path, self.owner)
    }

    /// Opens a file in this directory.
    pub fn open(&self, name: &str) -> Result<Opened, UserFileFailure> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.descriptor, single(name, &path)?, flags, Mode::empty())
            .map_err(|errno| not_opened(path.clone(), errno))?;
        let stat = stat_of(&descriptor, &path)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(UserFileFailure::NotRegular { path });
        }
        refuse_others(&stat, &path, self.owner)?;
        Ok(Opened { file: File::from(descriptor), path, stat })
    }

    /// The open directory, to create files in.
    pub const fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// For messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn checked(descriptor: OwnedFd, path: PathBuf, owner: Uid) -> Result<Self, UserFileFailure> {
        let stat = stat_of(&descriptor, &path)?;
        refuse_others(&stat, &path, owner)?;
        Ok(Self { descriptor, path, owner, version: FileVersion::of(&stat) })
    }
}

/// Checks that this is one name, which cannot leave its directory.
fn single<'n>(name: &'n str, path: &Path) -> Result<&'n str, UserFileFailure> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(UserFileFailure::Outside { path: path.to_owned() });
    }
    Ok(name)
}

fn stat_of(descriptor: &OwnedFd, path: &Path) -> Result<FileStat, UserFileFailure> {
    fstat(descriptor.as_fd()).map_err(|errno| not_opened(path.to_owned(), errno))
}

fn refuse_others(stat: &FileStat, path: &Path, wanted: Uid) -> Result<(), UserFileFailure> {
    let owner = Uid(stat.st_uid);
    if owner != wanted && owner != Uid(0) {
        return Err(UserFileFailure::Owner { path: path.to_owned(), owner, wanted });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(UserFileFailure::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

fn not_opened(path: PathBuf, errno: Errno) -> UserFileFailure {
    if errno == Errno::ENOENT {
        UserFileFailure::Absent { path }
    } else {
        UserFileFailure::Open { path, source: errno }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const MAX: usize = 64;

    type Reading = fn(Opened) -> Result<Opened, UserFileFailure>;

    /// As pinned keys are read.
    const PINS: Reading = Ok;

    /// As a secret is read.
    const SECRET: Reading = Opened::private;

    /// Reads a home with `.config/countersign/authorized_keys` after `spoil`. The result has to
    /// contain `want`.
    fn check(spoil: impl FnOnce(&Path), read: Reading, want: &str) {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("authorized_keys");
        fs::write(&file, "pinned").unwrap();
        for (path, mode) in
            [(home.path(), 0o755), (&home.path().join(".config"), 0o755), (&directory, 0o700), (&file, 0o600)]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        spoil(home.path());
        let owner = Uid(nix::unistd::geteuid().as_raw());
        let beneath = Path::new(".config/countersign/authorized_keys");
        let opened = open(home.path(), beneath, owner);
        let got = match opened.and_then(read).and_then(|opened| opened.read(MAX)) {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(want), "got {got:?}, want {want:?}");
    }

    fn chmod(beneath: &'static str, mode: u32) -> impl FnOnce(&Path) {
        move |home| fs::set_permissions(home.join(beneath), fs::Permissions::from_mode(mode)).unwrap()
    }

    #[test]
    fn what_only_its_owner_could_write_is_read() {
        check(|_| {}, PINS, "pinned");
        check(|_| {}, SECRET, "pinned");
        check(chmod(".config/countersign/authorized_keys", 0o644), PINS, "pinned");
    }

    #[test]
    fn what_others_could_have_written_is_refused() {
        check(chmod("", 0o775), PINS, "others can write it");
        check(chmod("", 0o1777), PINS, "others can write it");
        check(chmod(".config", 0o770), PINS, ".config has mode 0770");
        check(chmod(".config/countersign", 0o702), PINS, "countersign has mode 0702");
        check(chmod(".config/countersign/authorized_keys", 0o660), PINS, "authorized_keys has mode 0660");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        check(chmod(".config/countersign/authorized_keys", 0o640), SECRET, "must be its owner's alone");
        check(chmod(".config/countersign/authorized_keys", 0o604), SECRET, "must be its owner's alone");
    }

    #[test]
    fn links_pipes_and_directories_are_refused() {
        let relink = |what: &'static str| {
            move |home: &Path| {
                let (link, away) = (home.join(what), home.join("away"));
                fs::rename(&link, &away).unwrap();
                symlink(&away, &link).unwrap();
            }
        };
        check(relink(".config"), PINS, "symbolic links are not followed");
        check(relink(".config/countersign"), PINS, "symbolic links are not followed");
        check(relink(".config/countersign/authorized_keys"), PINS, "symbolic links are not followed");
        let replace = |make: fn(&Path)| {
            move |home: &Path| {
                let file = home.join(".config/countersign/authorized_keys");
                fs::remove_file(&file).unwrap();
                make(&file);
            }
        };
        check(replace(|file| fs::create_dir(file).unwrap()), PINS, "is not a regular file");
        check(
            replace(|file| nix::unistd::mkfifo(file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap()),
            PINS,
            "is not a regular file",
        );
        check(replace(|_| {}), PINS, "authorized_keys does not exist");
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let fill = |length: usize| {
            move |home: &Path| fs::write(home.join(".config/countersign/authorized_keys"), "x".repeat(length)).unwrap()
        };
        check(fill(MAX), PINS, "xxx");
        check(fill(MAX + 1), PINS, "is longer than 64 bytes");
    }

    #[test]
    fn another_account_s_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("file"), "x").unwrap();
        let own = nix::unistd::geteuid().as_raw();
        // Root's files count as the user's, so this shows only if the tests do not run as root.
        let outcome = open(home.path(), Path::new("file"), Uid(own + 1));
        assert_eq!(matches!(outcome, Err(UserFileFailure::Owner { .. })), own != 0, "{outcome:?}");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owner = Uid(nix::unistd::geteuid().as_raw());
        for beneath in ["/etc/passwd", "../passwd", "./x", ""] {
            let outcome = open(home.path(), Path::new(beneath), owner);
            assert!(matches!(outcome, Err(UserFileFailure::Outside { .. })), "{beneath}: {outcome:?}");
        }
    }
}
