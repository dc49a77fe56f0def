//! Countersign as installed: server and gateway under an account that is not root, all checks.
//! Every user's instance is the dummy upstream. The keys come from a prepared store.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_keys::identity::Uid;
use nix::unistd::{geteuid, getuid};

use super::{Capacity, Name, Part, Running, Site, free_address, version};
use crate::enrolled::{self, Enrolled};
use crate::error::BenchError;
use crate::installed::{ACCOUNT, account};
use crate::launched;
use crate::process;
use crate::workload::{ORIGIN, PROVIDER};

/// An account without files: Countersign refuses to run as root, even if root runs the bench.
pub(crate) const NOBODY: u32 = 65_534;

/// How a user comes to the dummy as their instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instances {
    /// The configuration names it for each of the first so many users (`launch = "static"`).
    Named(usize),
    /// The server launches it for the account that all users have.
    Launched,
}

/// Prepares configuration, state and a store with these users.
pub(crate) fn prepare(
    program: &Path,
    site: &Site,
    users: Vec<Enrolled>,
    instances: Instances,
    capacity: Capacity,
    now_s: i64,
) -> Result<Installed, BenchError> {
    let address = free_address()?;
    let home = site.path(&format!("countersign-{}", address.port()));
    let state = home.join("state");
    for directory in [&home, &state, &home.join("ipc")] {
        fs::create_dir(directory).map_err(BenchError::io("Countersign's directories"))?;
    }
    fs::copy(site.path("key.pem"), home.join("key.pem")).map_err(BenchError::io("copying the TLS key"))?;
    let store = state.join("store");
    let (program, instances) = match instances {
        Instances::Named(count) => {
            let upstream = site.upstream.display();
            let named = |user: &Enrolled| format!("{{ username = \"{}\", address = \"{upstream}\" }}", user.username);
            let named: Vec<_> = users.iter().take(count).map(named).collect();
            enrolled::store(&store, users, now_s)?;
            // A copy, since that account may not have access to the build directory.
            let copy = home.join("program");
            fs::copy(program, &copy).map_err(BenchError::io("copying Countersign"))?;
            (copy, format!("[instances]\nlaunch = \"static\"\nstatic = [ {} ]\n", named.join(", ")))
        }
        Instances::Launched => {
            launched::replace_sudo(&site.upstream)?;
            enrolled::store_of(&store, users, Uid(account(ACCOUNT)?.uid.as_raw()), ACCOUNT, now_s)?;
            // What sudo starts has to be root's, so it is the installed program itself.
            (program.to_owned(), "[[drives]]\nid = \"home\"\npath = \"~\"\n".to_owned())
        }
    };

    let configuration = format!(
        "[provider]\nid = \"{PROVIDER}\"\norigin = \"{ORIGIN}\"\n\
         [core]\norigin = \"https://cloud.example.org\"\npublic_key = \"../core.pem\"\n\
         [gateway]\nlisten = [\"{address}\"]\nthreads = {threads}\nconnections_max = {connections_max}\nsandbox = \"available\"\n\
         tls = {{ certificate = \"../chain.pem\", key = \"key.pem\" }}\n\
         [ipc]\ndirectory = \"ipc\"\n[state]\ndirectory = \"state\"\n{instances}",
        threads = capacity.threads,
        connections_max = capacity.connections_max(),
    );
    let configuration_file = home.join("config.toml");
    fs::write(&configuration_file, configuration).map_err(BenchError::io("Countersign's configuration"))?;
    for (path, mode) in [(&home.join("key.pem"), 0o600), (&state, 0o700), (&home.join("ipc"), 0o755)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(BenchError::io("modes of files"))?;
    }
    if geteuid().is_root() {
        give_away(&home)?;
    }
    Ok(Installed { program, configuration: configuration_file, address, log: home.join("log") })
}

/// A prepared installation. It can be started any number of times.
pub(crate) struct Installed {
    program: PathBuf,
    configuration: PathBuf,
    address: std::net::SocketAddr,
    log: PathBuf,
}

impl Installed {
    /// Adds tables to the configuration, and records to the store.
    pub(crate) fn extend(
        &self,
        tables: &str,
        add: impl FnOnce(&Path) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let home = self.configuration.parent().ok_or(BenchError::Empty("no directory of the configuration"))?;
        let doing = "Countersign's configuration";
        let mut file = fs::OpenOptions::new().append(true).open(&self.configuration).map_err(BenchError::io(doing))?;
        file.write_all(tables.as_bytes()).map_err(BenchError::io(doing))?;
        add(&home.join("state/store"))?;
        if geteuid().is_root() { give_away(home) } else { Ok(()) }
    }

    pub(crate) fn start(&self) -> Result<Running, BenchError> {
        let mut command = Command::new(&self.program);
        command.arg("server").arg("--config").arg(&self.configuration).current_dir("/");
        if getuid().is_root() {
            // The standard library drops the supplementary groups too.
            command.uid(NOBODY).gid(NOBODY);
        }
        let version = version(&self.program, "--version")?;
        Running::start(Name::Countersign, version, command, self.address, &self.log)
    }
}

/// Gateway and server separately: the numbers of the design, section 9, are about the first, and
/// the second has a cost too.
pub(super) fn parts(processes: Vec<nix::unistd::Pid>) -> Result<Vec<Part>, BenchError> {
    let (mut gateway, mut server) = (Vec::new(), Vec::new());
    for pid in processes {
        let words = process::arguments(pid)?;
        if words.iter().any(|word| word == "gateway") { gateway.push(pid) } else { server.push(pid) }
    }
    if gateway.is_empty() {
        return Err(BenchError::NotUp { proxy: Name::Countersign, why: "no gateway process".to_owned() });
    }
    Ok(vec![Part { label: "gateway", processes: gateway }, Part { label: "server", processes: server }])
}

/// Gives a directory and everything in it to Countersign's account.
fn give_away(path: &Path) -> Result<(), BenchError> {
    chown(path, Some(NOBODY), Some(NOBODY)).map_err(BenchError::io("owner of files"))?;
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(BenchError::io("owner of files"))? {
            give_away(&entry.map_err(BenchError::io("owner of files"))?.path())?;
        }
    }
    Ok(())
}
