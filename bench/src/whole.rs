//! The whole path: a user lists a folder of 20 files through gateway and instance, beside HAProxy
//! that checks the two signatures in front of nginx that lists the same folder. Works only where
//! `tests/support/installation.sh` has installed Countersign.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use crate::arguments::WholeOptions;
use crate::client::{Client, Want, drive};
use crate::compare::WARM_UP_PER_CONNECTION;
use crate::error::BenchError;
use crate::installed::{ACCOUNT, USERNAME, account, give, install};
use crate::nginx::Nginx;
use crate::process::{self, Cores};
use crate::proxy::{Capacity, Running, Site, haproxy};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::{median, percentile};
use crate::workload::Workload;

/// Files of the folder.
const FILES: usize = 20;

/// One side: who listens, every process that takes part, and whose requests it gets.
struct Side<'s> {
    label: String,
    front: &'s Running,
    behind: Option<Pid>,
    workload: &'s Workload,
    turns: Vec<Turn>,
}

struct Turn {
    /// CPU time of a request, in microseconds.
    cpu_us: f64,
    p99: Duration,
}

pub(crate) fn run(options: &WholeOptions) -> Result<(), BenchError> {
    process::raise_descriptors(Capacity::ORDINARY.descriptors(1))?;
    let cores = Cores::of(1);
    cores.pin_to_proxies()?;
    let theirs = Workload::generate(USERNAME, Algorithm::Es256)?;
    let ours = theirs.of_users(1, Algorithm::Ed25519)?;
    let folder = tempfile::tempdir().map_err(BenchError::io("nginx's folder"))?;
    let folder = folder.path();
    let site = Site::prepare(&theirs, &folder.join("socket"))?;
    let countersign = install(&ours, &site)?;
    let user = account(ACCOUNT)?;
    fs::create_dir_all(folder.join("root/docs")).map_err(BenchError::io("nginx's folder"))?;
    for listed in [user.dir.join("docs"), folder.join("root/docs")] {
        for number in 0..FILES {
            fs::write(listed.join(format!("file-{number}.txt")), "text").map_err(BenchError::io("a file to list"))?;
        }
    }
    give(&user.dir.join("docs"), &user)?;
    let nginx = start_nginx(&options.nginx, &site, folder)?;
    let haproxy = haproxy::start_rewriting(&options.haproxy, &site, "/docs/")?;
    cores.pin_to_load()?;
    let runtime = process::runtime()?;
    let side = |label: &str, front, behind, workload| Side {
        label: label.to_owned(),
        front,
        behind,
        workload,
        turns: Vec::new(),
    };
    let mut sides = [
        side("gateway, server and instance, Ed25519", &countersign, None, &ours),
        side("HAProxy (ES256) and nginx", &haproxy, Some(nginx.pid()), &theirs),
    ];
    runtime.block_on(async {
        let client = Client::trusting(site.certificate())?;
        client.connect(&countersign).await?.settle(&ours).await?;
        for _ in 0..options.rounds {
            for side in &mut sides {
                let turn = side.turn(&client, options).await?;
                side.turns.push(turn);
            }
        }
        Ok::<_, BenchError>(())
    })?;
    print(&sides)
}

impl Side<'_> {
    async fn turn(&self, client: &Client, options: &WholeOptions) -> Result<Turn, BenchError> {
        let want = || Want { status: 200, body: None };
        let connections = client.connect_all(self.front, options.connections, self.workload).await?;
        let warm_up = self.workload.requests(options.connections.saturating_mul(WARM_UP_PER_CONNECTION))?;
        let requests = self.workload.requests(options.requests)?;
        let (connections, _) = drive(self.front, connections, warm_up, want()).await?;
        let mut processes = self.front.processes()?;
        if let Some(behind) = self.behind {
            processes.extend(process::tree(behind)?);
        }
        let before = process::cpu_time(&processes)?;
        let (_, mut timing) = drive(self.front, connections, requests, want()).await?;
        let spent = process::cpu_time(&processes)?.saturating_sub(before);
        let count = f64::from(u32::try_from(timing.latencies.len()).unwrap_or(u32::MAX));
        let p99 = percentile(&mut timing.latencies, 99).ok_or(BenchError::Empty("--requests must be at least 1"))?;
        Ok(Turn { cpu_us: spent.as_secs_f64() * 1e6 / count, p99 })
    }
}

fn print(sides: &[Side<'_>; 2]) -> Result<(), BenchError> {
    let [ours, theirs] = sides;
    for side in sides {
        let middle = |value: fn(&Turn) -> f64| median(side.turns.iter().map(value)).unwrap_or(f64::NAN);
        report::line(&format!(
            "{:<40} {:>8.1} CPU µs a request, p99 {:.2} ms",
            side.label,
            middle(|turn| turn.cpu_us),
            middle(|turn| turn.p99.as_secs_f64() * 1e3)
        ))?;
    }
    let ratios: Vec<f64> =
        ours.turns.iter().zip(&theirs.turns).map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us).collect();
    let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    report::line(&format!("ratio {:.2} ({})", median(ratios).unwrap_or(f64::NAN), each.join(" ")))
}

/// nginx at a Unix socket, which lists folders as JSON.
fn start_nginx(program: &Path, site: &Site, folder: &Path) -> Result<Nginx, BenchError> {
    let socket = folder.join("socket");
    let http = format!(
        "keepalive_requests 100000000; keepalive_timeout 60s; client_body_temp_path {folder}/temp;\n\
         server {{ listen unix:{socket}; root {folder}/root; location / {{ autoindex on; autoindex_format json; }} }}",
        socket = socket.display(),
        folder = folder.display(),
    );
    Nginx::start(program, site, &http, || UnixStream::connect(&socket).is_ok())
}
