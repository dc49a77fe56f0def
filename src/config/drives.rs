//! `[[drives]]`: the folders that users see: one for each user, one for each of a user's groups, or
//! those that users make.
//!
//! Only the configuration maps ids to folders. The server derives from an id which drive it names;
//! only the user's own process makes a path of it.

use std::path::{Path, PathBuf};

use countersign_keys::identity::Username;
use countersign_keys::store::drives::DRIVES_MAX;

use super::Product;

/// Placeholder for a group's name in a drive's id, path and title.
pub const GROUP: &str = "{group}";

/// Placeholder for the name of a user-made drive in the id, path and title.
pub const NAME: &str = "{name}";

/// Longest id of a drive, and longest name in one, in bytes.
const NAME_MAX: usize = 64;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drive {
    /// UCloud's `providerGeneratedId`: 1 to 64 letters, digits, `.`, `-` or `_`. [`GROUP`] in it
    /// once makes a drive for each group; [`NAME`] allows users to make drives.
    pub id: String,
    pub root: DriveRoot,
    /// For users.
    pub title: String,
    /// The product; `None` for the first storage product.
    pub product: Option<String>,
}

/// Where a drive is. Contains [`GROUP`] if the drive's id does; [`NAME`] is its last component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DriveRoot {
    /// Below the user's home directory; empty for the home itself. Relative, without `..`.
    Home(PathBuf),
    /// The same place for every user. Absolute, without `..`.
    Fixed(PathBuf),
}

/// The name of a group or of a user-made drive, safe in ids and paths. It follows the rule of ids,
/// and has no special meaning as a path component.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PlainName(String);

/// One drive of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserDrive {
    pub id: String,
    /// Absolute.
    pub path: PathBuf,
}

/// All drives of a user: the configured ones, and those that the user made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserDrives {
    configured: Vec<UserDrive>,
    made: Option<MadeDrives>,
}

/// Where a user makes drives: each is a folder directly below one reserved for them. That folder's
/// content is the list of drives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MadeDrives {
    /// The parts of their ids before and after the name.
    around: (String, String),
    /// The folder that contains them.
    pub parent: PathBuf,
}

impl UserDrives {
    /// The folder of an id, if it names a drive. The folder may not exist.
    pub fn folder(&self, id: &str) -> Option<PathBuf> {
        let configured = self.configured.iter().find(|drive| drive.id == id).map(|drive| drive.path.clone());
        configured.or_else(|| self.made_as(id).map(|(made, name)| made.folder(&name)))
    }

    pub fn has(&self, id: &str) -> bool {
        self.folder(id).is_some()
    }

    /// The user-made drives and the name in this id, if it is one of theirs.
    pub fn made_as(&self, id: &str) -> Option<(&MadeDrives, PlainName)> {
        if self.is_configured(id) {
            return None;
        }
        let made = self.made.as_ref()?;
        Some((made, name_in(id, (&made.around.0, &made.around.1))?))
    }

    pub fn configured(&self) -> &[UserDrive] {
        &self.configured
    }

    /// The user-made drives, if the site offers them.
    pub const fn made(&self) -> Option<&MadeDrives> {
        self.made.as_ref()
    }

    /// The ids of drives whose folders exist for this account, up to the limit of drives.
    pub fn there(&self) -> Vec<String> {
        let configured = self.configured.iter().filter(|drive| drive.path.is_dir()).map(|drive| drive.id.clone());
        configured.chain(self.made_there()).take(DRIVES_MAX).collect()
    }

    /// The configured ids, and those of existing user-made drives.
    pub fn ids(&self) -> Vec<String> {
        self.configured.iter().map(|drive| drive.id.clone()).chain(self.made_there()).collect()
    }

    fn made_there(&self) -> impl Iterator<Item = String> {
        self.made.iter().flat_map(MadeDrives::there).filter(|id| !self.is_configured(id))
    }

    fn is_configured(&self, id: &str) -> bool {
        self.configured.iter().any(|drive| drive.id == id)
    }
}

impl<I: IntoIterator<Item = (String, PathBuf)>> From<I> for UserDrives {
    /// Configured drives alone, by id and folder.
    fn from(drives: I) -> Self {
        Self { configured: drives.into_iter().map(|(id, path)| UserDrive { id, path }).collect(), made: None }
    }
}

impl MadeDrives {
    /// The id of the drive with this name, unless it is too long.
    pub fn id(&self, name: &PlainName) -> Option<String> {
        let id = format!("{}{}{}", self.around.0, name.0, self.around.1);
        is_name(&id).then_some(id)
    }

    pub fn folder(&self, name: &PlainName) -> PathBuf {
        self.parent.join(&name.0)
    }

    /// The ids of the existing ones. A link to a folder does not count.
    fn there(&self) -> Vec<String> {
        let folders = std::fs::read_dir(&self.parent).into_iter().flatten().filter_map(Result::ok);
        let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let id = |entry: std::fs::DirEntry| self.id(&PlainName::parse(entry.file_name().to_str()?)?);
        let mut ids: Vec<String> = folders.filter_map(id).collect();
        ids.sort_unstable();
        ids
    }
}

/// The name between these parts of an id.
fn name_in(id: &str, (before, after): (&str, &str)) -> Option<PlainName> {
    let name = PlainName::parse(id.strip_prefix(before)?.strip_suffix(after)?)?;
    is_name(id).then_some(name)
}

impl PlainName {
    /// Parses a name. Groups and folders with other names are not drives.
    pub fn parse(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }
}

/// 1 to 64 letters, digits, `.`, `-` or `_`, beginning with a letter or digit. So neither `.` nor
/// `..`, and never in need of quoting.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

impl Drive {
    /// Whether there is one for each group.
    pub fn is_of_groups(&self) -> bool {
        self.id.contains(GROUP)
    }

    /// Whether users make these drives.
    pub fn is_made(&self) -> bool {
        self.id.contains(NAME)
    }

    /// The product, if the site has it for storage.
    pub fn product_among<'p>(&self, products: &'p [Product]) -> Option<&'p Product> {
        Product::storage_among(products, self.product.as_deref())
    }

    /// Core's `providerGeneratedId` of the user's drive with that id: kind, owner and id.
    ///
    /// Core keeps one unique index of these for each provider, over all users and kinds of
    /// resources, and its process ends if one is repeated. It shows a user the drive with `h-` as
    /// the preferred one. The id has no colon, so the last colon ends the owner's name. Other kinds
    /// of resources take other letters.
    pub fn id_at_core(&self, owner: &Username, id: &str) -> String {
        let kind = if self.root == DriveRoot::Home(PathBuf::new()) { 'h' } else { 'd' };
        format!("{kind}-{owner}:{id}")
    }

    /// The title of the drive with that id, if it is one of these.
    pub fn title_of(&self, id: &str) -> Option<String> {
        for placeholder in [GROUP, NAME] {
            if let Some(around) = self.id.split_once(placeholder) {
                return name_in(id, around).map(|name| self.title.replace(placeholder, &name.0));
            }
        }
        (self.id == id).then(|| self.title.clone())
    }

    /// The drives of a user with that home and those groups. The folders may not exist.
    pub fn all_of(drives: &[Self], home: &Path, groups: &[PlainName]) -> UserDrives {
        let mut all = UserDrives::default();
        for drive in drives {
            if let Some((before, after)) = drive.id.split_once(NAME) {
                let around = (before.to_owned(), after.to_owned());
                let parent = drive.root.of(home, None).and_then(|folder| Some(folder.parent()?.to_owned()));
                all.made = all.made.or_else(|| parent.map(|parent| MadeDrives { around, parent }));
                continue;
            }
            let of = |group: Option<&PlainName>| drive.of(home, group);
            let some: Vec<UserDrive> = if drive.is_of_groups() {
                groups.iter().filter_map(|group| of(Some(group))).collect()
            } else {
                of(None).into_iter().collect()
            };
            for drive in some {
                // Two patterns can produce one id: the first in the configuration has it.
                if !all.is_configured(&drive.id) {
                    all.configured.push(drive);
                }
            }
        }
        all
    }

    fn of(&self, home: &Path, group: Option<&PlainName>) -> Option<UserDrive> {
        let id = group.map_or_else(|| self.id.clone(), |group| self.id.replace(GROUP, &group.0));
        let path = self.root.of(home, group)?;
        is_name(&id).then_some(UserDrive { id, path })
    }
}

impl DriveRoot {
    fn of(&self, home: &Path, group: Option<&PlainName>) -> Option<PathBuf> {
        let filled = |path: &Path| {
            let text = path.to_str()?;
            Some(PathBuf::from(group.map_or_else(|| text.to_owned(), |group| text.replace(GROUP, &group.0))))
        };
        Some(match self {
            Self::Home(below) => home.join(filled(below)?),
            Self::Fixed(path) => filled(path)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(id: &str, root: DriveRoot) -> Drive {
        Drive { id: id.to_owned(), root, title: format!("Drive {id}"), product: None }
    }

    fn groups(names: &[&str]) -> Vec<PlainName> {
        names.iter().filter_map(|name| PlainName::parse(name)).collect()
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
            all.configured.iter().map(|drive| (drive.id.as_str(), drive.path.to_str().unwrap())).collect();
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
        assert_eq!(Drive::all_of(&drives, Path::new("/h"), &[]).configured.len(), 1);
    }

    #[test]
    fn a_group_whose_name_means_something_else_has_none() {
        for name in ["..", ".", "", "a/b", "a b", "{group}", "-x", ".x", "æ", &"x".repeat(65)] {
            assert_eq!(PlainName::parse(name), None, "{name:?}");
        }
        let long = drive("work-{group}", DriveRoot::Fixed("/projects/{group}".into()));
        assert_eq!(
            Drive::all_of(&[long], Path::new("/h"), &groups(&[&"x".repeat(60)])),
            UserDrives::default(),
            "too long an id"
        );
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

    #[test]
    fn a_drive_of_the_users_making_is_a_folder_below_one() {
        let home = tempfile::tempdir().unwrap();
        for name in ["Drives/photos", "Drives/home", "Drives/two words", "Drives/photos/inner", "elsewhere"] {
            std::fs::create_dir_all(home.path().join(name)).unwrap();
        }
        std::fs::write(home.path().join("Drives/file"), b"").unwrap();
        std::os::unix::fs::symlink("/", home.path().join("Drives/link")).unwrap();
        let configured = [
            drive("home", DriveRoot::Home("".into())),
            drive("own-photos", DriveRoot::Home("elsewhere".into())),
            Drive { title: "{name}".into(), ..drive("own-{name}", DriveRoot::Home("Drives/{name}".into())) },
        ];
        let all = Drive::all_of(&configured, home.path(), &[]);
        assert_eq!(all.there(), ["home", "own-photos", "own-home"], "the configuration's own id stands");
        assert_eq!(all.folder("own-photos").unwrap(), home.path().join("elsewhere"));
        assert_eq!(all.folder("own-x").unwrap(), home.path().join("Drives/x"), "there or not");
        assert!(all.made_as("own-x").is_some() && all.made_as("own-photos").is_none() && all.made_as("home").is_none());
        for none in ["own-", "own-..", "own-a/b", "own-two words", "Own-x", "x", &format!("own-{}", "x".repeat(61))] {
            assert!(!all.has(none), "{none}");
        }
        assert_eq!(configured[2].title_of("own-x").unwrap(), "x");
        assert_eq!(configured[2].title_of("own-.."), None);
        for number in 0..DRIVES_MAX {
            std::fs::create_dir(home.path().join(format!("Drives/x{number}"))).unwrap();
        }
        assert_eq!(all.there().len(), DRIVES_MAX, "the server takes no longer list");
        let nowhere = Drive::all_of(&configured, Path::new("/nowhere"), &[]);
        assert_eq!(nowhere.there(), Vec::<String>::new());
    }
}
