//! Figures of jobs on a real Slurm, beside what a user does by hand: `bench/slurm` takes them.
//!
//! Everything runs in one installation, turn by turn, so that ratios mean something on a busy
//! machine.

#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::jobs_web::Site;
use crate::support::slurm::Slurm;
use crate::support::test_site::{PROVIDER, TestSite, free_address, write_file};
use bytes::Bytes;
use countersign_portal::line::Line;
use countersign_portal::{Endpoint, TestCertificate};
use http_body_util::Full;
use tokio::process::{Child, Command};

/// Turns of each measurement.
const ROUNDS: usize = 5;

/// Of wrk, which sends one request after the other on each connection.
const WRK_CONNECTIONS: &str = "--connections=4";
const WRK_TIME: &str = "--duration=3s";

/// Size of the large file, in bytes.
const LARGE: usize = 64 << 20;

/// How often it looks for what it waits for.
const LOOK: Duration = Duration::from_millis(10);

/// Slurm's rest between two jobs.
const REST: Duration = Duration::from_secs(2);

const PATIENCE: Duration = Duration::from_secs(60);

/// Serves a small and a large file with nginx, at the port that the job was given.
const SERVER: &str = r#"mkdir served logs
echo small >served/small
head -c 67108864 /dev/zero >served/large
cat >nginx.conf <<EOF
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {}
http {
  access_log off; keepalive_requests 1000000;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.0.0.1:$UCLOUD_PORT; root $PWD/served; }
}
EOF
exec /usr/sbin/nginx -p "$PWD" -c nginx.conf
"#;

/// Says how many messages a second come back from a program, one after the other.
const TURNS: &str = r#"
import subprocess, sys, time
step = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
def turn():
    step.stdin.write(bytes([120]) * 200)
    left = 200
    while left:
        left -= len(step.stdout.read(left))
turn()
begun = time.monotonic()
for _ in range(2000):
    turn()
print(2000 / (time.monotonic() - begun))
step.stdin.close()
step.wait()
"#;

/// The shortest, the middle and the longest of some figures.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    format!("{:.3} ({:.3} to {:.3})", figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

fn ratios(ours: &[f64], theirs: &[f64]) -> String {
    spread(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

async fn over_tls(certificate: &TestCertificate) -> Site {
    let slurm = Slurm::start(&["alice", "bob"]).await;
    let gateway = "web = { prefix = \"app-\", suffix = \".apps.localhost\" }\n\
                   tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }";
    let endpoint = |address| Endpoint::tls(address, "localhost", &certificate.authority_pem).unwrap();
    let centre = TestSite::furnish_at(endpoint, gateway, &slurm.tables()).await;
    write_file(&centre.config.with_file_name("fullchain.pem"), &certificate.certificate_pem, 0o644, None);
    write_file(&centre.config.with_file_name("key.pem"), &certificate.key_pem, 0o600, Some("ucloud"));
    Site::of(slurm, centre.opened().await).await
}

/// Milliseconds from the order until Slurm says that the job of this name runs.
async fn until_slurm_runs(site: &Site, name: &str, begun: Instant) -> f64 {
    loop {
        let states = site.slurm.run(&["squeue", "-h", "-t", "RUNNING", "-o", "%j"]).await;
        if states.lines().any(|line| line == name) {
            return begun.elapsed().as_secs_f64() * 1e3;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A job from the order until it runs: through UCloud, and with `sbatch` and `squeue`. Slurm lets a
/// job that follows another wait for its next round, so each comes to an idle Slurm.
async fn submissions(site: &Site) {
    let (mut at_slurm, mut at_core, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=2 * ROUNDS {
        let name = format!("by-hand-{round}");
        idle(site).await;
        let theirs = submitted_by_hand(site, &name).await;
        idle(site).await;
        let (ours, told) = submitted(site).await;
        // The first turn wakes everything.
        if round > 0 {
            at_slurm.push(ours);
            at_core.push(told);
            by_hand.push(theirs);
        }
    }
    println!("ms from the order until the job runs at Slurm: {}", spread(at_slurm.clone()));
    println!("ms from the order until UCloud is told (Slurm is asked each second): {}", spread(at_core));
    println!("ms from sbatch until squeue says that it runs: {}", spread(by_hand.clone()));
    println!("ratio: {}", ratios(&at_slurm, &by_hand));
}

/// Ends every job, and lets Slurm come to rest: longer than its rounds in the tests' configuration.
async fn idle(site: &Site) {
    site.slurm.order("root scancel --user=alice").await;
    let is_idle = async || site.slurm.run(&["squeue", "-h"]).await.is_empty();
    site.centre.until("every job has ended", is_idle).await;
    tokio::time::sleep(REST).await;
}

/// Milliseconds from the order until the job runs, and until Core is told so.
async fn submitted(site: &Site) -> (f64, f64) {
    let application = Site::application("BATCH", "exec sleep 600\n");
    let number = site.centre.control.add_job(&site.alice.username, None);
    let begun = Instant::now();
    let answer = site.submit(&site.alice, &number, &Site::specification(1), &application).await;
    let runs = until_slurm_runs(site, &number, begun).await;
    assert!(answer.is_ok(), "{answer:?}");
    let is_told = || site.centre.control.jobs().iter().any(|job| job.id == number && job.state == "RUNNING");
    while !is_told() {
        tokio::time::sleep(LOOK).await;
    }
    (runs, begun.elapsed().as_secs_f64() * 1e3)
}

async fn submitted_by_hand(site: &Site, name: &str) -> f64 {
    let begun = Instant::now();
    site.slurm.submit(&site.centre, "alice", &format!("--job-name={name}"), "exec sleep 600").await;
    until_slurm_runs(site, name, begun).await
}

/// One way to the application.
struct Way {
    origin: String,
    /// What a browser would send.
    headers: Vec<String>,
}

impl Way {
    /// Requests a second of a small file, as wrk counts them.
    async fn requests(&self) -> f64 {
        let said = self.run("wrk", &["--threads=1", WRK_CONNECTIONS, WRK_TIME], "-H", "/small").await;
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let line = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap_or_else(|| panic!("{said}"));
        line.trim().parse().unwrap()
    }

    /// MiB a second of the large file, as curl counts them.
    async fn download(&self) -> f64 {
        let options = ["--silent", "--show-error", "--fail", "--insecure", "--http1.1", "--output", "/dev/null"];
        let written = ["--write-out", "%{size_download} %{speed_download}"];
        let said = self.run("curl", &[&options[..], &written[..]].concat(), "--header", "/large").await;
        let (size, speed) = said.split_once(' ').unwrap_or_else(|| panic!("{said}"));
        assert_eq!(size.parse(), Ok(LARGE));
        speed.parse::<f64>().unwrap() / f64::from(1 << 20)
    }

    async fn run(&self, program: &str, options: &[&str], header: &str, path: &str) -> String {
        let headers = self.headers.iter().flat_map(|value| [header, value]);
        let target = format!("{}{path}", self.origin);
        let output = Command::new(program).args(options).args(headers).arg(target).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The input and output of a step alone, which is what Slurm leaves any relay: MiB a second, and
/// turns a second of a message that comes back.
async fn step(site: &Site, number: &str) -> (f64, f64) {
    let listed = site.slurm.run(&["squeue", "-h", "-t", "RUNNING", "-o", "%i %j"]).await;
    let id = listed.lines().find_map(|line| line.strip_suffix(&format!(" {number}"))).unwrap().to_owned();
    let srun = format!("srun --quiet --jobid={id} --overlap --mpi=none --nodes=1 --ntasks=1 --unbuffered");
    let begun = Instant::now();
    let count = site.slurm.shell_as(&site.centre, "alice", &format!("{srun} head -c {LARGE} /dev/zero | wc -c")).await;
    assert_eq!(count.parse(), Ok(LARGE));
    let bytes = 64.0 / begun.elapsed().as_secs_f64();
    let turns =
        site.slurm.shell_as(&site.centre, "alice", &format!("exec /usr/bin/python3 -c '{TURNS}' {srun} cat")).await;
    (bytes, turns.parse().unwrap())
}

/// The port at which `ssh -L` forwards to the application, as alice.
async fn forwarded(site: &Site, to: u16) -> (u16, [Child; 2]) {
    let folder = Path::new("/run/tmp/ssh");
    let (daemon, local) = (free_address().port(), free_address().port());
    let script = format!(
        "set -e; mkdir -p {0} /run/sshd; cd {0}; ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f own; \
         cp own.pub keys; chmod 755 . ; chmod 644 keys; chown alice own; usermod -p '*' alice",
        folder.display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let options = |port: u16| {
        [
            format!("Port={port}"),
            "ListenAddress=127.0.0.1".to_owned(),
            format!("HostKey={}/host", folder.display()),
            format!("AuthorizedKeysFile={}/keys", folder.display()),
            "PidFile=none".to_owned(),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
        ]
    };
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f", "/dev/null"]).kill_on_drop(true).stderr(Stdio::null());
    for option in options(daemon) {
        sshd.args(["-o", &option]);
    }
    let sshd = sshd.spawn().unwrap();
    let mut ssh = Command::new("setpriv");
    ssh.args([
        "--reuid=alice",
        "--regid=alice",
        "--clear-groups",
        "ssh",
        "-N",
        "-F",
        "/dev/null",
        "-p",
        &daemon.to_string(),
    ]);
    ssh.args(["-i", &format!("{}/own", folder.display()), "-o", "StrictHostKeyChecking=no"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=30"]);
    ssh.args(["-L", &format!("127.0.0.1:{local}:127.0.0.1:{to}"), "alice@127.0.0.1"]).kill_on_drop(true);
    let ssh = ssh.spawn().unwrap();
    let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", local)).await.is_ok();
    site.centre.until("ssh forwards", listens).await;
    (local, [sshd, ssh])
}

/// A web application of a job through the gateway and the relay's step, and through `ssh -L`.
async fn web(site: &Site, certificate: &TestCertificate) {
    site.start(&site.alice, "5", 1, &Site::application("WEB", SERVER)).await;
    let port = site.port(&site.alice, "5").await;
    let asked = site.ask(&site.alice, "5", 0, "WEB", None).await;
    let (host, token) = Site::address(&asked, "redirectClientTo");
    let name = host.split(':').next().unwrap();
    let gateway = Endpoint::tls(site.centre.address, name, &certificate.authority_pem).unwrap();
    let target = format!("/ucloud/{PROVIDER}/authorize-app?token={token}&intent={}", site.proof(&site.alice, &token));
    let opening = http::Request::get(target).body(Full::new(Bytes::new())).unwrap();
    let opened = Line::new(gateway.clone(), PATIENCE).send(opening).await.unwrap();
    assert_eq!(opened.status, 303, "{opened:?}");
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    let answers = async || {
        let request = http::Request::get("/small").header("cookie", &cookie).body(Full::new(Bytes::new())).unwrap();
        Line::new(gateway.clone(), PATIENCE).send(request).await.is_ok_and(|answer| answer.status == 200)
    };
    site.centre.until("the application answers", answers).await;
    let (local, processes) = forwarded(site, port).await;
    let gateway = Way {
        origin: format!("https://{}", site.centre.address),
        headers: vec![format!("Host: {host}"), format!("Cookie: {cookie}")],
    };
    let ssh = Way { origin: format!("http://127.0.0.1:{local}"), headers: Vec::new() };
    let (mut ours, mut theirs, mut slurms) =
        ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for round in 0..=ROUNDS {
        let requests = (gateway.requests().await, ssh.requests().await);
        let downloads = (gateway.download().await, ssh.download().await, step(site, "5").await);
        if round > 0 {
            ours.0.push(requests.0);
            theirs.0.push(requests.1);
            ours.1.push(downloads.0);
            theirs.1.push(downloads.1);
            slurms.0.push(downloads.2.0);
            slurms.1.push(downloads.2.1);
        }
    }
    drop(processes);
    println!("requests/s through gateway and relay: {}", spread(ours.0.clone()));
    println!("requests/s through ssh -L: {}", spread(theirs.0.clone()));
    println!("ratio: {}", ratios(&ours.0, &theirs.0));
    println!("MiB/s through gateway and relay: {}", spread(ours.1.clone()));
    println!("MiB/s through ssh -L: {}", spread(theirs.1.clone()));
    println!("ratio: {}", ratios(&ours.1, &theirs.1));
    println!("MiB/s through srun alone: {}", spread(slurms.0.clone()));
    println!("ratio of gateway and relay to it: {}", ratios(&ours.1, &slurms.0));
    println!("turns/s of a message through srun alone, one at a time: {}", spread(slurms.1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes figures: run by bench/slurm"]
async fn figures_of_jobs() {
    let certificate = TestCertificate::make("localhost").unwrap();
    let site = over_tls(&certificate).await;
    submissions(&site).await;
    web(&site, &certificate).await;
}
