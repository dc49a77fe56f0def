//! Configures, starts and stops the compared proxies. All get the same certificate, the same two
//! public keys and the same upstream.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;

use crate::error::BenchError;
use crate::process;
use crate::workload::Workload;

pub(crate) mod countersign;
pub(crate) mod envoy;
pub(crate) mod haproxy;

/// Envoy takes about a second on a loaded machine. Ten times that is a fault.
const START_MAX: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);
/// A proxy that does not stop when asked is killed after this time.
const STOP_MAX: Duration = Duration::from_secs(3);
/// How much of a proxy's output a failed start shows.
const WORDS_SHOWN: usize = 2000;

/// Connections that a proxy is configured for beside those of the load.
const SPARE_CONNECTIONS: usize = 1000;
/// Descriptors of a process that are neither a client's connection nor an upstream's. Of a gateway
/// 256, and of the bench those of other proxies' turns.
const OTHER_DESCRIPTORS: usize = 512;

/// Where instances have sockets of their own.
pub(crate) const NO_UPSTREAM: &str = "/nowhere";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Countersign,
    HaProxy,
    /// HAProxy that checks nothing.
    HaProxyBare,
    Envoy,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Countersign => "Countersign",
            Self::HaProxy => "HAProxy",
            Self::HaProxyBare => "HAProxy without checks",
            Self::Envoy => "Envoy",
        })
    }
}

/// What all proxies are configured for alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Worker threads.
    pub(crate) threads: usize,
    /// Connections of the load.
    pub(crate) connections: usize,
    /// Requests at once on one of HTTP/2, if the load uses that.
    pub(crate) streams: Option<usize>,
}

impl Capacity {
    /// Some connections and one thread.
    pub(crate) const ORDINARY: Self = Self { threads: 1, connections: 32, streams: None };

    /// The most connections of clients.
    fn connections_max(self) -> usize {
        self.connections.saturating_add(SPARE_CONNECTIONS)
    }

    /// Descriptors that a gateway wants, to keep a connection for each active user.
    pub(crate) fn descriptors(self, users: usize) -> usize {
        self.of_clients().saturating_add(users.max(self.connections))
    }

    /// Connections to the upstream that a gateway keeps, if it is allowed so many descriptors.
    fn kept(self, users: usize, allowed: usize) -> usize {
        users.max(self.connections).min(allowed.saturating_sub(self.of_clients()))
    }

    /// Descriptors for clients' connections, each of which may need one more for its request, and
    /// all else.
    fn of_clients(self) -> usize {
        self.connections_max().saturating_mul(2).saturating_add(OTHER_DESCRIPTORS)
    }

    /// Checks that the allowed descriptors suffice for the load's connections, and at the upstream,
    /// which is in the same process, for those that gateways of so many users each keep.
    pub(crate) fn check_descriptors(self, users: &[usize], allowed: usize) -> Result<(), BenchError> {
        let kept: usize = users.iter().map(|users| self.kept(*users, allowed)).sum();
        let needed = self.of_clients().max(kept.saturating_add(self.connections).saturating_add(OTHER_DESCRIPTORS));
        if needed > allowed { Err(BenchError::Descriptors { needed, allowed }) } else { Ok(()) }
    }
}

/// Files that all proxies share, in one directory that is removed at the end.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    upstream: PathBuf,
}

impl Site {
    pub(crate) fn prepare(workload: &Workload, upstream: &Path) -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new()
            .prefix("countersign-bench-")
            // Its only secret is the key of a certificate that no client trusts.
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .map_err(BenchError::io("a directory for the run"))?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        let (chain, key) = (cert.pem(), signing_key.serialize_pem());
        let site = Self { directory, certificate: cert.der().clone(), upstream: upstream.to_owned() };
        site.write("chain.pem", &chain)?;
        site.write("key.pem", &key)?;
        site.write("chain-and-key.pem", &format!("{chain}{key}"))?;
        site.write("core.pem", &workload.core.public_pem()?)?;
        site.write("user.pem", &workload.first.signer.public_pem()?)?;
        Ok(site)
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf, BenchError> {
        let path = self.path(file);
        fs::write(&path, text).map_err(BenchError::io("writing a proxy's files"))?;
        Ok(path)
    }
}

/// A proxy that listens on its port. It is stopped on drop.
pub(crate) struct Running {
    name: Name,
    version: String,
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts `command` and waits until something listens at `address`.
    pub(crate) fn start(
        name: Name,
        version: String,
        mut command: Command,
        address: SocketAddr,
        log: &Path,
    ) -> Result<Self, BenchError> {
        let output = File::create(log).map_err(BenchError::io("a proxy's log"))?;
        let errors = output.try_clone().map_err(BenchError::io("a proxy's log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(BenchError::io("starting a proxy"))?;
        let mut running = Self { name, version, child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = running.child.try_wait().map_err(BenchError::io("waiting for a proxy"))?;
            if ended.is_some() || begun.elapsed() > START_MAX {
                let words = fs::read_to_string(log).unwrap_or_default();
                let shown = words.chars().take(WORDS_SHOWN).collect();
                return Err(BenchError::NotUp { proxy: name, why: shown });
            }
            std::thread::sleep(START_POLL);
        }
        Ok(running)
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes, by their name in the report.
    pub(crate) fn parts(&self) -> Result<Vec<Part>, BenchError> {
        let processes = self.processes()?;
        match self.name {
            Name::Countersign => countersign::parts(processes),
            Name::HaProxy | Name::HaProxyBare | Name::Envoy => Ok(vec![Part { label: "all", processes }]),
        }
    }

    /// All of its processes.
    pub(crate) fn processes(&self) -> Result<Vec<Pid>, BenchError> {
        process::tree(self.pid())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap_or(i32::MAX))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, and an error cannot be reported here.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < STOP_MAX {
            std::thread::sleep(START_POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes of a proxy that are counted together.
pub(crate) struct Part {
    pub(crate) label: &'static str,
    pub(crate) processes: Vec<Pid>,
}

/// A loop-back address that was free when it was tested.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(BenchError::io("a free port"))
}

/// A program's version, without its name.
fn version(program: &Path, argument: &str) -> Result<String, BenchError> {
    let output = Command::new(program).arg(argument).output().map_err(BenchError::io("asking a proxy's version"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown version");
    let said = line.split_once("version").map_or(line, |(_, rest)| rest);
    Ok(said.trim_start_matches([':', ' ']).trim_end().to_owned())
}
