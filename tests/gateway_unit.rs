//! Tests of a gateway that the service manager starts in its own unit. It fetches its sockets from
//! the server, and the server controls it like a child.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use crate::support::test_site::{self, TestSite, said};
use countersign_portal::Endpoint;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A gateway as deploy/systemd/countersign-gateway.service starts it: as the account, alone in its
/// network namespace. It ends with the test.
struct Unit(Child);

impl Unit {
    fn start(centre: &TestSite, account: &str) -> Self {
        // The process that starts it may have left any descriptor open.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "exec 9</etc/hostname; exec \"$@\"",
            "sh",
            "unshare",
            "--net",
            "setpriv",
            "--reuid",
            account,
            "--regid",
            account,
            "--clear-groups",
            "--no-new-privs",
        ]);
        command.args(["/usr/bin/countersign", "gateway", "--attach", "--config"]).arg(&centre.config);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Ends it, and returns its output.
    fn end(mut self) -> Output {
        let _ended_already = self.0.kill();
        let pipe = self.0.stderr.take().unwrap();
        Output {
            status: self.0.wait().unwrap(),
            stdout: Vec::new(),
            stderr: std::io::read_to_string(pipe).unwrap().into(),
        }
    }
}

async fn open() -> TestSite {
    let centre = TestSite::furnish_at(Endpoint::plain, "start = \"service\"", "").await;
    centre.supervise();
    let door = centre.state.join("gateway.sock");
    centre.until("the server waits for a gateway", async || door.exists()).await;
    centre
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn it_serves_without_a_network_of_its_own_and_is_followed_by_another() {
    let centre = open().await;
    let mut first = Unit::start(&centre, "ucloud");
    centre.until("the gateway serves", async || centre.serves().await).await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let status = fs::read_to_string(format!("/proc/{}/status", first.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");

    let open = fs::read_dir(format!("/proc/{}/fd", first.pid())).unwrap().flatten();
    let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(!open.contains(&"/etc/hostname".into()), "{open:?}");

    // A second gateway has to wait until the first is gone, and then serves.
    let second = Unit::start(&centre, "ucloud");
    assert!(centre.serves().await && first.runs());
    kill(first.pid(), Signal::SIGKILL).unwrap();
    centre.until("the second serves", async || centre.serves().await).await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let said_by_second = second.end();
    assert!(said(&said_by_second).contains("entered sandbox"), "{}", said(&said_by_second));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p6_one_that_does_not_take_note_is_killed_though_it_is_no_child() {
    let centre = open().await;
    let mut gateway = Unit::start(&centre, "ucloud");
    centre.until("the gateway serves", async || centre.serves().await).await;
    let alice = centre.connect("alice").await;
    kill(gateway.pid(), Signal::SIGSTOP).unwrap();
    let revoked = centre.run_as("alice", &["keys", "revoke", alice.key.kid()]).await;
    assert!(revoked.status.success(), "{}", said(&revoked));
    assert!(!gateway.runs(), "the key is revoked, and a gateway that knows it is there");
    let _second = Unit::start(&centre, "ucloud");
    centre.until("its successor serves", async || centre.serves().await).await;
    assert_eq!(centre.browse(&alice, "/home").await.status, 482);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn it_ends_with_its_server() {
    let centre = open().await;
    let mut gateway = Unit::start(&centre, "ucloud");
    centre.until("the gateway serves", async || centre.serves().await).await;
    centre.kill(test_site::Part::Server);
    let status = tokio::task::spawn_blocking(move || gateway.0.wait().unwrap()).await.unwrap();
    assert!(!status.success());
    // As the service manager does, start it as often as needed: the server is not there at once.
    let another = std::cell::RefCell::new(Unit::start(&centre, "ucloud"));
    centre
        .until("another serves", async || {
            if !another.borrow_mut().runs() {
                another.replace(Unit::start(&centre, "ucloud"));
            }
            centre.serves().await
        })
        .await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v56_nobody_else_gets_the_sockets() {
    let centre = open().await;
    let mut stranger = Unit::start(&centre, "mallory");
    assert!(!stranger.0.wait().unwrap().success());
    // The server also checks the account of a peer that can enter the directory.
    let knock = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/var/lib/countersign/gateway.sock'); print(s.recv(1))";
    let root = centre.shell_as("root", &format!("python3 -c \"{knock}\"")).await;
    assert!(said(&root).contains("b''") || said(&root).contains("ConnectionReset"), "{}", said(&root));
    let _own = Unit::start(&centre, "ucloud");
    centre.until("the gateway serves", async || centre.serves().await).await;
}
