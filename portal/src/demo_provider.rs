//! The computing centre of the demo and of the test server: its files, accounts and processes.
//!
//! With separate accounts it uses the installation that `tests/support/installation.sh` made in a
//! namespace. With a shared account it uses one temporary directory. Nothing of either remains.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use countersign_portal::core::{Control, applications};
use countersign_portal::{CoreKeys, Endpoint, TestCertificate};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, User, chown};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::journal::Journal;
use crate::program_error::{ErrorContext as _, ProgramError};
use crate::slurm::Slurm;

/// The host name in the provider's certificate.
const HOST: &str = "localhost";
/// How long a process may take to exit after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long one command at the centre may take.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// How many lines of the server's log are shown when it fails.
const LAST_LINES: usize = 15;

/// The local accounts of the users.
pub(crate) const ACCOUNTS: [&str; 2] = ["alice", "bob"];

/// The account that runs the users' instances.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Accounts {
    /// Each in its user's account; needs root inside `tests/support/installation.sh`.
    Own,
    /// All in the account that runs this program.
    Shared,
}

/// How browsers reach the gateway, which speaks only TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    /// Over TLS, as in production. Browsers must trust the authority of this run.
    Tls,
    /// In clear text at this loopback port, where [`crate::relay`] speaks TLS for them. Browsers
    /// treat the port as a secure context without knowing the authority.
    Relay(u16),
}

/// The parameters of a centre.
pub(crate) struct Plan<'p> {
    /// The accounts of the instances.
    pub(crate) accounts: Accounts,
    /// The program `countersign`.
    pub(crate) program: &'p Path,
    /// How browsers reach the gateway.
    pub(crate) front: Front,
    /// Calls that also need a passkey.
    pub(crate) step_up: &'p [String],
    /// What runs jobs. Without it the centre offers none.
    pub(crate) slurm: Option<Slurm>,
}

/// A UCloud user with a local account.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The UCloud username.
    pub(crate) username: &'static str,
    /// The local account; with a shared account only a label.
    pub(crate) account: &'static str,
    /// Their home directory.
    pub(crate) home: PathBuf,
    /// The TCP address of their instance, if the configuration sets one.
    address: Option<SocketAddr>,
}

/// A computing centre.
pub(crate) struct DemoProvider {
    accounts: Accounts,
    program: PathBuf,
    directory: tempfile::TempDir,
    config: PathBuf,
    state: PathBuf,
    port: u16,
    front: Front,
    step_up: Vec<String>,
    slurm: Option<Slurm>,
    certificate: TestCertificate,
    people: Vec<Person>,
    /// The running processes by name, oldest first.
    children: Mutex<Vec<(String, Child)>>,
}

impl DemoProvider {
    /// Writes the configuration and the users' homes. It starts no process.
    pub(crate) fn build(plan: Plan<'_>, keys: &CoreKeys, control: &Control) -> Result<Self, ProgramError> {
        let Plan { accounts, program, front, step_up, slurm } = plan;
        let directory =
            tempfile::Builder::new().prefix("countersign-demo-").tempdir().context("a temporary directory")?;
        let (config, state) = match accounts {
            Accounts::Own => (PathBuf::from("/etc/countersign"), PathBuf::from("/var/lib/countersign")),
            Accounts::Shared => (directory.path().join("etc"), directory.path().join("state")),
        };
        let person = |username, account, address| Person {
            username,
            account,
            home: match accounts {
                Accounts::Own => PathBuf::from("/home").join(account),
                Accounts::Shared => directory.path().join("home").join(account),
            },
            address,
        };
        let [alice, bob] = ACCOUNTS;
        let people = match accounts {
            Accounts::Own => vec![person("alice#1234", alice, None), person("bob#5678", bob, None)],
            Accounts::Shared => {
                vec![person("alice#1234", alice, Some(free_address()?)), person("bob#5678", bob, Some(free_address()?))]
            }
        };
        let program = match accounts {
            Accounts::Own => PathBuf::from("/usr/bin/countersign"),
            Accounts::Shared => fs::canonicalize(program).context(program.display())?,
        };
        let demo_provider = Self {
            accounts,
            program,
            config: config.join("config.toml"),
            state,
            port: free_address()?.port(),
            front,
            step_up: step_up.to_vec(),
            slurm,
            certificate: TestCertificate::make(HOST)?,
            people,
            children: Mutex::new(Vec::new()),
            directory,
        };
        demo_provider.furnish(keys, control)?;
        Ok(demo_provider)
    }

    fn furnish(&self, keys: &CoreKeys, control: &Control) -> Result<(), ProgramError> {
        let service = match self.accounts {
            Accounts::Own => Some("ucloud"),
            Accounts::Shared => None,
        };
        let etc = self.config.parent().unwrap_or(Path::new("/"));
        make_directory(etc, 0o755)?;
        make_file(&self.config, &self.config_text(keys, control), 0o644, None)?;
        make_file(&self.authority(), &self.certificate.authority_pem, 0o644, None)?;
        make_file(&etc.join("core.pem"), &keys.public_base64()?, 0o644, None)?;
        make_file(&etc.join("fullchain.pem"), &self.certificate.certificate_pem, 0o644, None)?;
        make_file(&etc.join("key.pem"), &self.certificate.key_pem, 0o600, service)?;
        make_file(&etc.join("refresh-token"), control.refresh_token(), 0o600, service)?;
        if self.accounts == Accounts::Shared {
            make_directory(&self.state, 0o700)?;
            make_directory(&self.ipc(), 0o755)?;
        } else {
            let itself = std::env::current_exe().context("this program")?;
            fs::copy(itself, self.knocker()).context("copying this program")?;
        }
        for person in &self.people {
            if self.accounts == Accounts::Shared {
                make_directory(&person.home, 0o700)?;
            }
            let owner = (self.accounts == Accounts::Own).then_some(person.account);
            make_file(&person.home.join("notes.txt"), "Nobody but me may touch this.\n", 0o600, owner)?;
            make_file(&person.home.join("results.csv"), "run,seconds\n1,42\n", 0o600, owner)?;
        }
        Ok(())
    }

    fn config_text(&self, keys: &CoreKeys, control: &Control) -> String {
        let instances = match self.accounts {
            Accounts::Own => "launch = \"sudo\"".to_owned(),
            Accounts::Shared => {
                let entries: Vec<String> = self
                    .people
                    .iter()
                    .filter_map(|person| {
                        let address = person.address?;
                        Some(format!("{{ username = \"{}\", address = \"{address}\" }}", person.username))
                    })
                    .collect();
                format!("launch = \"static\"\nstatic = [{}]", entries.join(", "))
            }
        };
        format!(
            "[provider]\nid = \"{}\"\norigin = \"{}\"\n\n\
             [core]\norigin = \"{}\"\npublic_key = \"core.pem\"\nrefresh_token = \"refresh-token\"\n\n\
             [gateway]\nlisten = [\"127.0.0.1:{}\"]\nsandbox = \"available\"\ntls = {{ certificate = \"fullchain.pem\", key = \"key.pem\" }}\n{}\n\
             [intent]\nstep_up = {}\n\n\
             [instances]\n{instances}\n\n\
             [[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\n\
             [[products]]\nname = \"own\"\ncategory = \"own\"\ntype = \"storage\"\n\n\
             [[drives]]\nid = \"home\"\ntitle = \"Home\"\npath = \"~\"\n\n\
             [[drives]]\nid = \"own-{{name}}\"\npath = \"~/Drives/{{name}}\"\ntitle = \"{{name}}\"\nproduct = \"own\"\n\n\
             {}[ipc]\ndirectory = \"{}\"\n\n[state]\ndirectory = \"{}\"\n",
            keys.provider(),
            self.origin(),
            control.origin(),
            self.port,
            // Browsers take every name below `localhost` for this machine.
            self.slurm.as_ref().map_or("", |_| "web = { prefix = \"app-\", suffix = \".apps.localhost\" }\n"),
            serde_json::json!(self.step_up),
            self.slurm.as_ref().map(Slurm::tables).unwrap_or_default(),
            self.ipc().display(),
            self.state.display(),
        )
    }

    /// The provider's origin in browsers.
    pub(crate) fn origin(&self) -> String {
        match self.front {
            Front::Tls => format!("https://{HOST}:{}", self.port),
            Front::Relay(port) => format!("http://{HOST}:{port}"),
        }
    }

    /// The file with the authority that issued the gateway's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// The address of the gateway for clients of this program.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, ProgramError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Ok(Endpoint::tls(address, HOST, &self.certificate.authority_pem)?)
    }

    /// The users Alice and Bob.
    pub(crate) fn people(&self) -> &[Person] {
        &self.people
    }

    /// What runs the jobs.
    pub(crate) fn slurm(&self) -> Option<&Slurm> {
        self.slurm.as_ref()
    }

    /// Approves every application of the catalogue that needs it, as if an administrator had
    /// reviewed them: the page then shows what honest jobs do.
    pub(crate) fn approve_catalogue(&self) -> Result<(), ProgramError> {
        let folder = self.config.with_file_name("applications");
        for (name, version, _) in applications::CATALOGUE {
            let invocation = applications::resolved(name, version).get("invocation").cloned().unwrap_or_default();
            let is_workflow = invocation.get("invocation").and_then(Value::as_array).is_none_or(Vec::is_empty);
            if !is_workflow {
                make_directory(&folder.join(name), 0o755)?;
                make_file(&folder.join(name).join(format!("{version}.json")), &invocation.to_string(), 0o644, None)?;
            }
        }
        Ok(())
    }

    /// The accounts of the instances.
    pub(crate) fn accounts(&self) -> Accounts {
        self.accounts
    }

    /// The gateway's log of decisions.
    pub(crate) fn journal(&self) -> Journal {
        Journal::of(self.state.join("audit/gateway/entries"))
    }

    /// The log of decisions of a person's instance, if the demo started that instance.
    pub(crate) fn instance_journal(&self, person: &Person) -> Journal {
        Journal::of(self.log(person.account))
    }

    /// A description of the place of this run's files.
    pub(crate) fn place(&self) -> String {
        match self.accounts {
            Accounts::Own => "a namespace of its own: nothing of this machine is changed".to_owned(),
            Accounts::Shared => self.directory.path().display().to_string(),
        }
    }

    /// Starts the server, which starts the gateway.
    pub(crate) fn start_server(&self) -> Result<(), ProgramError> {
        let account = match self.accounts {
            Accounts::Own => Some("ucloud"),
            Accounts::Shared => None,
        };
        let mut command = self.countersign(account, None);
        command.arg("server").arg("--config").arg(&self.config);
        self.start(command, "server")
    }

    /// Starts a user's instance, unless the server starts it or it already runs.
    pub(crate) fn start_instance(&self, person: &Person) -> Result<(), ProgramError> {
        let Some(address) = person.address.filter(|_| !self.has_started(person.account)) else {
            return Ok(());
        };
        let mut command = self.countersign(None, Some(person));
        command.arg("user").arg("--config").arg(&self.config).arg("--home").arg(&person.home);
        command.arg("--listen").arg(address.to_string());
        self.start(command, person.account)
    }

    /// Runs `countersign` with `arguments` as this person after a login.
    pub(crate) async fn run_as(&self, person: &Person, arguments: &[&str]) -> Result<Output, ProgramError> {
        finish(self.command_as(person, arguments)).await
    }

    /// The command of [`DemoProvider::run_as`], not started.
    pub(crate) fn command_as(&self, person: &Person, arguments: &[&str]) -> Command {
        let account = (self.accounts == Accounts::Own).then_some(person.account);
        let mut command = self.countersign(account, Some(person));
        command.args(arguments).arg("--config").arg(&self.config);
        if self.accounts == Accounts::Shared {
            command.arg("--home").arg(&person.home);
        }
        command
    }

    /// Runs `countersign` with `arguments` as the centre's administrator.
    pub(crate) async fn run_as_administrator(&self, arguments: &[&str]) -> Result<Output, ProgramError> {
        let mut command = self.countersign(None, None);
        command.args(arguments).arg("--config").arg(&self.config);
        finish(command).await
    }

    /// Runs `countersign` as the local account `mallory`, which has the rights of any local
    /// account.
    pub(crate) async fn run_as_mallory(&self, arguments: &[&str]) -> Result<Output, ProgramError> {
        let mut command = self.countersign(Some("mallory"), None);
        command.args(arguments);
        finish(command).await
    }

    /// Tries to open a socket as the local account `mallory`.
    pub(crate) async fn knock_as_mallory(&self, socket: &Path) -> Result<Output, ProgramError> {
        let mut command = as_account("mallory", &self.knocker());
        command.arg("knock").arg(socket);
        finish(command).await
    }

    /// The sockets of the running instances, read as root.
    pub(crate) fn instance_sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state.join("instances")).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    /// The TCP address of a person's instance.
    pub(crate) fn instance_address(&self, person: &Person) -> Option<SocketAddr> {
        person.address
    }

    /// Whether a process of the centre has exited without being stopped.
    pub(crate) fn has_fallen(&self) -> bool {
        self.children().iter_mut().any(|(_, child)| child.try_wait().is_ok_and(|ended| ended.is_some()))
    }

    /// The last lines of the server's log.
    pub(crate) fn last_log_lines(&self) -> String {
        let text = fs::read_to_string(self.log("server")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
    }

    /// Stops the process of this name, if it runs.
    pub(crate) async fn stop(&self, name: &str) {
        let found = {
            let mut children = self.children();
            let at = children.iter().position(|(its, _)| its == name);
            at.map(|at| children.remove(at))
        };
        if let Some((_, child)) = found {
            end(child).await;
        }
    }

    /// Stops all processes, newest first. Dropping the value removes the files.
    pub(crate) async fn close(&self) {
        loop {
            let Some((_, child)) = self.children().pop() else { break };
            end(child).await;
        }
        if let Some(slurm) = &self.slurm {
            slurm.end().await;
        }
    }

    fn has_started(&self, name: &str) -> bool {
        self.children().iter().any(|(its, _)| its == name)
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<(String, Child)>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    fn ipc(&self) -> PathBuf {
        match self.accounts {
            Accounts::Own => PathBuf::from("/var/run/ucloud"),
            Accounts::Shared => self.directory.path().join("run"),
        }
    }

    fn knocker(&self) -> PathBuf {
        PathBuf::from("/usr/bin/countersign-portal")
    }

    fn countersign(&self, account: Option<&str>, person: Option<&Person>) -> Command {
        match account {
            Some(account) => as_account(account, &self.program),
            None => {
                // The signal ends the child if the demo itself is killed.
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "TERM", "--"]).arg(&self.program);
                clean(&mut command, person.map_or(self.directory.path(), |person| &person.home), "demo");
                command
            }
        }
    }

    fn start(&self, mut command: Command, name: &str) -> Result<(), ProgramError> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(name)).context("a log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("a log file")?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context(format!("starting {name}"))?;
        self.children().push((name.to_owned(), child));
        Ok(())
    }
}

async fn end(mut child: Child) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else {
        return;
    };
    let _ended_already = kill(pid, Signal::SIGTERM);
    if tokio::time::timeout(STOP_MAX, child.wait()).await.is_err() {
        let _ended_meanwhile = child.kill().await;
    }
    // Each child leads its own process group, so this also ends the child's own children.
    let _nothing_left = killpg(pid, Signal::SIGKILL);
}

/// A command that runs `program` as `account`, without root, in the environment of a fresh login.
fn as_account(account: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", account, "--regid", account, "--init-groups", "--"]).arg(program);
    let home = User::from_name(account).ok().flatten().map_or_else(|| PathBuf::from("/"), |user| user.dir);
    clean(&mut command, &home, account);
    command
}

fn clean(command: &mut Command, home: &Path, account: &str) {
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    command.env("USER", account).env("LOGNAME", account).current_dir("/");
    if let Some(filter) = std::env::var_os("COUNTERSIGN_LOG") {
        command.env("COUNTERSIGN_LOG", filter);
    }
}

async fn finish(mut command: Command) -> Result<Output, ProgramError> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(COMMAND_MAX, output).await {
        Err(_) => Err(ProgramError::new(format!("no end in {COMMAND_MAX:?}: {command:?}"))),
        Ok(output) => output.context(format!("{command:?}")),
    }
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, ProgramError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    listener.local_addr().context("a free port")
}

fn make_directory(path: &Path, mode: u32) -> Result<(), ProgramError> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .context(path.display())
}

fn make_file(path: &Path, text: &str, mode: u32, owner: Option<&str>) -> Result<(), ProgramError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .context(path.display())?;
    let Some(owner) = owner else {
        return Ok(());
    };
    let user =
        User::from_name(owner).context(owner)?.ok_or_else(|| ProgramError::new(format!("no account {owner}")))?;
    chown(path, Some(user.uid), Some(user.gid)).context(path.display())
}
