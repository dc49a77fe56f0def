//! Countersign as installed: server and gateway under an account that is not root, one gateway
//! thread, all checks. The user's instance is the dummy upstream (`launch = "static"`). The key
//! comes from a prepared store.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{geteuid, getuid};

use super::{Name, Part, Running, Site, free_address, version};
use crate::enrolled::{self, Enrolled};
use crate::error::BenchError;
use crate::process;
use crate::workload::{ORIGIN, PROVIDER};

/// An account without files: Countersign refuses to run as root, even if root runs the bench.
pub(crate) const NOBODY: u32 = 65_534;

/// Prepares configuration, state and a store with these users. All have the dummy as their
/// instance.
pub(crate) fn prepare(program: &Path, site: &Site, users: Vec<Enrolled>, now_s: i64) -> Result<Installed, BenchError> {
    let address = free_address()?;
    let home = site.path(&format!("countersign-{}", address.port()));
    let state = home.join("state");
    for directory in [&home, &state, &home.join("ipc")] {
        fs::create_dir(directory).map_err(BenchError::io("Countersign's directories"))?;
    }
    // A copy, since that account may not have access to the build directory.
    let copy = home.join("program");
    fs::copy(program, &copy).map_err(BenchError::io("copying Countersign"))?;
    fs::copy(site.path("key.pem"), home.join("key.pem")).map_err(BenchError::io("copying the TLS key"))?;
    let instances: Vec<_> = users
        .iter()
        .map(|user| format!("{{ username = \"{}\", address = \"{}\" }}", user.username, site.upstream.display()))
        .collect();
    enrolled::store(&state.join("store"), users, now_s)?;

    let configuration = format!(
        "[provider]\nid = \"{PROVIDER}\"\norigin = \"{ORIGIN}\"\n\
         [core]\norigin = \"https://cloud.example.org\"\npublic_key = \"../core.pem\"\n\
         [gateway]\nlisten = [\"{address}\"]\nthreads = 1\nconnections_max = 9000\nsandbox = \"available\"\n\
         tls = {{ certificate = \"../chain.pem\", key = \"key.pem\" }}\n\
         [instances]\nlaunch = \"static\"\nstatic = [ {instances} ]\n\
         [ipc]\ndirectory = \"ipc\"\n[state]\ndirectory = \"state\"\n",
        instances = instances.join(", "),
    );
    let configuration_file = home.join("config.toml");
    fs::write(&configuration_file, configuration).map_err(BenchError::io("Countersign's configuration"))?;
    for (path, mode) in [(&home.join("key.pem"), 0o600), (&state, 0o700), (&home.join("ipc"), 0o755)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(BenchError::io("modes of files"))?;
    }
    if geteuid().is_root() {
        give_away(&home)?;
    }
    Ok(Installed { program: copy, configuration: configuration_file, address, log: home.join("log") })
}

/// A prepared installation. It can be started any number of times.
pub(crate) struct Installed {
    program: PathBuf,
    configuration: PathBuf,
    address: std::net::SocketAddr,
    log: PathBuf,
}

impl Installed {
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
