//! Launches an instance with one narrow sudo rule and one socket, and hands over nothing else (P7,
//! P10).
//!
//! The instance gets its listening socket as descriptor 0, its channel to the server as 1, and a
//! pipe for its output as 2; sudo closes all others. It gets no secret, none of the server's
//! environment, and no argument but the configuration's path if that is not the standard one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::Uid;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::log::InstanceLog;
use crate::state_directory::listen_privately;
use countersign_config::{DEFAULT_FILE, INSTANCE_PORTS_MAX, InstanceListen};
use countersign_ipc::gateway_protocol::{InstanceAddress, SocketAddress};
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::clock::{NoRandomness, random_bytes};

/// Absolute path, so that no search path applies. sudo sets the instance's environment.
const SUDO: &str = "/usr/bin/sudo";

/// The environment of sudo itself.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")];

/// The command to launch, and where instances listen and log.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// The words before `user`; `{uid}` stands for the uid.
    command: Vec<OsString>,
    /// The words from `user` on.
    arguments: Vec<OsString>,
    /// The directory of Unix sockets.
    sockets: PathBuf,
    /// The directory of logs.
    logs: PathBuf,
    listen: InstanceListen,
    /// The port of each uid that has had an instance, held open until the server ends. Between two
    /// instances no other process can bind it, and connections wait for the next instance (P7). At
    /// most [`INSTANCE_PORTS_MAX`].
    ports: Mutex<HashMap<Uid, TcpListener>>,
}

/// Why an instance cannot be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchFailure {
    /// The socket could not be made.
    #[error("cannot make a socket for the instance")]
    Socket(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// All ports are in use.
    #[error("no free port for the instance from {first} upward")]
    Ports {
        /// The first port tried.
        first: u16,
    },
    /// No random bytes for the key of its port.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The channel or the pipe could not be made.
    #[error("cannot make the channel to the instance")]
    Line(#[source] io::Error),
    /// The log could not be opened.
    #[error("the log {path} cannot be opened")]
    Log {
        /// The log.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// sudo cannot be run.
    #[error("{program} cannot be run")]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A launched instance.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The child: sudo, which the instance then replaces.
    pub(crate) child: Child,
    /// The server's end of the channel.
    pub(crate) line: UnixStream,
    /// The instance's output.
    pub(crate) output: OwnedFd,
    /// The log for that output.
    pub(crate) log: InstanceLog,
    /// The address at which the instance listens.
    pub(crate) address: InstanceAddress,
}

impl Launcher {
    /// Launches with sudo, which the site allows for this one command.
    pub(crate) fn sudo(program: &Path, config: &Path, listen: InstanceListen, sockets: &Path, logs: &Path) -> Self {
        let command = [SUDO, "-n", "-u", "#{uid}", "--"].map(OsString::from).into_iter();
        let mut arguments = vec![OsString::from("user")];
        if config != Path::new(DEFAULT_FILE) {
            arguments.extend([OsString::from("--config"), config.into()]);
        }
        Self {
            command: command.chain([program.into()]).collect(),
            arguments,
            sockets: sockets.to_owned(),
            logs: logs.to_owned(),
            listen,
            ports: Mutex::default(),
        }
    }

    /// Launches the instance of that uid. Each `number` is used once.
    pub(crate) fn launch(&self, uid: Uid, number: u64) -> Result<Launched, LaunchFailure> {
        let (descriptor, socket) = self.listen(uid, number)?;
        let key = match socket {
            SocketAddress::Unix(_) => None,
            SocketAddress::Tcp(_) => Some(ListenerKey::new(random_bytes()?)),
        };
        let path = self.logs.join(format!("instance-{uid}.log"));
        let log = InstanceLog::open(&path).map_err(|source| LaunchFailure::Log { path, source })?;
        let (ours, theirs) = StdUnixStream::pair().map_err(LaunchFailure::Line)?;
        ours.set_nonblocking(true).map_err(LaunchFailure::Line)?;
        let line = UnixStream::from_std(ours).map_err(LaunchFailure::Line)?;
        let (output, printed) = io::pipe().map_err(LaunchFailure::Line)?;
        let mut words = self.command.iter().map(|word| with_uid(word, uid)).chain(self.arguments.iter().cloned());
        let program = PathBuf::from(words.next().unwrap_or_default());
        let failed = |source| LaunchFailure::Run { program: program.clone(), source };
        let child = Command::new(&program)
            .args(words)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::from(descriptor))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::from(printed))
            .spawn()
            .map_err(failed)?;
        let output = output.into();
        Ok(Launched { child, line, output, log, address: InstanceAddress { uid: Some(uid), socket, key } })
    }

    fn listen(&self, uid: Uid, number: u64) -> Result<(OwnedFd, SocketAddress), LaunchFailure> {
        match self.listen {
            InstanceListen::Unix => {
                let path = self.sockets.join(format!("{uid}-{number}.sock"));
                let listener = listen_privately(&path).map_err(|error| LaunchFailure::Socket(error.into()))?;
                Ok((listener.into(), SocketAddress::Unix(path)))
            }
            InstanceListen::Tcp { first_port } => {
                let listener = self.port(uid, first_port)?;
                let address = listener.local_addr().map_err(|error| LaunchFailure::Socket(error.into()))?;
                Ok((listener.into(), SocketAddress::Tcp(address)))
            }
        }
    }

    /// The uid's port: its earlier one, or the lowest free one. The first port is the server's own.
    fn port(&self, uid: Uid, first_port: u16) -> Result<TcpListener, LaunchFailure> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = match ports.entry(uid) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(none) => {
                let free = (1..=INSTANCE_PORTS_MAX)
                    .filter_map(|offset| first_port.checked_add(offset))
                    .find_map(|port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok())
                    .ok_or(LaunchFailure::Ports { first: first_port.saturating_add(1) })?;
                none.insert(free)
            }
        };
        listener.try_clone().map_err(|error| LaunchFailure::Socket(error.into()))
    }
}

fn with_uid(word: &OsString, uid: Uid) -> OsString {
    if word == "#{uid}" { format!("#{uid}").into() } else { word.clone() }
}

#[cfg(test)]
impl Launcher {
    /// A shell with this script, in place of sudo and the instance.
    pub(crate) fn stub(script: &str, directory: &Path) -> Self {
        Self {
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            arguments: Vec::new(),
            sockets: directory.to_owned(),
            logs: directory.to_owned(),
            listen: InstanceListen::Unix,
            ports: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(config: &str) -> Vec<OsString> {
        let launcher = Launcher::sudo(
            Path::new("/usr/bin/countersign"),
            Path::new(config),
            InstanceListen::Unix,
            Path::new("/s"),
            Path::new("/l"),
        );
        launcher.command.iter().map(|word| with_uid(word, Uid(1100))).chain(launcher.arguments).collect()
    }

    #[test]
    fn the_command_is_the_one_that_sudo_allows() {
        let standard = command_line("/etc/countersign/config.toml");
        assert_eq!(standard, ["/usr/bin/sudo", "-n", "-u", "#1100", "--", "/usr/bin/countersign", "user"]);
        assert_eq!(command_line("/srv/c.toml")[6..], ["user", "--config", "/srv/c.toml"]);
    }

    #[tokio::test]
    async fn the_child_has_its_socket_its_line_a_pipe_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        // A substituting shell has a pipe as its output, so it asks for the other shell's
        // descriptors.
        let script = "for fd in 0 1 2; do to=$(readlink /proc/$$/fd/$fd); echo $to >&2; done; \
                      for fd in 0 1 2; do ls -l /proc/$$/fd | grep -cF \"$(readlink /proc/$$/fd/$fd)\" >&2; done; \
                      env -u PWD -u SHLVL -u _ | sort | tr '\\n' ' ' >&2";
        let launcher = Launcher::stub(script, directory.path());
        let Launched { mut child, output, log, address, line: _line } = launcher.launch(Uid(1100), 3).unwrap();
        log.keep(output).await.unwrap();
        child.wait().await.unwrap();
        let log = std::fs::read_to_string(directory.path().join("instance-1100.log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines[0].starts_with("socket:[") && lines[1].starts_with("socket:["), "{log}");
        assert!(lines[2].starts_with("pipe:["), "{log}");
        assert_eq!(lines[3..], ["1", "1", "1", "LANG=C.UTF-8 PATH=/usr/bin:/bin "], "{log}");
        let path = directory.path().join("1100-3.sock");
        assert_eq!(address, InstanceAddress { uid: Some(Uid(1100)), socket: SocketAddress::Unix(path), key: None });
    }

    #[tokio::test]
    async fn an_instance_that_is_gone_accepts_no_connection() {
        let directory = tempfile::tempdir().unwrap();
        let mut launched = Launcher::stub("exit 0", directory.path()).launch(Uid(1100), 1).unwrap();
        launched.child.wait().await.unwrap();
        let path = directory.path().join("1100-1.sock");
        // Another test's child may be between fork and exec and hold copies of every descriptor
        // until then.
        let refused = async {
            while std::os::unix::net::UnixStream::connect(&path).is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), refused).await.unwrap();
        let error = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn p7_a_port_stays_its_uids_between_two_instances() {
        let directory = tempfile::tempdir().unwrap();
        // A port that is free now; the instances' ports are above it.
        let first_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let launcher =
            Launcher { listen: InstanceListen::Tcp { first_port }, ..Launcher::stub("exit 0", directory.path()) };
        let mut addresses = Vec::new();
        for (number, uid) in (1..).zip([Uid(1100), Uid(1101), Uid(1100)]) {
            let mut launched = launcher.launch(uid, number).unwrap();
            launched.child.wait().await.unwrap();
            let SocketAddress::Tcp(address) = launched.address.socket else { panic!() };
            assert!(TcpListener::bind(address).is_err(), "{address} can be taken");
            addresses.push(address);
        }
        assert_eq!(addresses[0], addresses[2]);
        assert_ne!(addresses[0], addresses[1]);
    }
}
