//! The server with many jobs on record: CPU time of one look at Slurm's queue, and memory.
//!
//! Slurm's programs are stand-ins that print a file, and count how often they are asked.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_keys::store::jobs::Job;
use countersign_keys::time::Timestamp;

use crate::arguments::JobsOptions;
use crate::client::Client;
use crate::enrolled;
use crate::error::BenchError;
use crate::process;
use crate::proxy::countersign::{self, Instances};
use crate::proxy::{Capacity, Running, Site};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::median;
use crate::upstream::Upstream;
use crate::workload::{USERNAME, Workload, now_s};

/// The account of the jobs.
const UID: Uid = Uid(2_000_000);
/// How long the queue may take to be asked again.
const LOOK_MAX: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &JobsOptions) -> Result<(), BenchError> {
    let runtime = process::runtime()?;
    let none = runtime.block_on(measure(options, 0))?;
    let many = runtime.block_on(measure(options, options.jobs))?;
    let spent = many.looks.iter().map(|spent| spent.as_secs_f64() * 1000.0);
    let spent = median(spent).ok_or(BenchError::Empty("no look at the queue"))?;
    report::line(&format!(
        "one look at {} jobs takes the server {spent:.1} ms of CPU time, median of {}; its memory is {:.1} MiB, {:.1} MiB without jobs (RSS)",
        options.jobs,
        many.looks.len(),
        report::mebibytes(many.resident_bytes),
        report::mebibytes(none.resident_bytes),
    ))
}

struct Measured {
    /// CPU time of the server from one look to the next.
    looks: Vec<Duration>,
    resident_bytes: u64,
}

async fn measure(options: &JobsOptions, jobs: u32) -> Result<Measured, BenchError> {
    let workload = Workload::generate(USERNAME, Algorithm::Ed25519)?;
    let upstream = Upstream::start()?;
    let site = Site::prepare(&workload, upstream.socket())?;
    let client = Client::trusting(site.certificate())?;
    let (instances, capacity, now) = (Instances::Named(1), Capacity::ORDINARY, now_s());
    let users = vec![workload.first.enrolled()?];
    let installed = countersign::prepare(&options.countersign, &site, users, instances, capacity, now)?;
    let slurm = StandIn::prepare(site.path("slurm"), jobs, now)?;
    let tables = format!(
        "[slurm]\ncommands = \"{}\"\ndrive = \"home\"\npoll_s = 1\n[[drives]]\nid = \"home\"\npath = \"~\"\n",
        slurm.directory.display()
    );
    let records = (0..jobs).map(|at| job(at, now)).collect::<Result<Vec<_>, _>>()?;
    installed.extend(&tables, |store| enrolled::add_jobs(store, &records))?;
    let running = installed.start()?;
    client.connect(&running).await?.settle(&workload).await?;
    let server = server_of(&running)?;
    let mut looks = Vec::new();
    if jobs > 0 {
        // The first looks belong to the start.
        slurm.until_asked(3).await?;
        for _ in 0..options.looks {
            let before = process::cpu_time(&server)?;
            slurm.until_asked(slurm.asked().saturating_add(1)).await?;
            looks.push(process::cpu_time(&server)?.saturating_sub(before));
        }
    }
    Ok(Measured { looks, resident_bytes: process::resident_bytes(&server)? })
}

fn server_of(running: &Running) -> Result<Vec<nix::unistd::Pid>, BenchError> {
    let server = running.parts()?.into_iter().find(|part| part.label == "server");
    // Slurm's programs come and go.
    server.and_then(|part| part.processes.first().map(|first| vec![*first])).ok_or(BenchError::Empty("no server"))
}

/// A running job of which Core knows everything.
fn job(at: u32, now_s: i64) -> Result<Job, BenchError> {
    let now = Timestamp::from_seconds(now_s);
    let parsed = |_| BenchError::Keys("a job");
    let core_id = CoreJobId::parse(&(1_000_000 + at).to_string()).map_err(parsed)?;
    let username = Username::parse(USERNAME).map_err(|_| BenchError::Keys("a username"))?;
    Ok(Job {
        is_verified: true,
        told: Some("RUNNING".to_owned()),
        words: Some("The job is running on n1.".to_owned()),
        words_at: Some(now),
        limit_told_min: Some(60),
        updates: 2,
        ..Job::new(core_id, UID, username, at.saturating_add(1), now, now)
    })
}

/// A directory with stand-ins for Slurm's programs.
struct StandIn {
    directory: PathBuf,
}

impl StandIn {
    fn prepare(directory: PathBuf, jobs: u32, now_s: i64) -> Result<Self, BenchError> {
        let doing = "stand-ins for Slurm's programs";
        fs::create_dir(&directory).map_err(BenchError::io(doing))?;
        let end = now_s.saturating_add(3_600);
        let row = |id| format!("{id}|{}|RUNNING|0|0|1|{now_s}|{end}|0:02|1:00:00|7|normal|n1|None\n", UID.0);
        let rows: String = (1..=jobs).map(row).collect();
        write(&directory.join("rows"), &rows, 0o644)?;
        // The account of the server writes it.
        write(&directory.join("asked"), "", 0o666)?;
        let at = directory.display();
        write(&directory.join("squeue"), &format!("#!/bin/sh\necho >>{at}/asked\nexec /bin/cat {at}/rows\n"), 0o755)?;
        for silent in ["sacct", "sinfo", "scontrol"] {
            write(&directory.join(silent), "#!/bin/sh\n", 0o755)?;
        }
        Ok(Self { directory })
    }

    /// How often the queue was asked for.
    fn asked(&self) -> u64 {
        fs::metadata(self.directory.join("asked")).map_or(0, |file| file.len())
    }

    /// Waits until the queue was asked for so often.
    async fn until_asked(&self, wanted: u64) -> Result<(), BenchError> {
        let waiting = async {
            while self.asked() < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LOOK_MAX, waiting).await.map_err(|_| BenchError::Empty("the server does not ask Slurm"))
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), BenchError> {
    let doing = "stand-ins for Slurm's programs";
    fs::write(path, text).map_err(BenchError::io(doing))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(BenchError::io(doing))
}
