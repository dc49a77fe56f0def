//! A computing centre for tests: a stand-in Core, a server with its gateway, users with keys in
//! their browsers.
//!
//! As root, inside `tests/support/installation.sh`, each user has their own account and sudo starts
//! the instances. As an ordinary user, all processes run in that user's account and in one
//! temporary directory. No step waits for a guessed time: [`TestSite::until`] polls, and its panic
//! says what did not happen.

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
    TestCertificate, now,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use serde_json::Value;
use tokio::process::{Child, Command};

/// The provider's id.
pub(crate) const PROVIDER: &str = "hpc";
/// The longest that a test waits for an event before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause before a server is started again: `RestartSec=` of deploy/systemd/countersign.service.
const RESTART: Duration = Duration::from_millis(100);
/// Core's pause between `init` and the repeated request, shortened so that tests are fast.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The users: local account, username at UCloud.
const USERS: [(&str, &str); 2] = [("alice", "alice#1234"), ("bob", "bob#5678")];

/// The accounts that the processes run in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accounts {
    /// One for each user and service, made by `installation.sh`.
    Own,
    /// The account that runs the test, for all of them.
    Shared,
}

/// A process of the product.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// IM/Server.
    Server,
    /// The L7 ingress.
    Gateway,
    /// The IM/User of this account.
    Instance(&'static str),
}

/// A user with a local account and a key in their browser.
#[derive(Debug)]
pub(crate) struct Person {
    /// Username at UCloud.
    pub(crate) username: String,
    /// Name of the local account.
    pub(crate) account: &'static str,
    /// Home directory.
    pub(crate) home: PathBuf,
    /// The key that the browser signs with.
    pub(crate) key: BrowserKey,
}

/// A connection that waits for approval at the centre.
#[derive(Debug)]
pub(crate) struct Offered {
    /// The page in the browser.
    pub(crate) page: ConnectionPage,
    /// The key that the browser made.
    pub(crate) key: BrowserKey,
    /// The code to approve.
    pub(crate) code: String,
}

/// The centre. Its processes end when it is dropped.
#[derive(Debug)]
pub(crate) struct TestSite {
    /// The accounts that its processes run in.
    pub(crate) accounts: Accounts,
    /// UCloud as a client of this provider.
    pub(crate) core: Core,
    /// UCloud's endpoints for providers.
    pub(crate) control: Control,
    /// Core's keys.
    pub(crate) keys: Arc<CoreKeys>,
    /// `config.toml`.
    pub(crate) config: PathBuf,
    /// `state.directory`.
    pub(crate) state: PathBuf,
    /// `ipc.directory`.
    pub(crate) ipc: PathBuf,
    pub(crate) directory: tempfile::TempDir,
    program: PathBuf,
    /// Where the gateway listens. A proxy before it has another address.
    pub(crate) address: SocketAddr,
    /// Further keys of `[gateway]`.
    gateway: String,
    static_addresses: Vec<(&'static str, SocketAddr)>,
    instances: tokio::sync::Mutex<Vec<Child>>,
    server: Arc<ServerSlot>,
}

/// The running server. Only its supervisor writes this.
#[derive(Debug, Default)]
struct ServerSlot {
    /// 0 while no server runs.
    pid: AtomicI32,
    starts: AtomicU32,
}

impl TestSite {
    /// Starts a server with the standard configuration and waits until the gateway serves.
    pub(crate) async fn open() -> Self {
        Self::open_with("").await
    }

    /// [`Self::open`] with more TOML, which follows the keys of `[state]`.
    pub(crate) async fn open_with(more: &str) -> Self {
        Self::furnish(more).await.opened().await
    }

    /// [`Self::open_with`], where the provider's origin has a host name, as passkeys need.
    pub(crate) async fn open_with_a_name(more: &str) -> Self {
        Self::furnish_at(|address| Endpoint::plain_at(address, "localhost"), "", more).await.opened().await
    }

    /// [`Self::open`], where the test starts and kills the instances. The server would stop
    /// restarting an instance that ends early several times.
    pub(crate) async fn open_with_static_instances(more: &str) -> Self {
        let mut centre = Self::furnish(more).await;
        centre.static_addresses = USERS.iter().map(|(account, _)| (*account, free_address())).collect();
        fs::write(&centre.config, centre.config_text(more)).unwrap();
        centre.opened().await
    }

    /// [`Self::open`] with these keys of `[gateway]`. Calls `prepare` before the server starts.
    pub(crate) async fn open_with_gateway(gateway: &str, prepare: impl FnOnce(&Self)) -> Self {
        let centre = Self::furnish_at(Endpoint::plain, gateway, "").await;
        prepare(&centre);
        centre.opened().await
    }

    /// The same over TLS with HTTP/2, for a Core that drops intents, as the Go Core does.
    pub(crate) async fn open_over_tls(more: &str) -> Self {
        let certificate = TestCertificate::make("localhost").unwrap();
        let endpoint = |address| Endpoint::tls(address, "localhost", &certificate.authority_pem).unwrap();
        let tls = "tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }";
        let mut centre = Self::furnish_at(endpoint, tls, more).await;
        write_file(&centre.config.with_file_name("fullchain.pem"), &certificate.certificate_pem, 0o644, None);
        write_file(&centre.config.with_file_name("key.pem"), &certificate.key_pem, 0o600, Some("ucloud"));
        centre.core = Core::new(Arc::clone(&centre.keys), endpoint(centre.address))
            .with_control(&centre.control)
            .with_retry_pause(RETRY_PAUSE)
            .with_forwarding(IntentForwarding::Dropped);
        centre.opened().await
    }

    /// Starts the server and waits until the gateway serves.
    pub(crate) async fn opened(self) -> Self {
        let centre = self;
        centre.supervise();
        centre.until("the gateway serves", async || centre.serves().await).await;
        centre
    }

    /// Writes the configuration and starts nothing.
    pub(crate) async fn furnish(more: &str) -> Self {
        Self::furnish_at(Endpoint::plain, "", more).await
    }

    /// [`Self::furnish`], where Core and browsers reach the gateway at that endpoint. `gateway` is
    /// TOML for its table.
    pub(crate) async fn furnish_at(endpoint: impl Fn(SocketAddr) -> Endpoint, gateway: &str, more: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("countersign-test-").tempdir().unwrap();
        // Service accounts have to reach their files in it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let accounts = if Uid::effective().is_root() { Accounts::Own } else { Accounts::Shared };
        let keys = Arc::new(CoreKeys::generate(PROVIDER).unwrap());
        let control = Control::start(Arc::clone(&keys)).await.unwrap();
        let address = free_address();
        let core = Core::new(Arc::clone(&keys), endpoint(address)).with_control(&control).with_retry_pause(RETRY_PAUSE);
        let (etc, state, ipc, program) = match accounts {
            Accounts::Own => {
                assert!(
                    Path::new("/etc/sudoers.d/countersign").exists(),
                    "as root, run this inside tests/support/installation.sh: see ./test"
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
                // Tests also run on kernels without Landlock.
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

    // --- Users and their requests ----------------------------------------------------------------

    /// Connects a user with an ES256 key: Core begins, the browser offers the key, the user
    /// approves it, and the page probes.
    pub(crate) async fn connect(&self, account: &'static str) -> Person {
        self.connect_with(account, Algorithm::Es256).await
    }

    /// [`Self::connect`] with a key of that algorithm. Also connects a connected user's second
    /// browser.
    pub(crate) async fn connect_with(&self, account: &'static str, algorithm: Algorithm) -> Person {
        let Offered { page, key, code } = self.offer(username_of(account), algorithm).await;
        let approved = self.run_as(account, &["connect", "approve", &code, "--yes"]).await;
        assert!(approved.status.success(), "connect approve: {}\n{}", said(&approved), self.last_words());
        let person = Person { username: username_of(account).to_owned(), account, home: self.home(account), key };
        self.start_static_instance(&person).await;
        let probe = page.probe(&person.key, &person.username).await.unwrap();
        assert!(probe.is_ok(), "connect/probe: {probe:?}");
        person
    }

    /// Offers a new key of a browser, and does not approve it.
    pub(crate) async fn offer(&self, username: &str, algorithm: Algorithm) -> Offered {
        let redirect = self.core.connect(username).await.unwrap();
        let page = ConnectionPage::open(&redirect, self.core.endpoint().clone()).unwrap();
        let mut key = BrowserKey::make(algorithm).unwrap();
        let answer = page.offer(&key).await.unwrap();
        assert!(answer.is_ok(), "connect/offer: {answer:?}");
        key.set_kid(&answer.text("kid"));
        Offered { page, key, code: answer.text("code") }
    }

    /// Core's request for a deed, with an intent that the person signs for it.
    pub(crate) fn signed(&self, person: &Person, deed: &Deed) -> Request {
        self.request(person, deed, &self.intent(person, deed))
    }

    /// The intent that the person's browser signs for a deed at this moment.
    pub(crate) fn intent(&self, person: &Person, deed: &Deed) -> Intent {
        Intent::of(&self.origin(), &person.username, deed, now()).unwrap()
    }

    fn request(&self, person: &Person, deed: &Deed, intent: &Intent) -> Request {
        let intent = intent.sign(&person.key).unwrap();
        self.core.request(&person.username, deed, Some(&intent)).unwrap()
    }

    /// Performs a deed with the intent that a browser signs for it: see
    /// [`TestSite::perform_signed`].
    pub(crate) async fn perform(&self, person: &Person, deed: &Deed) -> Answer {
        self.perform_signed(person, deed, &self.intent(person, deed)).await
    }

    /// Signs an intent for a deed and has Core request it, with Core's repetitions while the
    /// instance starts. Where Core drops intents, deposits the intent first, and returns the answer
    /// to a refused deposit.
    pub(crate) async fn perform_signed(&self, person: &Person, deed: &Deed, intent: &Intent) -> Answer {
        let request = self.request(person, deed, intent);
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
    pub(crate) async fn browse(&self, person: &Person, path: &str) -> Answer {
        self.perform(person, &Deed::browse(path)).await
    }

    /// Whether Core's own calls are served.
    pub(crate) async fn serves(&self) -> bool {
        self.core.retrieve_manifest().await.is_ok_and(|answer| answer.is_ok())
    }

    // --- Programs --------------------------------------------------------------------------------

    /// Runs `countersign` in that account, with the environment of a login.
    pub(crate) async fn run_as(&self, account: &str, arguments: &[&str]) -> Output {
        let mut command = self.command_as(account, &self.program);
        command.args(arguments).arg("--config").arg(&self.config);
        if self.accounts == Accounts::Shared && account != "root" {
            command.arg("--home").arg(self.home(account));
        }
        finish(command).await
    }

    /// Runs a shell script as that account.
    pub(crate) async fn shell_as(&self, account: &str, script: &str) -> Output {
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

    /// Starts the server again whenever it ends, as systemd does.
    pub(crate) fn supervise(&self) {
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

    /// Sends SIGKILL to every instance that the test has started.
    pub(crate) async fn kill_static_instances(&self) {
        for mut child in self.instances.lock().await.drain(..) {
            child.kill().await.unwrap();
        }
        // A program that one was about to start holds its listening socket until it begins.
        let is_closed = |(_, address): &(_, _)| std::net::TcpStream::connect(address).is_err();
        self.until("no instance listens", async || self.static_addresses.iter().all(is_closed)).await;
    }

    /// Starts the person's instance with `instances.launch = "static"`, unless it runs.
    pub(crate) async fn start_static_instance(&self, person: &Person) {
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

    // --- Observation -----------------------------------------------------------------------------

    /// The provider's origin.
    pub(crate) fn origin(&self) -> String {
        self.core.endpoint().origin()
    }

    /// An account's home directory.
    pub(crate) fn home(&self, account: &str) -> PathBuf {
        match self.accounts {
            Accounts::Own => User::from_name(account).unwrap().expect("such an account").dir,
            Accounts::Shared => self.directory.path().join("home").join(account),
        }
    }

    /// Writes a file into the person's home, owned by their account.
    pub(crate) fn write(&self, person: &Person, name: &str, content: &[u8]) {
        let path = person.home.join(name);
        fs::write(&path, content).unwrap();
        if self.accounts == Accounts::Own {
            let user = User::from_name(person.account).unwrap().expect("such an account");
            chown(&path, Some(user.uid), Some(user.gid)).unwrap();
        }
    }

    /// The process id of that part, if it runs.
    pub(crate) fn pid(&self, part: Part) -> Option<Pid> {
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

    /// How often the server has been started.
    pub(crate) fn starts(&self) -> u32 {
        self.server.starts.load(Ordering::SeqCst)
    }

    /// Sends SIGKILL to that process.
    pub(crate) fn kill(&self, part: Part) {
        let pid = self.pid(part).unwrap_or_else(|| panic!("{part:?} is not running:\n{}", self.last_words()));
        kill(pid, Signal::SIGKILL).unwrap();
    }

    /// The gateway's decisions in its audit log, oldest first.
    pub(crate) fn decisions(&self) -> Vec<Value> {
        let files = fs::read_dir(self.state.join("audit/gateway/entries")).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
    }

    /// The reason of a refusal in the audit log.
    pub(crate) fn reason(&self, request_id: &str) -> Option<String> {
        let decision = self.decisions().into_iter().rfind(|decision| decision["requestId"] == request_id)?;
        decision["reason"].as_str().map(str::to_owned)
    }

    /// Polls until the condition holds. Panics after [`PATIENCE`], with the ends of the logs.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) -> Duration {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.last_words());
            tokio::time::sleep(PAUSE).await;
        }
        begun.elapsed()
    }

    /// The last lines of every log of the server and the instances.
    pub(crate) fn last_words(&self) -> String {
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

impl Drop for TestSite {
    fn drop(&mut self) {
        // The gateway and the instances end when their lines to the server break.
        if let Some(pid) = self.pid(Part::Server) {
            let _ended_meanwhile = kill(pid, Signal::SIGTERM);
        }
    }
}

/// A command's status and its output, for messages of failed assertions.
pub(crate) fn said(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The username at UCloud of a local account.
pub(crate) fn username_of(account: &str) -> &'static str {
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

/// Reads a directory of `/proc`. `None` if it is not a process, or the process has ended.
fn process(directory: &Path) -> Option<Process> {
    let pid = directory.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    // The name, in parentheses, may contain any character. State and parent follow it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    let command_line = fs::read_to_string(directory.join("cmdline")).ok()?;
    let arguments = command_line.split_terminator('\0').map(str::to_owned).collect();
    // Not the directory's owner, which is root for a process that is not dumpable.
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()?;
    (!is_zombie).then_some(Process { pid, parent, uid, arguments })
}

async fn finish(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    output.unwrap_or_else(|_| panic!("still running after {PATIENCE:?}: {command:?}")).unwrap()
}

/// A loop-back address with a port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn make_directory(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes a file with that mode, for that account.
pub(crate) fn write_file(path: &Path, text: &str, mode: u32, owner: Option<&str>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if let Some(owner) = owner {
        let user = User::from_name(owner).unwrap().expect("such an account");
        chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}
