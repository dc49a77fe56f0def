//! Tests of the sandbox around a compromised gateway: its attempts, and their outcomes.
//!
//! The gateway of a debug build performs the deeds of a file in the state directory, inside the
//! sandbox, and records the outcomes. Every test has its contrast: a deed that is refused in one
//! succeeds in another. Each runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::test_site::{Part, TestSite};
use countersign_portal::Endpoint;
use nix::libc;
use nix::unistd::{User, chown};

/// A deed, and its error with the whole sandbox, with Landlock alone, and without a sandbox.
type Row = (String, &'static str, &'static str, &'static str);

/// Targets within reach of the gateway's account, so that only the sandbox prevents access.
struct Surroundings {
    /// A process of the same account that can be traced.
    sibling: Child,
    /// A TCP port of another process.
    port: TcpListener,
    _abstract: UnixListener,
}

const ABSTRACT: &str = "countersign-test-of-the-sandbox";

impl Surroundings {
    fn make(centre: &TestSite) -> Self {
        let ucloud = User::from_name("ucloud").unwrap().unwrap();
        for name in ["victim-1", "victim-2", "victim-3", "audit/gateway/victim"] {
            let path = centre.state.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "something").unwrap();
            chown(&path, Some(ucloud.uid), Some(ucloud.gid)).unwrap();
        }
        for directory in ["audit", "audit/gateway"] {
            let path = centre.state.join(directory);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&path, Some(ucloud.uid), Some(ucloud.gid)).unwrap();
        }
        let alices = Path::new("/run/tmp/of-alice");
        let alice = User::from_name("alice").unwrap().unwrap();
        fs::write(alices, "for everybody").unwrap();
        chown(alices, Some(alice.uid), Some(alice.gid)).unwrap();
        let traceable = "import ctypes; ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0); print(1, flush=True); input()";
        let mut sibling = Command::new("setpriv")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .args(["--reuid", "ucloud", "--regid", "ucloud", "--clear-groups", "python3", "-c", traceable])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = String::new();
        BufReader::new(sibling.stdout.as_mut().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word, "1\n", "the process to be traced");
        let name = SocketAddr::from_abstract_name(ABSTRACT).unwrap();
        Self {
            sibling,
            port: TcpListener::bind("127.0.0.1:0").unwrap(),
            _abstract: UnixListener::bind_addr(&name).unwrap(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        let pid = self.sibling.id();
        let port = self.port.local_addr().unwrap();
        let me = std::process::id();
        let mut rows = Vec::new();
        let mut row = |deed: String, whole, landlock, none| rows.push((deed, whole, landlock, none));
        // Files: no existing one can be opened, and none can be made outside one place.
        for path in
            ["/etc/passwd", "/etc/countersign/config.toml", "/etc/countersign/refresh-token", "/run/tmp/of-alice"]
        {
            row(format!("read {path}"), "EPERM", "EACCES", "done");
        }
        row(format!("read /proc/{pid}/mem"), "EPERM", "EACCES", "done");
        row(format!("read /proc/{pid}/environ"), "EPERM", "EACCES", "done");
        let state = "/var/lib/countersign";
        row(format!("write {state}/victim-1"), "EPERM", "EACCES", "done");
        row(format!("write {state}/replay/used-intents.a"), "EPERM", "EACCES", "done");
        row(format!("write {state}/audit/gateway/entries/lock"), "EPERM", "done", "done");
        row(format!("read {state}/audit/gateway/entries/lock"), "EPERM", "EACCES", "done");
        row(format!("make {state}/made"), "EACCES", "EACCES", "done");
        row(format!("make {state}/audit/gateway/made"), "EACCES", "EACCES", "done");
        row("make /run/tmp/made".to_owned(), "EACCES", "EACCES", "done");
        // The gateway makes the next file of its log there.
        row(format!("make {state}/audit/gateway/entries/made"), "done", "done", "done");
        row(format!("remove {state}/audit/gateway/entries/made"), "EPERM", "EACCES", "done");
        row(format!("list {state}"), "EPERM", "EACCES", "done");
        row("look /etc/passwd".to_owned(), "EPERM", "done", "done");
        row(format!("remove {state}/victim-1"), "EPERM", "EACCES", "done");
        row(format!("rename {state}/victim-2"), "EPERM", "EACCES", "done");
        row(format!("mode {state}/victim-3"), "EPERM", "done", "done");
        row(format!("truncate {state}/victim-3"), "EPERM", "EACCES", "done");
        row(format!("directory {state}/made-directory"), "EPERM", "EACCES", "done");
        row(format!("socket {state}/made-socket"), "EPERM", "EACCES", "done");
        // The network.
        row("tcp".to_owned(), "EPERM", "done", "done");
        row(format!("connect {port}"), "EPERM", "EACCES", "done");
        row("listen 127.0.0.1:0".to_owned(), "EPERM", "EACCES", "done");
        row("datagram 127.0.0.1:0".to_owned(), "EPERM", "done", "done");
        row(format!("abstract {ABSTRACT}"), "EPERM", "EPERM", "done");
        // Programs and processes.
        row("exec /no/such/program".to_owned(), "EPERM", "done", "done");
        row("spawn /bin/true".to_owned(), "EPERM", "EACCES", "done");
        row("fork".to_owned(), "EPERM", "done", "done");
        row(format!("attach {pid}"), "EPERM", "EPERM", "done");
        row(format!("peek {pid}"), "EPERM", "EPERM", "done");
        row(format!("signal {pid}"), "EPERM", "EPERM", "done");
        row(format!("thread-signal {pid}"), "EPERM", "EPERM", "done");
        row(format!("owner-signal {me}"), "EPERM", "done", "done");
        // Memory.
        row("map".to_owned(), "EPERM", "done", "done");
        row("protect".to_owned(), "EPERM", "done", "done");
        // Other system calls: for this row it is enough that the kernel would have accepted the
        // call.
        for (number, arguments) in CALLS_WITH_ARGUMENTS {
            row(format!("call {number} {arguments}"), "EPERM", "done", "done");
        }
        for number in CALLS {
            row(format!("call {number}"), "EPERM", "done", "done");
        }
        rows
    }
}

/// Calls that are on the list, but not with these arguments.
const CALLS_WITH_ARGUMENTS: [(i64, &str); 9] = [
    (libc::SYS_socket, "1 2 0"),        // AF_UNIX, SOCK_DGRAM
    (libc::SYS_socket, "2 3 0"),        // AF_INET, SOCK_RAW
    (libc::SYS_socket, "16 3 0"),       // AF_NETLINK
    (libc::SYS_socketpair, "2 1 0 0"),  // AF_INET
    (libc::SYS_setsockopt, "0 1 26 0"), // SO_ATTACH_FILTER
    (libc::SYS_getsockopt, "0 6 11 0"), // TCP_INFO
    (libc::SYS_fcntl, "0 1024 0"),      // F_SETLEASE
    (libc::SYS_ioctl, "0 21522 0"),     // TIOCSTI
    (libc::SYS_prctl, "4 0 0 0 0"),     // PR_SET_DUMPABLE
];

/// Calls that the kernel answers for every account, even if only with an error about the arguments.
const CALLS: [i64; 17] = [
    libc::SYS_mount,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_perf_event_open,
    libc::SYS_memfd_create,
    libc::SYS_pidfd_open,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_execve,
    libc::SYS_sendmsg,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_inotify_init1,
    libc::SYS_shmget,
    libc::SYS_seccomp,
    libc::SYS_personality,
    libc::SYS_pkey_mprotect,
];

/// Makes the gateway perform these deeds at its next start.
fn plan(centre: &TestSite, deeds: impl IntoIterator<Item = String>) {
    let deeds: Vec<String> = deeds.into_iter().collect();
    fs::write(centre.state.join("misbehave"), deeds.join("\n")).unwrap();
    fs::set_permissions(centre.state.join("misbehave"), fs::Permissions::from_mode(0o644)).unwrap();
}

/// The recorded outcomes.
async fn outcome(centre: &TestSite) -> BTreeMap<String, String> {
    let report = || fs::read_to_string(centre.state.join("misbehaved")).unwrap_or_default();
    centre.until("the gateway has done its worst", async || report().ends_with("end\n")).await;
    let lines = report();
    lines
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(deed, outcome)| (deed.into(), outcome.into()))
        .collect()
}

fn compare(rows: &[Row], found: &BTreeMap<String, String>, want: impl Fn(&Row) -> &'static str) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| found.get(&row.0).map(String::as_str) != Some(want(row)))
        .map(|row| format!("{}: {:?}, not {}", row.0, found.get(&row.0), want(row)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn is_of_use(centre: &TestSite) {
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
}

async fn misbehave(gateway: &str) -> (TestSite, Vec<Row>, BTreeMap<String, String>, Surroundings) {
    let mut surroundings = None;
    let centre = TestSite::open_with_gateway(gateway, |centre| {
        let made = Surroundings::make(centre);
        plan(centre, made.rows().into_iter().map(|(deed, ..)| deed));
        surroundings = Some(made);
    })
    .await;
    let mut surroundings = surroundings.unwrap();
    let found = outcome(&centre).await;
    surroundings.sibling.kill().unwrap();
    surroundings.sibling.wait().unwrap();
    let rows = surroundings.rows();
    (centre, rows, found, surroundings)
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_gateway_that_was_taken_over_gets_at_nothing() {
    let (centre, rows, found, _surroundings) = misbehave("").await;
    compare(&rows, &found, |row| row.1);
    assert_eq!(found.len(), rows.len());
    is_of_use(&centre).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn without_the_sandbox_it_gets_at_all_of_it() {
    let (centre, rows, found, _surroundings) = misbehave("sandbox = \"off\"").await;
    compare(&rows, &found, |row| row.3);
    is_of_use(&centre).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_landlock_alone_keeps_it_from_files_ports_and_processes() {
    let (centre, rows, found, _surroundings) = misbehave("sandbox = \"log\"").await;
    compare(&rows, &found, |row| row.2);
    is_of_use(&centre).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_no_system_call_but_those_on_the_list_goes_through() {
    let centre = TestSite::open_with_gateway("", |centre| plan(centre, ["sweep".to_owned()])).await;
    assert_eq!(outcome(&centre).await["sweep"], "done");
    is_of_use(&centre).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_an_inherited_socket_leads_nowhere_else() {
    assert_eq!(reconnecting("").await, "EACCES");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn without_the_sandbox_an_inherited_socket_leads_anywhere() {
    assert_eq!(reconnecting("sandbox = \"off\"").await, "done");
}

/// The outcome when the gateway turns its listening socket into an outgoing connection.
async fn reconnecting(gateway: &str) -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let deed = format!("reconnect {}", port.local_addr().unwrap());
    let centre = TestSite::furnish_at(Endpoint::plain, gateway, "").await;
    plan(&centre, [deed.clone()]);
    centre.supervise();
    outcome(&centre).await.remove(&deed).unwrap()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_where_instances_have_ports_no_others_are_connected_to() {
    let (own, inside) = std::iter::from_fn(|| TcpListener::bind("127.0.0.1:0").ok())
        .find_map(|own| {
            let port = own.local_addr().unwrap().port();
            let inside = (100..200).find_map(|more| TcpListener::bind(("127.0.0.1", port.checked_add(more)?)).ok());
            Some((port, inside?))
        })
        .unwrap();
    let outside = (1..1000).find_map(|less| TcpListener::bind(("127.0.0.1", own - less)).ok()).unwrap();
    let inside = inside.local_addr().unwrap();
    let outside = outside.local_addr().unwrap();
    let deeds = [format!("connect {inside}"), format!("connect {outside}"), "listen 127.0.0.1:0".to_owned()];
    let centre = TestSite::open_with_gateway("", |centre| {
        let text = fs::read_to_string(&centre.config).unwrap();
        let tcp = format!("launch = \"sudo\"\nlisten = \"tcp\"\nfirst_port = {own}\n");
        fs::write(&centre.config, text.replace("launch = \"sudo\"\n", &tcp)).unwrap();
        plan(centre, deeds.clone());
    })
    .await;
    let found = outcome(&centre).await;
    assert_eq!(deeds.map(|deed| found[&deed].clone()), ["done", "EACCES", "EPERM"]);
    is_of_use(&centre).await;
}

/// As on a kernel without Landlock.
fn forget_landlock() {
    let rules = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
    let absent = seccompiler::SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = seccompiler::SeccompFilter::new(rules, seccompiler::SeccompAction::Allow, absent, architecture);
    let filter: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&filter).unwrap();
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p8_without_landlock_there_is_no_gateway() {
    forget_landlock();
    let centre = TestSite::furnish("").await;
    centre.supervise();
    let words = "Landlock cannot restrict the gateway; gateway.sandbox = ";
    centre.until("the gateway says why it does not start", async || centre.last_words().contains(words)).await;
    assert!(!centre.serves().await);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn without_landlock_a_site_may_do_with_the_rest() {
    forget_landlock();
    let centre = TestSite::open_with_gateway("sandbox = \"available\"", |centre| {
        plan(centre, ["read /etc/passwd".to_owned(), "make /run/tmp/made".to_owned()]);
    })
    .await;
    let found = outcome(&centre).await;
    assert_eq!((found["read /etc/passwd"].as_str(), found["make /run/tmp/made"].as_str()), ("EPERM", "done"));
    assert!(centre.last_words().contains("the gateway runs without Landlock"));
    assert!(centre.pid(Part::Gateway).is_some());
}
