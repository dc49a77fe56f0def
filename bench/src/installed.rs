//! Countersign as `tests/support/installation.sh` installs it, with one connected user: a real
//! instance needs sudo and an account.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use countersign_keys::identity::{ProviderId, Uid as AccountUid};
use countersign_keys::pins::Pins;
use nix::unistd::{Pid, User};

use crate::enrolled::{self, Enrolled};
use crate::error::BenchError;
use crate::process;
use crate::proxy::{Name, Running, Site, free_address};
use crate::workload::{ORIGIN, PROVIDER, Workload, now_s};

const PROGRAM: &str = "/usr/bin/countersign";
const CONFIGURATION: &str = "/etc/countersign";
const STORE: &str = "/var/lib/countersign/store";
/// The user's account.
pub(crate) const ACCOUNT: &str = "alice";
/// The user.
pub(crate) const USERNAME: &str = "alice#1234";

/// The instance among the server's descendants: the program itself, not the sudo that started it.
pub(crate) fn instance(proxy: &Running) -> Result<Pid, BenchError> {
    for pid in proxy.processes()? {
        let words = process::arguments(pid)?;
        if words.first().is_some_and(|word| !word.ends_with("sudo")) && words.iter().any(|word| word == "user") {
            return Ok(pid);
        }
    }
    Err(BenchError::NotUp { proxy: Name::Countersign, why: "no instance among its processes".to_owned() })
}

/// Completes the installation's configuration, connects the user, and starts the server as its own
/// account.
pub(crate) fn install(workload: &Workload, site: &Site) -> Result<Running, BenchError> {
    let (service, user) = (account("ucloud")?, account(ACCOUNT)?);
    let io = || BenchError::io("installing (this runs inside tests/support/installation.sh)");
    let configuration = Path::new(CONFIGURATION);
    fs::create_dir_all(configuration).map_err(io())?;
    for (from, to) in [("chain.pem", "fullchain.pem"), ("key.pem", "key.pem"), ("core.pem", "core.pem")] {
        fs::copy(site.path(from), configuration.join(to)).map_err(io())?;
        fs::set_permissions(configuration.join(to), Permissions::from_mode(0o644)).map_err(io())?;
    }
    fs::set_permissions(configuration.join("key.pem"), Permissions::from_mode(0o600)).map_err(io())?;
    give(&configuration.join("key.pem"), &service)?;
    let address = free_address()?;
    let text = format!(
        "[provider]\nid = \"{PROVIDER}\"\norigin = \"{ORIGIN}\"\n\
         [core]\norigin = \"https://cloud.example.org\"\npublic_key = \"core.pem\"\n\
         [gateway]\nlisten = [\"{address}\"]\nsandbox = \"available\"\ntls = {{ certificate = \"fullchain.pem\", key = \"key.pem\" }}\n\
         [[drives]]\nid = \"home\"\npath = \"~\"\n"
    );
    fs::write(configuration.join("config.toml"), text).map_err(io())?;

    let instance_key = rcgen::KeyPair::generate()?;
    let enrolled = Enrolled {
        instance_key: rcgen::PublicKeyData::subject_public_key_info(&instance_key),
        ..workload.first.enrolled()?
    };
    let record = enrolled.record(now_s());
    enrolled::store_of(Path::new(STORE), vec![enrolled], AccountUid(user.uid.as_raw()), ACCOUNT, now_s())?;
    give(Path::new(STORE), &service)?;
    let instance_key_file = format!("instance_key.{PROVIDER}");
    let mut pins = Pins::default();
    let provider = ProviderId::parse(PROVIDER).map_err(|_| BenchError::Empty("the provider's id"))?;
    pins.add(&provider, record);
    let pinned = user.dir.join(".config/countersign");
    fs::create_dir_all(&pinned).map_err(io())?;
    fs::create_dir(user.dir.join("docs")).map_err(io())?;
    fs::write(pinned.join("authorized_keys"), pins.to_string()).map_err(io())?;
    fs::set_permissions(&pinned, Permissions::from_mode(0o700)).map_err(io())?;
    fs::set_permissions(pinned.join("authorized_keys"), Permissions::from_mode(0o600)).map_err(io())?;
    fs::write(pinned.join(&instance_key_file), instance_key.serialize_pem()).map_err(io())?;
    fs::set_permissions(pinned.join(&instance_key_file), Permissions::from_mode(0o600)).map_err(io())?;
    give(&user.dir.join(".config"), &user)?;
    give(&user.dir.join("docs"), &user)?;

    let mut command = Command::new(PROGRAM);
    command.arg("server").current_dir("/").uid(service.uid.as_raw()).gid(service.gid.as_raw());
    let log = site.path("server.log");
    Running::start(Name::Countersign, String::new(), command, address, &log)
}

pub(crate) fn account(name: &str) -> Result<User, BenchError> {
    let found = User::from_name(name).map_err(BenchError::system("looking up an account"))?;
    found.ok_or(BenchError::Empty("the accounts of tests/support/installation.sh are not here"))
}

/// Gives a file, or a directory and everything in it, to an account.
pub(crate) fn give(path: &Path, to: &User) -> Result<(), BenchError> {
    let io = || BenchError::io("owner of files");
    chown(path, Some(to.uid.as_raw()), Some(to.gid.as_raw())).map_err(io())?;
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(io())? {
            give(&entry.map_err(io())?.path(), to)?;
        }
    }
    Ok(())
}
