//! A fixture for command tests: a home directory, a configuration, and a stand-in server.
//!
//! The server answers as the test says and records its questions; it is the peer here, not the
//! thing under test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::program;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_keys::enrolment::{Code, TicketHash};
use countersign_keys::identity::Username;
use countersign_keys::keyring::{Algorithm, VerificationKey};
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An RSA key of 2048 bits, as Core shows a provider's.
const CORE_KEY: &str = include_str!("core.pem");

/// The unprivileged uid that runs the commands where the tests run as root.
const SOMEBODY: u32 = 65_534;

/// The example keys of RFC 7515 appendix A.3 and RFC 7517 appendix A.1.
pub(crate) const JWKS: [&str; 2] = [
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#,
];

/// A key id, by number.
pub(crate) fn kid(number: u8) -> String {
    URL_SAFE_NO_PAD.encode([number; 16])
}

/// One of [`JWKS`], parsed.
pub(crate) fn key(number: usize) -> VerificationKey {
    VerificationKey::from_jwk(JWKS[number].as_bytes(), Algorithm::Es256).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An offer of that key as an honest server describes it, with its code.
pub(crate) fn offer(username: &str, ticket: u8, key_number: usize) -> (String, Value) {
    let ticket_hash = URL_SAFE_NO_PAD.encode([ticket; 32]);
    let key = key(key_number);
    let hash = TicketHash::try_from(ticket_hash.clone()).unwrap();
    let code = Code::of(&hash, &Username::parse(username).unwrap(), &key).to_string();
    let offer = json!({
        "code": code, "ticketHash": ticket_hash, "username": username, "spki": STANDARD.encode(key.spki_der()),
        "algorithm": "ES256", "kid": kid(7), "fingerprint": "SHA256:of-the-server-s-making", "name": "Firefox on Linux",
        "offered": now() - 70, "address": "192.0.2.7:50000", "begun": "at_core", "until": now() + 600,
        "keyExpires": now() + 180 * 86_400, "provider": "hpc", "origin": "http://127.0.0.1:8889",
    });
    (code, offer)
}

/// The server's answer, by path and question.
pub(crate) type Answers = Box<dyn FnMut(&str, &Value) -> (u16, Value) + Send>;

/// A refusal in the server's form.
pub(crate) fn refused(status: u16, code: &str, why: &str) -> (u16, Value) {
    (status, json!({ "statusCode": status, "why": why, "errorCode": code }))
}

/// A home directory, a configuration and perhaps a server.
pub(crate) struct CliFixture {
    directory: TempDir,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    program: PathBuf,
}

impl CliFixture {
    /// Without a server at the socket.
    pub(crate) fn without_server() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = program::reachable(directory.path());
        let cli = Self { directory, asked: Arc::default(), program };
        cli.chmod("", 0o755);
        fs::write(cli.path("core.pem"), CORE_KEY).unwrap();
        let config = "provider = { id = 'hpc', origin = 'http://127.0.0.1:8889' }\n\
            core = { origin = 'http://localhost:8080', public_key = 'core.pem' }\n\
            gateway.listen = ['127.0.0.1:8889']\nipc.directory = 'run'\nstate.directory = 'state'\n";
        fs::write(cli.path("config.toml"), config).unwrap();
        for (directory, mode) in [("run", 0o755), ("home", 0o700)] {
            fs::create_dir(cli.path(directory)).unwrap();
            cli.chmod(directory, mode);
        }
        for file in ["core.pem", "config.toml"] {
            cli.chmod(file, 0o644);
        }
        cli.give("home");
        cli
    }

    /// With a server that gives these answers.
    pub(crate) fn with_server(answers: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) -> Self {
        Self::with_server_that_looks(|_| {}, answers)
    }

    /// With a server that first inspects the asking process while it waits, and then answers.
    pub(crate) fn with_server_that_looks(
        mut look: impl FnMut(i32) + Send + 'static,
        answers: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static,
    ) -> Self {
        let cli = Self::without_server();
        let listener = UnixListener::bind(cli.path("run/ucloud.sock")).unwrap();
        cli.chmod("run/ucloud.sock", 0o777);
        let asked = Arc::clone(&cli.asked);
        let mut answers: Answers = Box::new(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                look(getsockopt(&stream, sockopt::PeerCredentials).unwrap().pid());
                serve(stream, &mut answers, &asked);
            }
        });
        cli
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a file to the account that runs the commands.
    pub(crate) fn give(&self, name: &str) {
        if nix::unistd::geteuid().is_root() {
            nix::unistd::chown(&self.path(name), Some(SOMEBODY.into()), Some(SOMEBODY.into())).unwrap();
        }
    }

    /// Writes a file of the person's, with the directories above it.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let mut made = PathBuf::new();
        for part in Path::new(name).parent().unwrap() {
            made.push(part);
            let at = made.display().to_string();
            if !self.path(&at).exists() {
                fs::create_dir(self.path(&at)).unwrap();
                self.chmod(&at, 0o700);
                self.give(&at);
            }
        }
        fs::write(self.path(name), content).unwrap();
        self.chmod(name, 0o600);
        self.give(name);
    }

    /// The uid that runs the commands.
    pub(crate) fn uid(&self) -> u32 {
        fs::metadata(self.path("home")).unwrap().uid()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.path("config.toml")).stdin(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    }

    /// Runs a command that touches no user's files.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// Runs a command as the user.
    pub(crate) fn run_at_home(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).arg("--home").arg(self.path("home")).output().unwrap())
    }

    /// Starts a command as the user.
    pub(crate) fn start_at_home(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.command(arguments);
        command.arg("--home").arg(self.path("home")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs a command on a terminal with this input. All its output is in `out`.
    pub(crate) fn run_on_terminal(&self, arguments: &[&str], typed: &str) -> Said {
        let command = self.command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &format!("{} --home '{}'", line.join(" "), self.path("home").display()), "/dev/null"]);
        if nix::unistd::geteuid().is_root() {
            terminal.uid(SOMEBODY).gid(SOMEBODY);
        }
        let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    }

    /// The content of the pins file.
    pub(crate) fn pins(&self) -> String {
        fs::read_to_string(self.path("home/.config/countersign/authorized_keys")).unwrap_or_default()
    }

    /// The paths that the server was asked at.
    pub(crate) fn asked_at(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// The last question to the server at that path.
    pub(crate) fn asked(&self, path: &str) -> Value {
        let asked = self.asked.lock().unwrap();
        asked.iter().rev().find(|(at, _)| at == path).map(|(_, question)| question.clone()).unwrap_or_default()
    }
}

/// A command's exit code and output.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Expects this exit code and this text on standard error.
    pub(crate) fn expect(&self, code: i32, err: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(err), "{err:?} in {self:?}");
    }
}

fn serve(mut stream: UnixStream, answers: &mut Answers, asked: &Mutex<Vec<(String, Value)>>) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut more = [0; 1024];
        match stream.read(&mut more).unwrap() {
            0 => return,
            count => bytes.extend_from_slice(&more[..count]),
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap().to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    let mut body = bytes.split_off(head_end);
    let so_far = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[so_far..]).unwrap();
    let question: Value = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push((path.clone(), question.clone()));
    let (status, answer) = answers(&path, &question);
    let answer = answer.to_string();
    let length = answer.len();
    // The client may be gone.
    let _ = write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
}
