//! A directory with a valid configuration and every file that it names, for tests that break one
//! thing at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An RSA key of 2048 bits, as Core shows a provider's: bare base64 of the SPKI.
const CORE_KEY: &str = include_str!("core.pem");

/// Every configuration key, with a value other than the default where there is a choice.
pub(crate) const GOOD: &str = r#"
[provider]
id = "hpc"
origin = "https://hpc.example.org"

[core]
origin = "https://cloud.sdu.dk"
public_key = "core.pem"
refresh_token = "refresh-token"
ca = "ca.pem"

[gateway]
listen = ["0.0.0.0:443", "[::1]:8889"]
tls = { certificate = "fullchain.pem", key = "key.pem" }
body_max = "512 KiB"
threads = 3
connections_max = 100
sandbox = "available"
start = "service"
web = { prefix = "app-", suffix = ".apps.example.org" }
links = { prefix = "link-", suffix = ".links.example.org" }

[intent]
lifetime_max_s = 30
future_skew_s = 2
accept_v1 = true
deposit_wait_ms = 500
step_up = ["files.trash"]
key_lifetime_days = 90

[sessions]
proof = "off"
sealed = "off"

[instances]
launch = "sudo"
listen = "tcp"
first_port = 42000
uid_min = 2000
idle_stop_s = 600

[mapping]
start = "provider"
type = "command"
command = ["/usr/bin/true", "--map"]

[[drives]]
id = "home"
path = "~"

[[drives]]
id = "scratch"
path = "/scratch"

[[products]]
name = "disk"
category = "storage"
type = "storage"
description = "Home directories"
frequency = "once"
price = 1

[[products]]
name = "node"
category = "cluster"
type = "compute"
cpu = 64
partition = "standard"
qos = "day"
account = "shared"
constraint = "avx512"

[slurm]
commands = "/bin"
config = "/etc/slurm-b/slurm.conf"
drive = "home"
job_folder = "jobs"
poll_s = 7
operator = true
relay = "/opt/countersign/bin/countersign"
time_max_h = 48
ask_account = true
ask_modules = true
readme = "readme.markdown"
show_outside = true

[projects]
prefix = "p-"
gids = [80000, 80999]
command = ["/usr/bin/printf", "x"]
removals_an_hour = 7
removals_an_hour_in_all = 70

[accounting]
every_s = 120
job_max = 100000
storage_command = ["/usr/bin/cat", "-"]

[ssh]
keys = true
in_drives = true

[terminals]
offered = false

[alarms]
command = ["/usr/bin/env", "true"]

[metrics]
listen = "run/metrics.sock"
mode = "0600"

[applications]
folder = "approved"
accept = ["workflow"]

[connection]
expires_after = "30 days"

[maintenance]
enabled = true
allow = ["alice#1234", "bob#5678"]

[[calls]]
call = "site.start"
method = "POST"
path = "/ucloud/{p}/site/start"
items = "bulk"
bound = [{ name = "id", at = ["/id"] }]
adds = ["/resolved"]
class = "danger"
words = { one = "Start {id}", many = "Start {n} of them", button = "Start", subjects = ["id"] }

[ipc]
directory = "run"

[state]
directory = "state"
"#;

/// A directory with a valid configuration and every file that it names.
pub(crate) struct ConfigFixture(pub(crate) TempDir);

impl ConfigFixture {
    pub(crate) fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["hpc.example.org".to_owned()]).unwrap();
        site.write("core.pem", CORE_KEY, 0o644);
        site.write("readme.markdown", "# Jobs here\n", 0o644);
        site.write("refresh-token", "0123456789abcdef0123456789abcdef\n", 0o600);
        site.write("ca.pem", &cert.pem(), 0o644);
        site.write("fullchain.pem", &cert.pem(), 0o644);
        site.write("key.pem", &signing_key.serialize_pem(), 0o400);
        site.write("config.toml", GOOD, 0o644);
        for (directory, mode) in [("run", 0o755), ("state", 0o700)] {
            fs::create_dir(site.path(directory)).unwrap();
            site.chmod(directory, mode);
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str, mode: u32) {
        // A file that cannot be written is created again.
        let _ = fs::remove_file(self.path(name));
        fs::write(self.path(name), content).unwrap();
        self.chmod(name, mode);
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Applies a change to the valid text, where the text to change occurs once.
    pub(crate) fn flip(&self, find: &str, replace: &str) {
        assert_eq!(GOOD.matches(find).count(), 1, "{find:?} in the good configuration");
        self.write("config.toml", &GOOD.replacen(find, replace, 1), 0o644);
    }

    pub(crate) fn check_config(&self, more: &[&str]) -> Output {
        check_config(&self.path("config.toml"), more)
    }

    /// The problems, one per line, without the directory's name.
    pub(crate) fn problems(&self) -> Vec<String> {
        let output = self.check_config(&[]);
        assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.replace(&format!("{}/", self.0.path().display()), "");
        let lines = said.strip_prefix("countersign: the configuration is refused:\n").expect(&said);
        lines.lines().map(str::to_owned).collect()
    }
}

impl ConfigFixture {
    /// The problems without file, line and column, whatever the file contains.
    pub(crate) fn placeless(&self) -> Vec<String> {
        let without = |problem: String| {
            let Some((_, rest)) = problem.split_once("config.toml:") else { return problem };
            let is_placed = rest.starts_with(|first: char| first.is_ascii_digit());
            assert!(
                is_placed || rest.contains(": is missing: ") || rest.contains(": is empty: "),
                "no place: {problem}"
            );
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').trim_start().to_owned()
        };
        self.problems().into_iter().map(without).collect()
    }
}

/// Runs `countersign check-config` on that file.
pub(crate) fn check_config(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["check-config", "--config"])
        .arg(file)
        .args(more)
        .output()
        .unwrap()
}
