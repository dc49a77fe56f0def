//! A computing centre for tests: a stand-in Core, a server with its gateway, and users with keys in their browsers.
//!
//! Inside `tests/support/installation.sh` (so as root, by `./test`) everybody has an account of their own and instances
//! are started by sudo. As an ordinary user all of it runs in that user's account and in one temporary directory.
//! Nothing here sleeps for a guessed time: it looks until it sees, and says what it did not see.

// Each test file takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign_portal::core::Control;
use countersign_portal::{
    Algorithm, Answer, BrowserKey, ConnectionPage, Core, CoreKeys, Deed, Endpoint, Intent, IntentForwarding, Request,
    now,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use serde_json::Value;
use tokio::process::{Child, Command};

/// The provider's id.
pub const PROVIDER: &str = "hpc";
/// How long anything may take to come about before the test says that it has not.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(5);
/// `RestartSec=` of deploy/systemd/countersign.service, whose place is taken here.
const RESTART: Duration = Duration::from_millis(100);
/// What Core waits between `init` and the repeated request is not what tests are about.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The users: account here, username at UCloud.
const USERS: [(&str, &str); 2] = [("alice", "alice#1234"), ("bob", "bob#5678")];

/// Whose accounts the processes run in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accounts {
    /// Everybody's own, as `installation.sh` has made them.
    Own,
    /// The one that runs the test.
    Shared,
}

/// A process of the product.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// IM/Server.
    Server,
    /// The L7 ingress.
    Gateway,
    /// The IM/User of this account.
    Instance(&'static str),
}

/// A user with an account here and a key in their browser.
#[derive(Debug)]
pub struct Person {
    /// At UCloud.
    pub username: String,
    /// Here.
    pub account: &'static str,
    /// Their home directory.
    pub home: PathBuf,
    /// What their browser signs with.
    pub key: BrowserKey,
}

/// A connection that waits for somebody at the centre to approve it.
#[derive(Debug)]
pub struct Offered {
    /// The page in the browser.
    pub page: ConnectionPage,
    /// The key that the browser made.
    pub key: BrowserKey,
    /// What is to be approved.
    pub code: String,
}

/// The centre; its processes end with it.
#[derive(Debug)]
pub struct Centre {
    /// Whose accounts.
    pub accounts: Accounts,
    /// UCloud, toward this provider.
    pub core: Core,
    /// UCloud's endpoints for providers.
    pub control: Control,
    /// Core's keys.
    pub keys: Arc<CoreKeys>,
    /// `config.toml`.
    pub config: PathBuf,
    /// `state.directory`.
    pub state: PathBuf,
    /// `ipc.directory`.
    pub ipc: PathBuf,
    directory: tempfile::TempDir,
    program: PathBuf,
    /// Where the gateway listens; whatever stands before it is somewhere else.
    pub address: SocketAddr,
    /// Further keys of `[gateway]`.
    gateway: String,
    static_addresses: Vec<(&'static str, SocketAddr)>,
    instances: tokio::sync::Mutex<Vec<Child>>,
    server: Arc<ServerSlot>,
}

/// The server that runs; its supervisor writes it, everybody else reads.
#[derive(Debug, Default)]
struct ServerSlot {
    /// 0 while there is none.
    pid: AtomicI32,
    starts: AtomicU32,
}

impl Centre {
    /// Starts everything with the standard configuration and waits until it serves.
    pub async fn open() -> Self {
        Self::open_with("").await
    }

    /// The same with more TOML: whole tables, or keys of a table that [`Centre`] itself leaves out.
    pub async fn open_with(more: &str) -> Self {
        Self::furnish(more).await.opened().await
    }

    /// The same, where the provider's origin is a name: passkeys belong to one.
    pub async fn open_with_a_name(more: &str) -> Self {
        Self::furnish_at(|address| Endpoint::plain_at(address, "localhost"), "", more).await.opened().await
    }

    /// The same, where the test starts and kills instances and the server has no say in it: it would not start one again and again that
    /// dies young.
    pub async fn open_with_static_instances() -> Self {
        let mut centre = Self::furnish("").await;
        centre.static_addresses = USERS.iter().map(|(account, _)| (*account, free_address())).collect();
        fs::write(&centre.config, centre.config_text("")).unwrap();
        centre.opened().await
    }

    /// The same with these keys of `[gateway]`, after `prepare` has seen the installation.
    pub async fn open_with_gateway(gateway: &str, prepare: impl FnOnce(&Self)) -> Self {
        let centre = Self::furnish_at(Endpoint::plain, gateway, "").await;
        prepare(&centre);
        centre.opened().await
    }

    /// Starts everything and waits until it serves.
    pub async fn opened(self) -> Self {
        let centre = self;
        centre.supervise();
        centre.until("the gateway serves", async || centre.serves().await).await;
        centre
    }

    /// Writes the configuration; starts nothing.
    pub async fn furnish(more: &str) -> Self {
        Self::furnish_at(Endpoint::plain, "", more).await
    }

    /// The same, where Core and browsers reach the gateway in another way than at its own address; `gateway` is TOML for its table.
    pub async fn furnish_at(endpoint: impl Fn(SocketAddr) -> Endpoint, gateway: &str, more: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("countersign-test-").tempdir().unwrap();
        // What belongs to a service account must be reachable for it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let accounts = if Uid::effective().is_root() { Accounts::Own } else { Accounts::Shared };
        let keys = Arc::new(CoreKeys::generate(PROVIDER).unwrap());
        let control = Control::start(Arc::clone(&keys)).await.unwrap();
        let address = free_address();
        let core = Core::new(Arc::clone(&keys), endpoint(address))
            .with_origin(&control.origin())
            .with_retry_pause(RETRY_PAUSE);
        let (etc, state, ipc, program) = match accounts {
            Accounts::Own => {
                assert!(
                    Path::new("/etc/sudoers.d/countersign").exists(),
                    "as root this runs inside tests/support/installation.sh: see ./test"
                );
                (
                    "/etc/countersign".into(),
                    "/var/lib/countersign".into(),
                    "/var/run/ucloud".into(),
                    "/usr/bin/countersign".into(),
                )
            }
            Accounts::Shared => {
                let at = |name: &str| directory.path().join(name);
                (at("etc"), at("state"), at("run"), PathBuf::from(env!("CARGO_BIN_EXE_countersign")))
            }
        };
        let static_addresses = match accounts {
            Accounts::Own => Vec::new(),
            Accounts::Shared => USERS.iter().map(|(account, _)| (*account, free_address())).collect(),
        };
        let centre = Self {
            accounts,
            core,
            control,
            keys,
            config: etc.join("config.toml"),
            state,
            ipc,
            directory,
            program,
            address,
            gateway: match accounts {
                Accounts::Own => gateway.to_owned(),
                // Where tests are run as an ordinary user there may be no Landlock.
                Accounts::Shared => format!("{gateway}\nsandbox = \"available\""),
            },
            static_addresses,
            instances: tokio::sync::Mutex::default(),
            server: Arc::default(),
        };
        centre.write_files(&etc, more);
        centre
    }

    fn write_files(&self, etc: &Path, more: &str) {
        let service = (self.accounts == Accounts::Own).then_some("ucloud");
        if self.accounts == Accounts::Shared {
            for (directory, mode) in [(etc, 0o755), (&*self.state, 0o700), (&*self.ipc, 0o755)] {
                make_directory(directory, mode);
            }
            for (account, _) in USERS {
                make_directory(&self.home(account), 0o700);
            }
        }
        write_file(&self.config, &self.config_text(more), 0o644, None);
        write_file(&etc.join("core.pem"), &self.keys.public_base64().unwrap(), 0o644, None);
        write_file(&etc.join("refresh-token"), self.control.refresh_token(), 0o600, service);
    }

    fn config_text(&self, more: &str) -> String {
        let entry = |(account, address): &(&str, SocketAddr)| {
            format!("{{ username = \"{}\", address = \"{address}\" }}", username_of(account))
        };
        let entries: Vec<String> = self.static_addresses.iter().map(entry).collect();
        let launch = match entries.as_slice() {
            [] => "launch = \"sudo\"".to_owned(),
            entries => format!("launch = \"static\"\nstatic = [{}]", entries.join(", ")),
        };
        format!(
            "[provider]\nid = \"{PROVIDER}\"\norigin = \"{}\"\n[core]\norigin = \"{}\"\npublic_key = \"core.pem\"\n\
             refresh_token = \"refresh-token\"\n[gateway]\nlisten = [\"{}\"]\n{}\n[instances]\n{launch}\n\
             [ipc]\ndirectory = \"{}\"\n[state]\ndirectory = \"{}\"\n{more}\n[[drives]]\nid = \"home\"\npath = \"~\"\n",
            self.origin(),
            self.control.origin(),
            self.address,
            self.gateway,
            self.ipc.display(),
            self.state.display(),
        )
    }

    // --- Users, and what they do -------------------------------------------------------------------------

    /// Connects a user with an ES256 key: Core begins, the browser offers, the user approves, the page probes.
    pub async fn connect(&self, account: &'static str) -> Person {
        self.connect_with(account, Algorithm::Es256).await
    }

    /// The same with a key of another kind; also for a second browser of somebody who is connected.
    pub async fn connect_with(&self, account: &'static str, algorithm: Algorithm) -> Person {
        let Offered { page, key, code } = self.offer(username_of(account), algorithm).await;
        let approved = self.run_as(account, &["connect", "approve", &code, "--yes"]).await;
        assert!(approved.status.success(), "connect approve: {}\n{}", said(&approved), self.last_words());
        let person = Person { username: username_of(account).to_owned(), account, home: self.home(account), key };
        self.start_static_instance(&person).await;
        let probe = page.probe(&person.key, &person.username).await.unwrap();
        assert!(probe.is_ok(), "connect/probe: {probe:?}");
        person
    }

    /// A key in a browser, offered and not yet approved.
    pub async fn offer(&self, username: &str, algorithm: Algorithm) -> Offered {
        let redirect = self.core.connect(username).await.unwrap();
        let page = ConnectionPage::open(&redirect, self.core.endpoint().clone()).unwrap();
        let mut key = BrowserKey::make(algorithm).unwrap();
        let answer = page.offer(&key).await.unwrap();
        assert!(answer.is_ok(), "connect/offer: {answer:?}");
        key.set_kid(&answer.text("kid"));
        Offered { page, key, code: answer.text("code") }
    }

    /// Core's request for a deed that the person has signed a moment ago.
    pub fn signed(&self, person: &Person, deed: &Deed) -> Request {
        let intent = Intent::of(&self.origin(), &person.username, deed, now()).unwrap();
        let intent = intent.sign(&person.key).unwrap();
        self.core.request(&person.username, deed, Some(&intent)).unwrap()
    }

    /// A deed, signed, and repeated by Core as often as it does when the instance has to be started first. Where Core drops
    /// intents, it is deposited before; the answer to that, if it was refused.
    pub async fn perform(&self, person: &Person, deed: &Deed) -> Answer {
        let request = self.signed(person, deed);
        if let (IntentForwarding::Dropped, Some(intent)) = (self.core.forwarding(), &request.intent) {
            let deposited =
                self.core.deposit(intent).await.unwrap_or_else(|why| panic!("{why}: {}", self.last_words()));
            if deposited.status != 202 {
                return deposited;
            }
        }
        self.core.invoke(&request).await.unwrap()
    }

    /// Lists a folder.
    pub async fn browse(&self, person: &Person, path: &str) -> Answer {
        self.perform(person, &Deed::browse(path)).await
    }

    /// Whether Core's own calls are served.
    pub async fn serves(&self) -> bool {
        self.core.retrieve_manifest().await.is_ok_and(|answer| answer.is_ok())
    }

    // --- Programs ----------------------------------------------------------------------------------------

    /// Runs `countersign` as that account would after logging in.
    pub async fn run_as(&self, account: &str, arguments: &[&str]) -> Output {
        let mut command = self.command_as(account, &self.program);
        command.args(arguments).arg("--config").arg(&self.config);
        if self.accounts == Accounts::Shared && account != "root" {
            command.arg("--home").arg(self.home(account));
        }
        finish(command).await
    }

    /// Runs a shell script as that account.
    pub async fn shell_as(&self, account: &str, script: &str) -> Output {
        let mut command = self.command_as(account, Path::new("/bin/sh"));
        command.args(["-c", script]);
        finish(command).await
    }

    fn command_as(&self, account: &str, program: &Path) -> Command {
        let mut command = match self.accounts {
            Accounts::Shared => Command::new(program),
            Accounts::Own => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", account, "--regid", account, "--init-groups", "--"]).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.home(account));
        command.env("USER", account).env("LOGNAME", account).current_dir("/").kill_on_drop(true);
        command
    }

    /// Keeps a server running, as the service manager does with deploy/systemd/countersign.service.
    pub fn supervise(&self) {
        let log = fs::File::create(self.directory.path().join("server.log")).unwrap();
        let mut command = self.command_as("ucloud", &self.program);
        command.arg("server").arg("--config").arg(&self.config).env("RUST_LOG", "debug");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let slot = Arc::clone(&self.server);
        tokio::spawn(async move {
            loop {
                let mut child = command.spawn().unwrap();
                slot.starts.fetch_add(1, Ordering::SeqCst);
                slot.pid.store(child.id().unwrap().try_into().unwrap(), Ordering::SeqCst);
                child.wait().await.unwrap();
                slot.pid.store(0, Ordering::SeqCst);
                tokio::time::sleep(RESTART).await;
            }
        });
    }

    /// `kill -9` of every instance that the test has started.
    pub async fn kill_static_instances(&self) {
        for mut child in self.instances.lock().await.drain(..) {
            child.kill().await.unwrap();
        }
    }

    /// Where instances are not the server's business: starts the person's, once.
    pub async fn start_static_instance(&self, person: &Person) {
        let Some((_, address)) = self.static_addresses.iter().find(|(account, _)| *account == person.account) else {
            return;
        };
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        let log = fs::File::create(self.directory.path().join(format!("{}.log", person.account))).unwrap();
        let mut command = self.command_as(person.account, &self.program);
        command.arg("user").arg("--config").arg(&self.config).arg("--home").arg(&person.home);
        command.arg("--listen").arg(address.to_string()).stdin(Stdio::null());
        self.instances.lock().await.push(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        self.until("the instance listens", async || std::net::TcpStream::connect(address).is_ok()).await;
    }

    // --- What can be seen ----------------------------------------------------------------------------------

    /// The provider's origin.
    pub fn origin(&self) -> String {
        self.core.endpoint().origin()
    }

    /// An account's home directory.
    pub fn home(&self, account: &str) -> PathBuf {
        match self.accounts {
            Accounts::Own => User::from_name(account).unwrap().expect("such an account").dir,
            Accounts::Shared => self.directory.path().join("home").join(account),
        }
    }

    /// Writes a file in the person's home, as theirs.
    pub fn write(&self, person: &Person, name: &str, content: &[u8]) {
        let path = person.home.join(name);
        fs::write(&path, content).unwrap();
        if self.accounts == Accounts::Own {
            let user = User::from_name(person.account).unwrap().expect("such an account");
            chown(&path, Some(user.uid), Some(user.gid)).unwrap();
        }
    }

    /// The process, if it runs.
    pub fn pid(&self, part: Part) -> Option<Pid> {
        let server = self.server.pid.load(Ordering::SeqCst);
        let is_it = |process: &Process| match part {
            Part::Server => process.pid == server,
            Part::Gateway => process.parent == server && process.is("gateway"),
            Part::Instance(account) => {
                let uid = User::from_name(account).ok().flatten().map(|user| user.uid.as_raw());
                Some(process.uid) == uid && process.is("user")
            }
        };
        processes().iter().find(|process| is_it(process)).map(|process| Pid::from_raw(process.pid))
    }

    /// How often a server has been started.
    pub fn starts(&self) -> u32 {
        self.server.starts.load(Ordering::SeqCst)
    }

    /// `kill -9`.
    pub fn kill(&self, part: Part) {
        let pid = self.pid(part).unwrap_or_else(|| panic!("{part:?} does not run:\n{}", self.last_words()));
        kill(pid, Signal::SIGKILL).unwrap();
    }

    /// Every decision of the gateway, oldest first.
    pub fn decisions(&self) -> Vec<Value> {
        let files = fs::read_dir(self.state.join("audit/gateway/entries")).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
    }

    /// Why a request was refused, in the log's words.
    pub fn reason(&self, request_id: &str) -> Option<String> {
        let decision = self.decisions().into_iter().rfind(|decision| decision["requestId"] == request_id)?;
        decision["reason"].as_str().map(str::to_owned)
    }

    /// Looks until it is so, and fails with the server's last words if it does not come to be.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) -> Duration {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < PATIENCE, "not seen in {PATIENCE:?}: {what}\n{}", self.last_words());
            tokio::time::sleep(PAUSE).await;
        }
        begun.elapsed()
    }

    /// What the server and the instances have logged last.
    pub fn last_words(&self) -> String {
        let logs = fs::read_dir(self.state.join("log")).into_iter().flatten().flatten().map(|entry| entry.path());
        let logs = logs.chain(fs::read_dir(self.directory.path()).unwrap().flatten().map(|entry| entry.path()));
        let mut words = String::new();
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            words += &format!("--- {}\n{}\n", log.display(), lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        words
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        // Whatever the gateway and the instances hold of it breaks, and they end.
        if let Some(pid) = self.pid(Part::Server) {
            let _ended_meanwhile = kill(pid, Signal::SIGTERM);
        }
    }
}

/// What went wrong, in a command's own words.
pub fn said(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The username at UCloud of an account here.
pub fn username_of(account: &str) -> &'static str {
    USERS.iter().find(|(known, _)| *known == account).map_or("stranger#9999", |(_, username)| username)
}

/// One line of the process table.
struct Process {
    pid: i32,
    parent: i32,
    uid: u32,
    arguments: Vec<String>,
}

impl Process {
    fn is(&self, mode: &str) -> bool {
        let program = self.arguments.first().is_some_and(|program| program.ends_with("countersign"));
        program && self.arguments.get(1).is_some_and(|argument| argument == mode)
    }
}

fn processes() -> Vec<Process> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| process(&entry.path())).collect()
}

/// `None` for what is no process, or has ended in the meantime.
fn process(directory: &Path) -> Option<Process> {
    let pid = directory.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    // The name, in parentheses, may contain anything; state and parent follow it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    let command_line = fs::read_to_string(directory.join("cmdline")).ok()?;
    let arguments = command_line.split_terminator('\0').map(str::to_owned).collect();
    // Not the directory's owner: a process that may not be dumped has root for that.
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()?;
    (!is_zombie).then_some(Process { pid, parent, uid, arguments })
}

async fn finish(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    output.unwrap_or_else(|_| panic!("no end in {PATIENCE:?}: {command:?}")).unwrap()
}

/// A loop-back address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn make_directory(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes a file with that mode, for that account.
pub fn write_file(path: &Path, text: &str, mode: u32, owner: Option<&str>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if let Some(owner) = owner {
        let user = User::from_name(owner).unwrap().expect("such an account");
        chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}
