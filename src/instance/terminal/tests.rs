//! Tests with real login shells behind real sockets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::websocket::frames::reading;

/// The longest wait for an event that never happens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A shell, and the browser's end of its socket.
struct Desk {
    home: TempDir,
    shells: Shells,
}

struct Browser {
    socket: WebSocketStream<DuplexStream>,
    served: JoinHandle<()>,
    typed: u32,
    shown: String,
}

impl Desk {
    fn new(shell: &str) -> Self {
        let home = TempDir::new().unwrap();
        let login = Login { name: "somebody".to_owned(), home: home.path().to_owned(), shell: PathBuf::from(shell) };
        Self { home, shells: Shells::of(login, "hpc") }
    }

    /// A desk whose shell is this script.
    fn with_script(script: &str) -> Self {
        let mut desk = Self::new("");
        let path = desk.home.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        desk.shells.login.shell = path;
        desk
    }

    async fn open(&self) -> Browser {
        self.open_in(self.home.path()).await
    }

    async fn open_in(&self, folder: &Path) -> Browser {
        let folder = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let (ours, theirs) = tokio::io::duplex(4096);
        let shells = self.shells.clone();
        let served = tokio::spawn(async move {
            let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, Some(reading(MESSAGE_MAX))).await;
            shells.run(socket, Opened::Folder(folder)).await;
        });
        let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        Browser { socket, served, typed: 0, shown: String::new() }
    }

    async fn opened(&self) -> Browser {
        let mut browser = self.open().await;
        browser.ask("0", &json!({"type": "initialize", "sessionIdentifier": "x", "cols": 80, "rows": 24})).await;
        assert_eq!(
            browser.next().await,
            json!({"type": "message", "streamId": "0", "payload": {"type": "initialize"}})
        );
        browser
    }
}

impl Browser {
    async fn ask(&mut self, stream_id: &str, payload: &Value) {
        let call = json!({"call": "jobs.compute.hpc.shell.open", "streamId": stream_id, "payload": payload});
        self.socket.send(Message::text(call.to_string())).await.unwrap();
    }

    async fn input(&mut self, data: &str) {
        self.typed += 1;
        self.ask(&self.typed.to_string(), &json!({"type": "input", "data": data})).await;
    }

    /// The next message; null once the socket is closed.
    async fn next(&mut self) -> Value {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_))) | None => return Value::Null,
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// Reads until `wanted` appears, and returns the output before it.
    async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some((before, after)) = self.shown.split_once(wanted) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.shown = after;
                return before;
            }
            let next = self.next().await;
            assert_ne!(next, Value::Null, "closed before {wanted:?} was shown: {:?}", self.shown);
            if let Some(data) = next["payload"]["data"].as_str() {
                assert_eq!((&next["streamId"], &next["type"]), (&json!("0"), &json!("message")));
                self.shown += data;
            }
        }
    }

    async fn until_closed(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("an end") {
                Some(Ok(Message::Close(frame))) => return frame.unwrap().reason.as_str().to_owned(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn is_alive(pid: &str) -> bool {
    // An ended process that its parent has not waited for yet (a zombie) is not alive.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_shell_as_at_a_login() {
    let desk = Desk::new("/bin/bash");
    std::fs::write(desk.home.path().join(".bash_profile"), "PS1='ready> '; profile=read\n").unwrap();
    let mut browser = desk.opened().await;
    browser.until("ready> ").await;
    browser.input("echo $((40+2)) $profile $0 $TERM \"$HOME\" $USER $LOGNAME $SHELL; tty; stty size\r").await;
    let home = desk.home.path().display();
    browser.until(&format!("42 read -bash xterm-256color {home} somebody somebody /bin/bash\r\n/dev/pts/")).await;
    browser.until("24 80\r\n").await;
    // The shell inherits nothing of this process's environment.
    browser.input("env | grep -c CARGO; echo is=$?\r").await;
    browser.until("0\r\nis=1\r\n").await;
    // The shell leads its own session and its own process group, and owns its terminal.
    browser.input("ps -o pid=,pgid=,sid= -p $$ | awk '{print ($1==$2 && $2==$3) ? \"le\" \"ader\" : \"no\"}'\r").await;
    browser.until("leader\r\n").await;
    browser.input("exit\r").await;
    assert_eq!(browser.until_closed().await, "the shell has ended");
    browser.served.await.unwrap();
    assert_eq!(desk.shells.open(), 0);
}

/// The shell has only its terminal, whatever this process has open, sockets above all.
#[tokio::test]
async fn no_descriptor_leaks() {
    countersign_os::descriptors::keep_inherited_from_children().unwrap();
    let desk = Desk::new("/bin/sh");
    let _others: Vec<std::fs::File> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
    let mut other_shell = desk.opened().await;
    let mut browser = desk.opened().await;
    browser.input("for f in /proc/$$/fd/*; do echo [$(readlink $f); done | sort -u; echo e'n'd\r").await;
    let shown = browser.until("end\r\n").await;
    // The shell itself opens /dev/tty.
    let open: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_once("[/"))
        .map(|(_, path)| path)
        .filter(|path| *path != "dev/tty")
        .collect();
    assert!(open.len() == 1 && open[0].starts_with("dev/pts/"), "{open:?}");
    other_shell.input("exit\r").await;
    other_shell.until_closed().await;
}

#[tokio::test]
async fn it_starts_in_the_open_folder_whatever_that_is_called() {
    let desk = Desk::new("/bin/sh");
    let (folder, moved) = (desk.home.path().join("folder"), desk.home.path().join("moved"));
    std::fs::create_dir(&folder).unwrap();
    let mut browser = desk.open_in(&folder).await;
    std::fs::rename(&folder, &moved).unwrap();
    std::fs::create_dir(&folder).unwrap();
    browser.ask("0", &json!({"type": "initialize", "cols": 80, "rows": 24})).await;
    browser.input("pwd -P | sed s/^/at=/\r").await;
    browser.until(&format!("at={}\r\n", moved.canonicalize().unwrap().display())).await;
}

#[tokio::test]
async fn it_can_be_resized() {
    let desk = Desk::new("/bin/sh");
    let mut browser = desk.opened().await;
    browser.ask("r", &json!({"type": "resize", "cols": 132, "rows": 50})).await;
    while browser.next().await
        != json!({"type": "response", "streamId": "r", "status": 200, "payload": {"type": "ack"}})
    {}
    browser.input("stty size\r").await;
    browser.until("50 132\r\n").await;
    // A terminal always has at least one cell.
    browser.ask("r", &json!({"type": "resize", "cols": 0, "rows": 0})).await;
    browser.input("stty size\r").await;
    browser.until("1 1").await;
}

#[tokio::test]
async fn characters_cross_the_borders_of_what_is_read() {
    // Each round is one byte longer, so that every boundary falls inside a character at some point.
    let desk = Desk::with_script(
        "stty -onlcr; i=0; while [ $i -lt 3000 ]; do printf '€😀x'; i=$((i+1)); done; printf '\\377.'",
    );
    let mut browser = desk.opened().await;
    let shown = browser.until(".").await;
    assert_eq!(shown, format!("{}\u{fffd}", "€😀x".repeat(3000)));
}

/// `yes` for a browser that does not read: the shell stops, and this process does not grow.
#[tokio::test]
async fn a_browser_that_does_not_read_stops_the_shell() {
    let count = |desk: &Desk| std::fs::read_to_string(desk.home.path().join("count")).unwrap_or_default();
    let desk = Desk::with_script(
        "cd \"$HOME\"; i=0; l=$(printf %01000d 0); while :; do echo $l; i=$((i+1)); echo $i >.c; mv .c count; done",
    );
    let mut browser = desk.opened().await;
    // The shell has stopped when it wrote nothing for half a second. A running shell writes every
    // millisecond.
    let mut seen = (count(&desk), Instant::now());
    while seen.1.elapsed() < Duration::from_millis(500) || seen.0.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = count(&desk);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
    }
    let stopped_at: usize = seen.0.trim().parse().unwrap();
    assert!(stopped_at < 128, "{stopped_at} kB were taken from a shell that nobody reads");
    // The shell can still be interrupted, and it continues as far as the browser reads.
    let mut read = 0;
    while read < 2_000_000 {
        read += browser.next().await["payload"]["data"].as_str().map_or(0, str::len);
    }
    let written: usize = count(&desk).trim().parse().unwrap();
    assert!(written * 1000 < read + 128_000, "{written} kB written, {read} bytes read");
}

#[tokio::test]
async fn what_is_typed_arrives_though_what_is_shown_is_not_read() {
    let desk =
        Desk::with_script("stty -echo; trap 'echo > \"$HOME/interrupted\"; exit' INT; while :; do echo yes; done");
    let mut browser = desk.opened().await;
    browser.until("yes").await;
    // A shell that is signalled just before it writes to a full terminal notices the signal only
    // when the terminal takes the output. A user would press the key again, and so does the test.
    let pressing = async {
        while !desk.home.path().join("interrupted").exists() {
            browser.input("\u{3}").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, pressing).await.expect("the shell is interrupted");
}

#[tokio::test]
async fn a_socket_that_ends_hangs_the_shell_up() {
    let desk =
        Desk::with_script("trap 'echo >\"$HOME/hung-up\"; exit' HUP; echo pid=$$.; while :; do sleep 0.01; done");
    let mut browser = desk.opened().await;
    browser.until("pid=").await;
    let pid = browser.until(".").await;
    assert!(is_alive(&pid));
    drop(browser.socket);
    browser.served.await.unwrap();
    until("the shell ends", || !is_alive(&pid)).await;
    assert!(desk.home.path().join("hung-up").exists());

    let desk = Desk::new("/bin/bash");
    let mut browser = desk.opened().await;
    browser.input("sleep 1000 & echo p'i'd=$$,$!.\r").await;
    browser.until("pid=").await;
    let pids = browser.until(".").await;
    let (shell, job) = pids.split_once(',').unwrap();
    browser.socket.close(None).await.unwrap();
    until("shell and job end", || !is_alive(shell) && !is_alive(job)).await;
}

/// A shell and a foreground program that ignore SIGHUP get two seconds.
#[tokio::test]
async fn who_does_not_listen_is_killed() {
    let desk = Desk::with_script(
        "trap '' HUP TERM INT; set -m; (trap '' HUP; echo pid=$$,$(exec sh -c 'echo $PPID').; while :; do sleep 1; done)",
    );
    let mut browser = desk.opened().await;
    browser.until("pid=").await;
    let pids = browser.until(".").await;
    let (shell, program) = pids.split_once(',').unwrap();
    assert!(is_alive(shell) && is_alive(program));
    let began = Instant::now();
    // The whole session is dropped instead of the browser, as when its key is revoked.
    browser.served.abort();
    until("both end", || !is_alive(shell) && !is_alive(program)).await;
    assert!(began.elapsed() >= HANG_UP, "it had the time to end by itself");
}

const HANG_UP: Duration = Duration::from_secs(2);

#[tokio::test]
async fn limits() {
    let mut desk = Desk::new("/bin/sh");
    let mut browsers = Vec::new();
    for _ in 0..SHELLS_MAX {
        browsers.push(desk.opened().await);
    }
    assert_eq!(desk.shells.open(), SHELLS_MAX);
    assert_eq!(desk.open().await.until_closed().await, "too many of your terminals are open");
    drop(browsers);
    until("all have ended", || desk.shells.open() == 0).await;

    let long = Times { initialize: PATIENCE, idle: PATIENCE, session: PATIENCE };
    let brief = Duration::from_millis(20);
    desk.shells.times = Times { initialize: brief, ..long };
    let mut silent = desk.open().await;
    silent.ask("0", &json!({"type": "input", "data": "ls"})).await;
    assert_eq!(silent.until_closed().await, "nothing was opened");
    desk.shells.times = Times { session: brief, ..long };
    assert_eq!(desk.opened().await.until_closed().await, "the session has lasted as long as one may");
    // The shell shows its prompt, then stays silent.
    desk.shells.times = Times { idle: Duration::from_millis(300), ..long };
    assert_eq!(desk.opened().await.until_closed().await, "nothing has happened for long");
}

#[tokio::test]
async fn a_shell_that_is_not_there() {
    let desk = Desk::new("/nonexistent/shell");
    let mut browser = desk.open().await;
    browser.ask("0", &json!({"type": "initialize", "cols": 80, "rows": 24})).await;
    assert_eq!(browser.next().await["status"], 500);
    assert_eq!(browser.until_closed().await, "the shell cannot be started");
}

#[tokio::test]
async fn what_is_no_message_is_passed_over() {
    let desk = Desk::new("/bin/sh");
    let mut browser = desk.opened().await;
    for text in [
        "",
        "[]",
        "{\"call\":\"jobs.compute.other.shell.open\",\"streamId\":\"1\",\"payload\":{\"type\":\"input\",\"data\":\"exit\\r\"}}",
    ] {
        browser.socket.send(Message::text(text)).await.unwrap();
    }
    browser.socket.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    browser.ask("1", &json!({"type": "nonsense"})).await;
    browser.ask("2", &json!({"type": "resize", "cols": -1, "rows": 1e9})).await;
    browser.input("echo $((6*7))\r").await;
    browser.until("42").await;
}
