//! Other people's proxies before the gateway, with the configuration that `deploy/` gives
//! operators: what these tests change of it is where things are, and that one connection to the
//! gateway has to carry all requests.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use countersign_portal::{Endpoint, TestCertificate};

use crate::support::test_site::{TestSite, free_address, write_file};

const NGINX: &str = include_str!("../../deploy/nginx/countersign.conf");
const HAPROXY: &str = include_str!("../../deploy/haproxy/countersign.cfg");

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands before the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    /// Nothing, and no TLS.
    Nothing,
    /// Nothing: the gateway ends TLS.
    Tls,
    /// nginx ends TLS and passes HTTP.
    Nginx,
    /// HAProxy does.
    HaproxyHttp,
    /// HAProxy passes bytes, and the gateway ends TLS.
    HaproxyTcp,
}

/// A proxy, which ends with this.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_meanwhile = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A centre behind that front, and the front itself. `gateway` is TOML for the gateway's table.
pub(crate) async fn open(front: Front, gateway: &str) -> (TestSite, Option<Proxy>) {
    let certificate = TestCertificate::make("localhost").unwrap();
    let is_ours = matches!(front, Front::Tls | Front::HaproxyTcp);
    let tls = if is_ours { "tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }\n" } else { "" };
    let outside = free_address();
    let endpoint = |address: SocketAddr| match front {
        Front::Nothing => Endpoint::plain(address),
        Front::Tls => Endpoint::tls(address, "localhost", &certificate.authority_pem).unwrap(),
        Front::Nginx | Front::HaproxyHttp | Front::HaproxyTcp => {
            Endpoint::tls(outside, "localhost", &certificate.authority_pem).unwrap()
        }
    };
    // Unsigned requests are refused at once, and not when no deposit has come for them.
    let centre = TestSite::furnish_at(endpoint, &format!("{tls}{gateway}"), "[intent]\ndeposit_wait_ms = 0\n").await;
    if is_ours {
        let etc = centre.config.parent().unwrap();
        write_file(&etc.join("fullchain.pem"), &certificate.certificate_pem, 0o644, None);
        write_file(&etc.join("key.pem"), &certificate.key_pem, 0o600, Some("ucloud"));
    }
    let proxy = match front {
        Front::Nothing | Front::Tls => None,
        Front::Nginx => Some(nginx(outside, centre.address, &certificate)),
        Front::HaproxyHttp | Front::HaproxyTcp => Some(haproxy(front, outside, centre.address, &certificate)),
    };
    (centre.opened().await, proxy)
}

/// The local ports of the connections that there are to this address.
pub(crate) fn connections_to(address: SocketAddr) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_one = |row: &Vec<&str>| row.len() > 3 && row[2].ends_with(&port) && row[3] == "01";
    rows.filter(is_one).map(|row| row[1].to_owned()).collect()
}

/// The text with each of these changed, all of which stand in it.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in deploy/'s configuration");
        text.replace(from, to)
    })
}

fn nginx(outside: SocketAddr, gateway: SocketAddr, certificate: &TestCertificate) -> Proxy {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("fullchain.pem"), &certificate.certificate_pem).unwrap();
    fs::write(at("key.pem"), &certificate.key_pem).unwrap();
    let site = changed(
        NGINX,
        &[
            ("listen 443 ssl", &format!("listen {outside} ssl")),
            ("hpc.example.org", "localhost"),
            ("/etc/nginx/countersign/fullchain.pem", &at("fullchain.pem")),
            ("/etc/nginx/countersign/key.pem", &at("key.pem")),
            ("server 127.0.0.1:8889", &format!("server {gateway}")),
            ("keepalive 32;", "keepalive 1;"),
            ("rate=10r/s", "rate=100000r/s"), // the gateway's own limits are what is tested
        ],
    );
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {};", at(kind)));
    let text = format!(
        "daemon off; master_process off; pid {}; error_log {} warn;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; {}\n{site}\n}}\n",
        at("pid"),
        at("error.log"),
        temporary.join(" "),
    );
    fs::write(at("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-p", &at(""), "-e", &at("error.log"), "-c", &at("nginx.conf")]);
    start(command, outside, directory)
}

fn haproxy(front: Front, outside: SocketAddr, gateway: SocketAddr, certificate: &TestCertificate) -> Proxy {
    let directory = tempfile::tempdir().unwrap();
    let pem = directory.path().join("countersign.pem");
    fs::write(&pem, format!("{}{}", certificate.certificate_pem, certificate.key_pem)).unwrap();
    let other = free_address();
    let (tcp, http) = if front == Front::HaproxyTcp { (outside, other) } else { (other, outside) };
    let text = changed(
        HAPROXY,
        &[
            ("bind :8443", &format!("bind {tcp}")),
            ("bind :443", &format!("bind {http}")),
            ("/etc/haproxy/countersign.pem", &pem.display().to_string()),
            ("127.0.0.1:8444", &gateway.to_string()),
            ("8889 check inter 2s", "8889"),
            ("server gateway 127.0.0.1:8889", &format!("server gateway {gateway} pool-max-conn 1")),
            ("http-reuse safe", "http-reuse always"), // what of a connection could be spoilt has to be
            ("gt 100 }", "gt 1000000 }"),             // the gateway's own limits are what is tested
            // The proxy is there before the gateway; a check would keep it out for seconds after
            // that.
            (" check inter 2s check-ssl verify none", ""),
            ("tune.bufsize", "nbthread 1\n    tune.bufsize"),
        ],
    );
    let file = directory.path().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(&file);
    start(command, outside, directory)
}

fn start(mut command: Command, outside: SocketAddr, directory: tempfile::TempDir) -> Proxy {
    let log = directory.path().join("log");
    let output = fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(why) if why.kind() == io::ErrorKind::NotFound => panic!("{command:?} is not installed: see ./test"),
        Err(why) => panic!("{command:?}: {why}"),
    };
    let mut proxy = Proxy { child, _directory: directory };
    let began = Instant::now();
    while TcpStream::connect(outside).is_err() {
        let ended = proxy.child.try_wait().unwrap();
        assert!(ended.is_none() && began.elapsed() < PATIENCE, "{command:?}: {ended:?}: {}", words(&log));
        std::thread::sleep(Duration::from_millis(5));
    }
    proxy
}

fn words(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}
