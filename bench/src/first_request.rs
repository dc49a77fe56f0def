//! A user's first request: 449, Core's `init`, the same again; how long until it is served, and what an instance takes in memory.
//! Works only where `tests/support/installation.sh` has installed Countersign, since a real instance needs sudo and an account.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use countersign_keys::identity::Uid as AccountUid;
use countersign_keys::pins::Pins;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::arguments::FirstRequestOptions;
use crate::client::{Client, Connection, SETTLE_MAX};
use crate::enrolled;
use crate::error::BenchError;
use crate::process;
use crate::proxy::{Name, Running, Site, free_address};
use crate::report;
use crate::statistics::percentile;
use crate::workload::{ORIGIN, PROVIDER, Workload, now_s};

const PROGRAM: &str = "/usr/bin/countersign";
const CONFIGURATION: &str = "/etc/countersign";
const STORE: &str = "/var/lib/countersign/store";
const ACCOUNT: &str = "alice";
const USERNAME: &str = "alice#1234";
/// How often the request is repeated: fine enough for milliseconds, coarse enough to take no time from the instance.
const POLL: Duration = Duration::from_millis(2);
/// An instance that was told to stop has ended by then, and the server has noticed; else `init` would find it there still.
const ENDING: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &FirstRequestOptions) -> Result<(), BenchError> {
    let workload = Workload::generate(USERNAME)?;
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let site = Site::prepare(&workload, nowhere)?;
    let proxy = install(&workload, &site)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("the load's runtime"))?;
    let (mut waits, resident_bytes) = runtime.block_on(async {
        let client = Client::trusting(site.certificate())?;
        let mut connection = client.connect(&proxy).await?;
        let mut waits = Vec::new();
        let mut resident_bytes = 0;
        // The first round is not measured: in it the gateway's replay log and the instance's settle.
        for round in 0..=options.rounds {
            await_status(&mut connection, &workload, 449).await?;
            let begun = Instant::now();
            let status = connection.exchange(&workload.init()).await?.status;
            if status != 200 {
                return Err(BenchError::Unexpected { proxy: Name::Countersign, status, body: "init".into() });
            }
            await_status(&mut connection, &workload, 200).await?;
            if round > 0 {
                waits.push(begun.elapsed());
            }
            let instance = instance(&proxy)?;
            resident_bytes = process::resident_bytes(&[instance])?;
            kill(instance, Signal::SIGTERM).map_err(BenchError::system("ending an instance"))?;
            tokio::time::sleep(ENDING).await;
        }
        Ok::<_, BenchError>((waits, resident_bytes))
    })?;
    let nothing = || BenchError::Empty("--rounds must be at least 1");
    let median = percentile(&mut waits, 50).ok_or_else(nothing)?;
    let longest = percentile(&mut waits, 100).ok_or_else(nothing)?;
    report::line(&format!(
        "from init to the first answer of a new instance: median {:.0} ms, longest {:.0} ms of {}\n\
         an instance that has served one request: RSS {:.1} MiB",
        median.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        waits.len(),
        report::mebibytes(resident_bytes),
    ))
}

/// Repeats the request, each time with a new intent, until it is answered like that.
async fn await_status(connection: &mut Connection, workload: &Workload, want: u16) -> Result<(), BenchError> {
    let begun = Instant::now();
    loop {
        let answer = connection.exchange(&workload.request_of(&workload.first)?).await?;
        if answer.status == want {
            return Ok(());
        }
        if begun.elapsed() > SETTLE_MAX {
            let body = String::from_utf8_lossy(answer.body).into_owned();
            return Err(BenchError::Unexpected { proxy: Name::Countersign, status: answer.status, body });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The instance among the server's descendants: the program itself, not the sudo that started it.
fn instance(proxy: &Running) -> Result<Pid, BenchError> {
    for pid in proxy.processes()? {
        let words = process::arguments(pid)?;
        if words.first().is_some_and(|word| !word.ends_with("sudo")) && words.iter().any(|word| word == "user") {
            return Ok(pid);
        }
    }
    Err(BenchError::NotUp { proxy: Name::Countersign, why: "no instance among its processes".to_owned() })
}

/// Fills in what the installation leaves open, connects the one user, and starts the server as its own account.
fn install(workload: &Workload, site: &Site) -> Result<Running, BenchError> {
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
         [gateway]\nlisten = [\"{address}\"]\ntls = {{ certificate = \"fullchain.pem\", key = \"key.pem\" }}\n\
         [[drives]]\nid = \"home\"\npath = \"~\"\n"
    );
    fs::write(configuration.join("config.toml"), text).map_err(io())?;

    let enrolled = workload.first.enrolled()?;
    let record = enrolled.record(now_s());
    enrolled::store_of(Path::new(STORE), enrolled, AccountUid(user.uid.as_raw()), ACCOUNT, now_s())?;
    give(Path::new(STORE), &service)?;
    let mut pins = Pins::default();
    pins.add(record);
    let pinned = user.dir.join(".config/countersign");
    fs::create_dir_all(&pinned).map_err(io())?;
    fs::create_dir(user.dir.join("docs")).map_err(io())?;
    fs::write(pinned.join("authorized_keys"), pins.to_string()).map_err(io())?;
    fs::set_permissions(&pinned, Permissions::from_mode(0o700)).map_err(io())?;
    fs::set_permissions(pinned.join("authorized_keys"), Permissions::from_mode(0o600)).map_err(io())?;
    give(&user.dir.join(".config"), &user)?;
    give(&user.dir.join("docs"), &user)?;

    let mut command = Command::new(PROGRAM);
    command.arg("server").current_dir("/").uid(service.uid.as_raw()).gid(service.gid.as_raw());
    let log = site.path("server.log");
    Running::start(Name::Countersign, String::new(), command, address, &log)
}

fn account(name: &str) -> Result<User, BenchError> {
    let found = User::from_name(name).map_err(BenchError::system("looking up an account"))?;
    found.ok_or(BenchError::Empty("the accounts of tests/support/installation.sh are not here"))
}

/// Hands a file, or a directory and all that is in it, to an account.
fn give(path: &Path, to: &User) -> Result<(), BenchError> {
    let io = || BenchError::io("owner of files");
    chown(path, Some(to.uid.as_raw()), Some(to.gid.as_raw())).map_err(io())?;
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(io())? {
            give(&entry.map_err(io())?.path(), to)?;
        }
    }
    Ok(())
}
