//! A reload: what a running server takes up from the edited file, and what needs a restart.
//!
//! [`RELOADED`] is the one list of it. The values in force are always those of one valid text: the
//! file of the start, with these keys from the file of the last reload. So no key can be half in
//! force, whatever was edited.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use crate::{Config, ConfigError, Reader, Role, admin_file};

/// The keys that a reload takes up. The name of a table stands for all its keys. Every other key
/// needs a restart.
pub const RELOADED: &[&str] = &[
    "calls",
    "connection",
    "drives",
    "instances.idle_stop_s",
    "instances.uid_min",
    "intent.accept_v1",
    "intent.deposit_wait_ms",
    "intent.key_lifetime_days",
    "intent.step_up",
    "maintenance",
    "products",
    "sessions",
    "ssh",
    "terminals",
];

/// Why a file was not taken up. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFailure {
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A key that needs a restart was changed together with one that does not.
    #[error(
        "the file is valid, but its changes need a restart together: {needs_restart} cannot be reloaded, and without it \
         the rest is not valid: {why}"
    )]
    Apart {
        /// The keys that need a restart.
        needs_restart: String,
        /// What is not valid. Its lines are not those of the file.
        why: ConfigError,
    },
}

/// What a reload changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reloaded {
    /// The keys that are different now.
    pub taken_up: BTreeSet<String>,
    /// The keys that are different in the file, and not in force before a restart.
    pub needs_restart: BTreeSet<String>,
}

impl Config {
    /// Takes up what a reload may change. A file that is not valid as a whole changes nothing: the
    /// next start would fail.
    ///
    /// # Errors
    /// Why nothing was taken up.
    pub fn reload(&self, role: Role) -> Result<Reloaded, ReloadFailure> {
        let reader = Reader::own(role);
        let text = read(&self.file, reader)?;
        Self::check(&text, &self.file, reader)?;
        let (started, edited) = (parsed(self.current.started()), parsed(&text));
        let needs_restart: BTreeSet<String> =
            differences(&started, &edited).into_iter().filter(|key| !is_reloaded(key)).collect();
        let together = merged(started, &edited);
        let served = match Self::check(&together.to_string(), &self.file, reader) {
            Ok(config) => config.served(),
            Err(why) => {
                let needs_restart = Vec::from_iter(needs_restart).join(", ");
                return Err(ReloadFailure::Apart { needs_restart, why });
            }
        };
        let changed = differences(&parsed(&self.current.file()), &edited);
        let taken_up = changed.into_iter().filter(|key| is_reloaded(key)).collect();
        self.current.set(served, &text);
        Ok(Reloaded { taken_up, needs_restart })
    }

    /// Whether the file was edited since it was read last. `None` if it cannot be read now.
    pub fn is_edited(&self, role: Role) -> Option<bool> {
        let text = read(&self.file, Reader::own(role)).ok()?;
        Some(*text != *self.current.file())
    }
}

fn read(file: &Path, reader: Reader) -> Result<String, ConfigError> {
    Ok(admin_file::read_text(file, admin_file::CONFIG_MAX, reader.uid)?)
}

/// Both texts were checked before, so they are TOML.
fn parsed(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

fn is_reloaded(key: &str) -> bool {
    RELOADED.iter().any(|name| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The keys that are not the same in both: the path of a value, and of a list as a whole.
fn differences(one: &Table, other: &Table) -> BTreeSet<String> {
    let mut differ = BTreeSet::new();
    for key in one.keys().chain(other.keys()) {
        match (one.get(key), other.get(key)) {
            (Some(Value::Table(one)), Some(Value::Table(other))) => {
                differ.extend(differences(one, other).into_iter().map(|below| format!("{key}.{below}")));
            }
            (Some(Value::Table(only)), None) | (None, Some(Value::Table(only))) => {
                differ.extend(differences(only, &Table::new()).into_iter().map(|below| format!("{key}.{below}")));
            }
            (one, other) if one == other => {}
            _ => {
                differ.insert(key.clone());
            }
        }
    }
    differ
}

/// The first text, with the keys of [`RELOADED`] from the second.
fn merged(mut started: Table, edited: &Table) -> Table {
    for name in RELOADED {
        match name.split_once('.') {
            None => set(&mut started, name, edited.get(*name)),
            Some((table, key)) => {
                let value = edited.get(table).and_then(|table| table.get(key));
                let inner = started.entry(table).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(inner) = inner {
                    set(inner, key, value);
                }
            }
        }
    }
    started
}

fn set(table: &mut Table, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => {
            table.insert(key.to_owned(), value.clone());
        }
        None => {
            table.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_keys::identity::Uid;

    const OPERATORS: &str = include_str!("../../docs/operators.md");
    const CORE_KEY: &str = include_str!("../../tests/support/core.pem");

    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Self {
            let site = Self(tempfile::tempdir().unwrap());
            std::fs::write(site.0.path().join("core.pem"), CORE_KEY).unwrap();
            site
        }

        fn text(&self, more: &str) -> String {
            let state = self.0.path().display();
            format!(
                "[provider]\nid = \"hpc\"\norigin = \"http://127.0.0.1:8889\"\n[core]\norigin = \"http://127.0.0.1:8000\"\n\
                 public_key = \"core.pem\"\n[gateway]\nlisten = [\"127.0.0.1:8889\"]\n[state]\ndirectory = \"{state}/state\"\n\
                 [ipc]\ndirectory = \"{state}/ipc\"\n{more}"
            )
        }

        fn write(&self, more: &str) {
            std::fs::write(self.0.path().join("config.toml"), self.text(more)).unwrap();
        }

        fn start(&self, more: &str) -> Config {
            self.write(more);
            let uid = Uid(nix::unistd::geteuid().as_raw());
            Config::load_as(&self.0.path().join("config.toml"), Reader { role: Role::Command, uid }).unwrap()
        }
    }

    fn keys(keys: &BTreeSet<String>) -> Vec<&str> {
        keys.iter().map(String::as_str).collect()
    }

    #[test]
    fn what_a_reload_takes_up_is_taken_up_and_the_rest_keeps_its_value() {
        let site = Site::new();
        let config =
            site.start("[intent]\nstep_up = [\"files.trash\"]\nlifetime_max_s = 30\n[instances]\nidle_stop_s = 60\n");
        assert_eq!(config.is_edited(Role::Command), Some(false));
        site.write(
            "[intent]\nstep_up = [\"raised\"]\nlifetime_max_s = 40\n[instances]\nidle_stop_s = 70\n\
             [[drives]]\nid = \"home\"\npath = \"~\"\n[maintenance]\nenabled = true\n[audit]\nkeep_days = 9\n",
        );
        assert_eq!(config.is_edited(Role::Command), Some(true));
        let clone = config.clone();
        let reloaded = config.reload(Role::Command).unwrap();
        assert_eq!(
            keys(&reloaded.taken_up),
            ["drives", "instances.idle_stop_s", "intent.step_up", "maintenance.enabled"]
        );
        assert_eq!(keys(&reloaded.needs_restart), ["audit.keep_days", "intent.lifetime_max_s"]);
        let served = clone.served();
        assert_eq!(served.drives.len(), 1, "a clone is not stale");
        assert!(served.intent.step_up.raised && served.intent.step_up.calls.is_empty());
        assert_eq!((served.intent.lifetime_max_s, served.idle_stop.as_secs()), (30, 70));
        assert_ne!(served.maintenance, crate::Maintenance::None);
        assert_eq!(config.is_edited(Role::Command), Some(false));
        // A key that is gone has its default again.
        site.write("[intent]\nlifetime_max_s = 30\n");
        let back = config.reload(Role::Command).unwrap();
        assert!(back.needs_restart.is_empty() && back.taken_up.contains("intent.step_up"), "{back:?}");
        assert!(config.served().intent.step_up.is_empty() && config.served().drives.is_empty());
        assert_eq!(config.reload(Role::Command).unwrap(), Reloaded::default(), "nothing has changed");
    }

    #[test]
    fn a_file_that_is_not_valid_as_a_whole_changes_nothing() {
        let site = Site::new();
        let config = site.start("");
        site.write("[maintenance]\nenabled = true\n[gateway.web]\nprefix = 7\n");
        assert!(matches!(config.reload(Role::Command), Err(ReloadFailure::File(_))));
        assert_eq!(config.served().maintenance, crate::Maintenance::None);
        std::fs::remove_file(site.0.path().join("config.toml")).unwrap();
        assert!(matches!(config.reload(Role::Command), Err(ReloadFailure::File(_))));
        assert_eq!(config.is_edited(Role::Command), None);
    }

    #[test]
    fn what_is_valid_only_together_with_a_restart_is_refused_and_named() {
        let site = Site::new();
        let jobs = "[[drives]]\nid = \"home\"\npath = \"~\"\n[slurm]\ncommands = \"/usr/bin\"\ndrive = \"home\"\n";
        let config = site.start(jobs);
        site.write(&jobs.replace("\"home\"", "\"own\""));
        let failure = config.reload(Role::Command).unwrap_err();
        let ReloadFailure::Apart { needs_restart, why } = failure else { panic!("{failure:?}") };
        assert_eq!(needs_restart, "slurm.drive");
        assert!(why.to_string().contains("slurm.drive"), "{why}");
        assert_eq!(config.served().drives[0].id, "home");
    }

    #[test]
    fn the_handbook_lists_what_a_reload_takes_up_and_every_key_is_one_of_the_file() {
        let (_, rest) = OPERATORS.split_once("A reload takes up").unwrap();
        let (list, _) = rest.split_once("\n\n").unwrap();
        let listed: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, RELOADED.iter().copied().collect());
        for key in RELOADED {
            assert!(OPERATORS.contains(&format!("\n| `{key}")), "{key} is in the table of keys");
        }
    }
}
