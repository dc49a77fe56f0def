//! Refuses access to the protected folders: Countersign's own, and `~/.ssh` unless the site allows
//! it.
//!
//! Writing to them through UCloud could install keys without approval (P2, P3), so every call is
//! refused whatever was signed. [`Protection`] names the folders. [`Protected`] is what those names
//! lead to at one moment, by device and inode, with the folders above them. A name on the way to a
//! protected folder is protected too: a folder cannot be exchanged by exchanging one above it.

mod whose;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

pub(crate) use self::whose::Whose;
use super::error::FilesError;
use super::identity::{Identity, Kind};
use countersign_config::SshDirectory;

/// Countersign's folders below the home directory: the pinned keys and the instance key; the
/// journal and the drive numbers.
const OWN: [&str; 2] = [".config/countersign", ".local/state/countersign"];
/// Where sshd and ssh keep keys, below the home directory.
const SSH: &str = ".ssh";
/// Most symbolic links in one path: as many as the kernel follows.
const LINKS_MAX: u32 = 40;
/// Most files that are recorded in the protected folders. Beyond that, files with several hard
/// links are not read through any drive.
const FILES_MAX: usize = 4096;
/// Deepest level that is looked at in the protected folders: each level holds two descriptors.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Clone, Default)]
pub(crate) struct Protection {
    home: PathBuf,
    /// Below the home directory.
    folders: Vec<(&'static str, Whose)>,
}

impl Protection {
    /// The protected folders of an account with this home. `~/.ssh` is one unless the site lets
    /// drives show it.
    pub(crate) fn of(home: &Path, ssh: SshDirectory) -> Self {
        let own = OWN.iter().map(|folder| (*folder, Whose::Countersign));
        let ssh = Some((SSH, Whose::Ssh)).filter(|_| ssh == SshDirectory::Protected);
        Self { home: home.to_owned(), folders: own.chain(ssh).collect() }
    }

    /// Finds what the names lead to at this moment.
    ///
    /// # Errors
    /// If the system fails: then nothing is known to be unprotected.
    pub(crate) fn look(&self) -> Result<Arc<Protected>, FilesError> {
        let mut protected = Protected::default();
        if self.folders.is_empty() {
            return Ok(Arc::new(protected));
        }
        let root = open("/", folder_flags(), Mode::empty()).map_err(FilesError::from)?;
        let mut trace = Trace { protected: &mut protected, end: None, links: 0 };
        trace.above(&root)?;
        let home = trace.follow(root, &self.home)?;
        let Some(home) = home else { return Ok(Arc::new(protected)) };
        for (folder, whose) in &self.folders {
            let mut trace = Trace { protected: &mut protected, end: Some(*whose), links: 0 };
            let home = home.try_clone()?;
            if let Some(end) = trace.follow(home, Path::new(folder))? {
                protected.inside.insert(identity(&end)?, *whose);
                protected.look_through(&end, *whose, 0)?;
            }
        }
        Ok(Arc::new(protected))
    }
}

/// What is protected at one moment.
#[derive(Debug, Default)]
pub(crate) struct Protected {
    /// The protected folders, and the folders in them.
    inside: HashMap<Identity, Whose>,
    /// The files in them, by which hard links elsewhere are recognised.
    files: HashMap<Identity, Whose>,
    /// Whether some files are not in `files`: more than [`FILES_MAX`], too deep, or unreadable.
    has_more_files: bool,
    /// The folders on the way to the protected ones.
    above: HashSet<Identity>,
    /// The names on the way to them, each with the folder that holds it. The last name of a way has
    /// the owner of the protected folder. The name need not exist.
    entries: Vec<(Identity, Vec<u8>, Option<Whose>)>,
}

impl Protected {
    /// Refuses a protected folder. The caller finds out whether a folder lies in one.
    pub(super) fn check_folder(&self, folder: Identity) -> Result<(), FilesError> {
        self.inside.get(&folder).map_or(Ok(()), |whose| Err(FilesError::Protected(*whose)))
    }

    /// Refuses a file of a protected folder, under any name.
    pub(super) fn check_file(&self, stat: &FileStat) -> Result<(), FilesError> {
        match self.files.get(&Identity::of(stat)) {
            Some(whose) => Err(FilesError::Protected(*whose)),
            None if self.has_more_files && Kind::of(stat) == Kind::File && stat.st_nlink > 1 => {
                Err(FilesError::Protected(Whose::Ssh))
            }
            None => Ok(()),
        }
    }

    /// Refuses a change of what is protected or holds a protected folder.
    pub(super) fn check_change(&self, stat: &FileStat) -> Result<(), FilesError> {
        self.check_folder(Identity::of(stat))?;
        self.check_file(stat)?;
        if self.is_above(Identity::of(stat)) { Err(FilesError::HoldsProtected) } else { Ok(()) }
    }

    /// Refuses a name on the way to a protected folder, whether or not it exists.
    pub(super) fn check_entry(&self, folder: Identity, name: &[u8]) -> Result<(), FilesError> {
        let entry = self.entries.iter().find(|(of, entry, _)| *of == folder && is_like(name, entry));
        match entry {
            None => Ok(()),
            Some((.., Some(whose))) => Err(FilesError::Protected(*whose)),
            Some((.., None)) => Err(FilesError::HoldsProtected),
        }
    }

    /// Whether a folder is on the way to a protected one.
    pub(super) fn is_above(&self, folder: Identity) -> bool {
        self.above.contains(&folder)
    }

    /// Records everything that a protected folder holds.
    fn look_through(&mut self, folder: &OwnedFd, whose: Whose, depth: usize) -> Result<(), FilesError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let listed = match openat(folder, ".", flags, Mode::empty()) {
            Ok(listed) if depth < DEPTH_MAX => listed,
            Ok(_) | Err(Errno::EACCES) => {
                self.has_more_files = true;
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        };
        for entry in Dir::from_fd(listed).map_err(FilesError::from)? {
            let entry = entry.map_err(FilesError::from)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.files.len().saturating_add(self.inside.len()) >= FILES_MAX {
                self.has_more_files = true;
                return Ok(());
            }
            let stat = match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(errno) if is_nowhere(errno) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if Kind::of(&stat) != Kind::Folder {
                self.files.insert(Identity::of(&stat), whose);
                continue;
            }
            match openat(folder, name, folder_flags() | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(inner) => {
                    self.inside.insert(identity(&inner)?, whose);
                    self.look_through(&inner, whose, depth + 1)?;
                }
                Err(errno) if is_nowhere(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Follows a path name by name, and records every folder and name on the way, including those of
/// links.
struct Trace<'p> {
    protected: &'p mut Protected,
    /// The owner of the folder at the path's end, if that folder is protected.
    end: Option<Whose>,
    links: u32,
}

impl Trace<'_> {
    /// Where the path leads; `None` if it leads nowhere, or where this account cannot go.
    fn follow(&mut self, start: OwnedFd, path: &Path) -> Result<Option<OwnedFd>, FilesError> {
        let mut at = start;
        let mut ahead = names(path);
        while let Some(name) = ahead.pop() {
            let is_jump = name == "/" || name == "..";
            if !is_jump {
                let end = self.end.filter(|_| ahead.is_empty());
                let entry = (identity(&at)?, name.as_bytes().to_vec(), end);
                if !self.protected.entries.contains(&entry) {
                    self.protected.entries.push(entry);
                }
            }
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let next = match openat(&at, name.as_os_str(), flags, Mode::empty()) {
                Ok(next) => next,
                Err(errno) if is_nowhere(errno) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            match Kind::of(&fstat(&next)?) {
                Kind::Folder => {
                    self.above(&next)?;
                    at = next;
                }
                Kind::Link => {
                    self.links += 1;
                    if self.links > LINKS_MAX {
                        return Ok(None);
                    }
                    let target = readlinkat(next.as_fd(), "").map_err(FilesError::from)?;
                    ahead.extend(names(Path::new(&target)));
                }
                Kind::File | Kind::Special => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn above(&mut self, folder: &OwnedFd) -> Result<(), FilesError> {
        self.protected.above.insert(identity(folder)?);
        Ok(())
    }
}

/// The names of a path, the last first; `/` stands for the root.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::CurDir | Component::Prefix(_) => None,
        Component::RootDir | Component::ParentDir | Component::Normal(_) => Some(component.as_os_str().to_owned()),
    };
    path.components().rev().filter_map(name).collect()
}

const fn folder_flags() -> OFlag {
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC)
}

fn identity(folder: &OwnedFd) -> Result<Identity, FilesError> {
    Ok(Identity::of(&fstat(folder)?))
}

/// Whether a path ends here for this account, and so for every client that acts through it.
const fn is_nowhere(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::ENAMETOOLONG)
}

/// Whether a file system may treat two names as one: some ignore case, or characters that show
/// nothing. All protected names are ASCII. So other characters are dropped before the comparison,
/// except the two that fold to ASCII letters.
fn is_like(name: &[u8], protected: &[u8]) -> bool {
    if name == protected {
        return true;
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let folded = name.chars().filter_map(|letter| match letter {
        'ſ' => Some(b's'),
        '\u{212a}' => Some(b'k'),
        letter => u8::try_from(letter).ok().filter(u8::is_ascii),
    });
    protected.is_ascii() && folded.map(|byte| byte.to_ascii_lowercase()).eq(protected.to_ascii_lowercase())
}
