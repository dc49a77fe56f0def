//! `[[drives]]`: which folders users see, one for each user or one for each group that a user is in.
//!
//! What an id means comes from here and from nowhere else. The server reads from an id which drive it is; the user's own process
//! alone makes a path of it.

use std::path::{Path, PathBuf};

/// What stands for a group's name, in a drive's id, path and title.
pub(crate) const GROUP: &str = "{group}";

/// The longest id of a drive, in bytes, and the longest name of a group that can stand in one.
const NAME_MAX: usize = 64;

/// One of `[[drives]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Drive {
    /// UCloud's `providerGeneratedId`: 1 to 64 letters, digits, `.`, `-` or `_`; with [`GROUP`] in it once, a drive for each group.
    pub(crate) id: String,
    /// Where it is.
    pub(crate) root: DriveRoot,
    /// What users see it called.
    pub(crate) title: String,
    /// The product that it is made of; `None`: the first one for storage.
    pub(crate) product: Option<String>,
}

/// Where a drive is. [`GROUP`] stands in it where it stands in the drive's id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DriveRoot {
    /// Below the user's home directory; empty for the home itself. Relative, without `..`.
    Home(PathBuf),
    /// The same place for every user. Absolute, without `..`.
    Fixed(PathBuf),
}

/// The name of a group as it may stand in ids and paths: a name by the rule of ids, and none that a folder means something by.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct GroupName(String);

/// One drive of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct UserDrive {
    /// Its id.
    pub(crate) id: String,
    /// Its folder, absolute.
    pub(crate) path: PathBuf,
}

impl UserDrive {
    /// The ids of the drives whose folders are there, as this account sees it.
    pub(crate) fn there(drives: &[Self]) -> Vec<String> {
        drives.iter().filter(|drive| drive.path.is_dir()).map(|drive| drive.id.clone()).collect()
    }
}

impl GroupName {
    /// Reads one; groups with other names have no drives.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }
}

/// 1 to 64 letters, digits, `.`, `-` or `_`, beginning with a letter or digit: neither `.` nor `..`, and in no need of quoting anywhere.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

impl Drive {
    /// Whether there is one for each group.
    pub(crate) fn is_of_groups(&self) -> bool {
        self.id.contains(GROUP)
    }

    /// The title of the drive with that id, if that is one of these.
    pub(crate) fn title_of(&self, id: &str) -> Option<String> {
        match self.id.split_once(GROUP) {
            None => (self.id == id).then(|| self.title.clone()),
            Some((before, after)) => {
                let group = GroupName::parse(id.strip_prefix(before)?.strip_suffix(after)?)?;
                is_name(id).then(|| self.title.replace(GROUP, &group.0))
            }
        }
    }

    /// The drives of a user with that home, in those groups. Whether the folders are there is not looked at.
    pub(crate) fn all_of(drives: &[Self], home: &Path, groups: &[GroupName]) -> Vec<UserDrive> {
        let mut all: Vec<UserDrive> = Vec::new();
        for drive in drives {
            let of = |group: Option<&GroupName>| drive.of(home, group);
            let some: Vec<UserDrive> = if drive.is_of_groups() {
                groups.iter().filter_map(|group| of(Some(group))).collect()
            } else {
                of(None).into_iter().collect()
            };
            for drive in some {
                // Two patterns can make one id: the first in the configuration has it.
                if !all.iter().any(|other| other.id == drive.id) {
                    all.push(drive);
                }
            }
        }
        all
    }

    fn of(&self, home: &Path, group: Option<&GroupName>) -> Option<UserDrive> {
        let filled = |text: &str| group.map_or_else(|| text.to_owned(), |group| text.replace(GROUP, &group.0));
        let filled_path = |path: &Path| path.to_str().map(|path| PathBuf::from(filled(path)));
        let id = filled(&self.id);
        let path = match &self.root {
            DriveRoot::Home(below) => home.join(filled_path(below)?),
            DriveRoot::Fixed(path) => filled_path(path)?,
        };
        is_name(&id).then_some(UserDrive { id, path })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    fn drive(id: &str, root: DriveRoot) -> Drive {
        Drive { id: id.to_owned(), root, title: format!("Drive {id}"), product: None }
    }

    fn groups(names: &[&str]) -> Vec<GroupName> {
        names.iter().filter_map(|name| GroupName::parse(name)).collect()
    }

    #[test]
    fn each_group_has_its_drive_and_each_id_one_meaning() {
        let drives = [
            drive("home", DriveRoot::Home("".into())),
            drive("work-{group}", DriveRoot::Fixed("/projects/{group}/data".into())),
            drive("work-{group}-x", DriveRoot::Fixed("/x/{group}".into())),
            drive("own-{group}", DriveRoot::Home("shared/{group}".into())),
        ];
        let all = Drive::all_of(&drives, Path::new("/home/alice"), &groups(&["bio", "bio-x"]));
        let all: Vec<(&str, &str)> =
            all.iter().map(|drive| (drive.id.as_str(), drive.path.to_str().unwrap())).collect();
        assert_eq!(
            all,
            [
                ("home", "/home/alice/"),
                ("work-bio", "/projects/bio/data"),
                ("work-bio-x", "/projects/bio-x/data"),
                ("work-bio-x-x", "/x/bio-x"),
                ("own-bio", "/home/alice/shared/bio"),
                ("own-bio-x", "/home/alice/shared/bio-x"),
            ]
        );
        assert_eq!(Drive::all_of(&drives, Path::new("/h"), &[]).len(), 1);
    }

    #[test]
    fn a_group_whose_name_means_something_else_has_none() {
        for name in ["..", ".", "", "a/b", "a b", "{group}", "-x", ".x", "æ", &"x".repeat(65)] {
            assert_eq!(GroupName::parse(name), None, "{name:?}");
        }
        let long = drive("work-{group}", DriveRoot::Fixed("/projects/{group}".into()));
        assert!(Drive::all_of(&[long], Path::new("/h"), &groups(&[&"x".repeat(60)])).is_empty(), "too long an id");
    }

    #[test]
    fn an_id_is_of_a_drive_or_of_none() {
        let title = |drive: &Drive, id: &str| drive.title_of(id);
        let home = drive("home", DriveRoot::Home("".into()));
        assert_eq!(title(&home, "home").unwrap(), "Drive home");
        assert_eq!(title(&home, "home2"), None);
        let work =
            Drive { title: "Work of {group}".to_owned(), ..drive("work-{group}-x", DriveRoot::Fixed("/w".into())) };
        assert_eq!(title(&work, "work-bio-x").unwrap(), "Work of bio");
        for none in ["work--x", "work-x", "work-../..-x", "work-a/b-x", "work-{group}-x", "home"] {
            assert_eq!(title(&work, none), None, "{none}");
        }
    }
}
