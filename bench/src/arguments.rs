//! The tool's command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::signer::Algorithm;

/// The same work through Countersign, HAProxy and Envoy, side by side.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// CPU time per request, throughput and latency of each proxy, in interleaved rounds. If an
    /// option is given twice, the last one counts
    #[command(args_override_self = true)]
    Compare(CompareOptions),
    /// CPU time of the verification without a network, and of the signature check in it
    Judgement(JudgementOptions),
    /// Memory of gateway and server with many enrolled users, and their start-up time
    Memory(MemoryOptions),
    /// CPU time of the server's look at Slurm's queue, and its memory, with many jobs
    Jobs(JobsOptions),
    /// How long a user without an instance waits for one; runs only inside
    /// tests/support/installation.sh
    FirstRequest(FirstRequestOptions),
    /// Memory and time of the replay log as the number of live intents grows
    Replay(ReplayOptions),
    /// Whether the time of a refusal reveals who is enrolled, or which key is
    Timing(TimingOptions),
    /// Downloads and uploads beside nginx, memory during a long one, and a large folder's first
    /// page; runs only inside tests/support/installation.sh
    Transfer(TransferOptions),
    /// How fast `audit verify` checks a long log
    Audit(AuditOptions),
    /// CPU time of a listing through gateway and instance beside HAProxy and nginx; runs only
    /// inside tests/support/installation.sh
    Whole(WholeOptions),
}

/// A proxy without a named program is not run, and the report says so.
#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// The program `countersign`
    #[arg(long)]
    pub(crate) countersign: Option<PathBuf>,
    /// The program `haproxy`
    #[arg(long)]
    pub(crate) haproxy: Option<PathBuf>,
    /// The program `envoy`
    #[arg(long)]
    pub(crate) envoy: Option<PathBuf>,
    /// Measured requests per round and proxy; signed beforehand, so that they must be sent within
    /// an intent's 60 s
    #[arg(long, default_value_t = 8000)]
    pub(crate) requests: usize,
    /// Rounds; in each, every proxy gets its turn
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Users of Countersign, who take turns; the other proxies know one key. Several numbers, with
    /// commas, are a Countersign each
    #[arg(long, value_delimiter = ',', default_values_t = [200])]
    pub(crate) users: Vec<usize>,
    /// Algorithms of the users' keys; each is a Countersign
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Algorithm::ALL)]
    pub(crate) algorithm: Vec<Algorithm>,
    /// Users are in the store alone, and not in the configuration: all have one account, whose
    /// instance the server launches. Runs only inside tests/support/installation.sh
    #[arg(long)]
    pub(crate) stored: bool,
    /// Connections open at once
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Instead of them, one connection of HTTP/2 with so many requests at once, at most 128
    #[arg(long)]
    pub(crate) streams: Option<usize>,
    /// Worker threads of each proxy
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// Live intents at the end
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) intents: u32,
}

#[derive(Debug, Args)]
pub(crate) struct MemoryOptions {
    /// The program `countersign`
    #[arg(long)]
    pub(crate) countersign: PathBuf,
    /// Enrolled users
    #[arg(long, default_value_t = 100_000)]
    pub(crate) users: usize,
}

#[derive(Debug, Args)]
pub(crate) struct JobsOptions {
    /// The program `countersign`
    #[arg(long)]
    pub(crate) countersign: PathBuf,
    /// Jobs on record, and in the queue
    #[arg(long, default_value_t = 10_000)]
    pub(crate) jobs: u32,
    /// Looks at the queue
    #[arg(long, default_value_t = 20)]
    pub(crate) looks: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TimingOptions {
    /// The program `countersign`
    #[arg(long)]
    pub(crate) countersign: PathBuf,
    /// Algorithms of the users' keys, each measured by itself
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Algorithm::ALL)]
    pub(crate) algorithm: Vec<Algorithm>,
    /// Refusals of each kind for requests of Core
    #[arg(long, default_value_t = 2000)]
    pub(crate) samples: usize,
    /// Refusals of each kind for requests of a stranger: the gateway answers 20 of them a second
    #[arg(long, default_value_t = 150)]
    pub(crate) strangers: usize,
}

#[derive(Debug, Args)]
pub(crate) struct FirstRequestOptions {
    /// How often the instance is stopped and waited for again
    #[arg(long, default_value_t = 11)]
    pub(crate) rounds: usize,
}

#[derive(Debug, Args)]
pub(crate) struct TransferOptions {
    /// The program `nginx`
    #[arg(long)]
    pub(crate) nginx: PathBuf,
    /// Length of the transferred files, in MiB
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: u64,
    /// Rounds; in each, both get their turn in both directions
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Length of the one transfer during which memory is watched, in MiB
    #[arg(long, default_value_t = 10_240)]
    pub(crate) long: u64,
}

#[derive(Debug, Args)]
pub(crate) struct WholeOptions {
    /// The program `haproxy`
    #[arg(long)]
    pub(crate) haproxy: PathBuf,
    /// The program `nginx`
    #[arg(long)]
    pub(crate) nginx: PathBuf,
    /// Measured requests per round and side
    #[arg(long, default_value_t = 8000)]
    pub(crate) requests: usize,
    /// Rounds; in each, both sides get their turn
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Connections open at once
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
}

#[derive(Debug, Args)]
pub(crate) struct AuditOptions {
    /// The program `countersign`
    #[arg(long)]
    pub(crate) countersign: PathBuf,
    /// Records of the log
    #[arg(long, default_value_t = 5_000_000)]
    pub(crate) records: u32,
    /// Checks, one after the other; the log is in the page cache from the start
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Where the log is written, some 250 bytes per record; by default the directory of temporary
    /// files
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct JudgementOptions {
    /// Requests verified
    #[arg(long, default_value_t = 20_000)]
    pub(crate) requests: usize,
}
