//! The comparison. Every proxy first has to refuse each flawed request; then all of them work in
//! turn, round after round. Turns are short and interleaved, so that other load on the machine
//! affects all of them alike.

use std::rc::Rc;
use std::time::Duration;

use nix::unistd::getpid;

use crate::arguments::CompareOptions;
use crate::client::{Client, Connection, Timing, Want, drive};
use crate::error::BenchError;
use crate::process::{self, Cores};
use crate::proxy::countersign::{self, Instances};
use crate::proxy::{Capacity, Name, Running, Site, envoy, haproxy};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::percentile;
use crate::streams::Streams;
use crate::upstream::Upstream;
use crate::workload::{Flaw, Person, USERNAME, Workload, now_s};

/// Unmeasured requests on each connection before a measured turn, so that handshakes, pools and
/// caches are done.
pub(crate) const WARM_UP_PER_CONNECTION: usize = 16;
/// With many connections or users, so many in all, but at least one of each user. No more are
/// signed together: all are sent well within an intent's lifetime.
const TOGETHER_MAX: usize = 8000;

/// One proxy's result in one round.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) requests: usize,
    /// CPU time by part of the proxy, in the order of its parts.
    pub(crate) cpu: Vec<(&'static str, Duration)>,
    /// CPU time of load and upstream meanwhile. If it is near `elapsed`, they and not the proxy
    /// were the bottleneck.
    pub(crate) load: Duration,
    /// The kernel's share of the proxy's time.
    pub(crate) system_share: f64,
    pub(crate) elapsed: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// A proxy, whose requests it gets, and its turns in the order of the rounds.
pub(crate) struct Series {
    pub(crate) proxy: Running,
    /// What it checks users' signatures with.
    pub(crate) algorithm: Algorithm,
    /// Users who take turns.
    pub(crate) users: usize,
    workload: Rc<Workload>,
    pub(crate) protection: String,
    pub(crate) turns: Vec<Turn>,
}

impl Series {
    fn new(proxy: Running, users: usize, workload: &Rc<Workload>) -> Self {
        let algorithm = workload.first.signer.algorithm();
        Self { proxy, algorithm, users, workload: Rc::clone(workload), protection: String::new(), turns: Vec::new() }
    }
}

pub(crate) fn run(options: &CompareOptions) -> Result<(), BenchError> {
    let capacity = Capacity { threads: options.threads, connections: options.connections, streams: options.streams };
    let users = options.users.repeat(options.algorithm.len());
    let wanted = capacity.descriptors(users.iter().sum());
    let allowed = process::raise_descriptors(wanted)?;
    capacity.check_descriptors(&users, allowed)?;
    if allowed < wanted {
        report::line(&format!(
            "{wanted} open files were wanted to keep a connection for each user, and {allowed} are allowed (ulimit -Hn)"
        ))?;
    }
    let single = Rc::new(Workload::generate(USERNAME, Algorithm::Es256)?);
    let cores = Cores::of(options.threads);
    cores.pin_to_load()?;
    let upstream = Upstream::start()?;
    let site = Site::prepare(&single, upstream.socket())?;
    cores.pin_to_proxies()?;
    let mut series = start(options, &site, &single, capacity)?;
    cores.pin_to_load()?;

    let runtime = process::runtime()?;
    runtime.block_on(async {
        let bench = Bench { client: Client::trusting(site.certificate())?, upstream, options };
        for one in &mut series {
            one.protection = bench.prove(one).await?;
        }
        for _ in 0..options.rounds {
            for one in &mut series {
                let turn = bench.turn(one).await?;
                one.turns.push(turn);
            }
        }
        Ok::<_, BenchError>(())
    })?;
    report::compare(&series, options, cores)
}

/// Countersign has many users, with keys of either algorithm; the other proxies know one.
fn start(
    options: &CompareOptions,
    site: &Site,
    single: &Rc<Workload>,
    capacity: Capacity,
) -> Result<Vec<Series>, BenchError> {
    let mut series = Vec::new();
    if let Some(program) = &options.countersign {
        for algorithm in &options.algorithm {
            for users in &options.users {
                let workload = Rc::new(single.of_users(*users, *algorithm)?);
                let enrolled = workload.people().map(Person::enrolled).collect::<Result<_, _>>()?;
                let instances = if options.stored { Instances::Launched } else { Instances::Named(*users) };
                let installed = countersign::prepare(program, site, enrolled, instances, capacity, now_s())?;
                series.push(Series::new(installed.start()?, *users, &workload));
            }
        }
    }
    if let Some(program) = &options.haproxy {
        for name in [Name::HaProxy, Name::HaProxyBare] {
            series.push(Series::new(haproxy::start(program, site, name, capacity)?, 1, single));
        }
    }
    if let Some(program) = &options.envoy {
        series.push(Series::new(envoy::start(program, site, single, capacity)?, 1, single));
    }
    if series.is_empty() {
        return Err(BenchError::Empty("name at least one of --countersign, --haproxy and --envoy"));
    }
    Ok(series)
}

/// How requests come to a proxy.
enum Load {
    /// Over connections of HTTP/1.1, each with one at a time.
    Connections(Vec<Connection>),
    /// Over one connection of HTTP/2.
    Streams(Streams),
}

impl Load {
    async fn drive(self, proxy: &Running, requests: Vec<Vec<u8>>, want: Want) -> Result<(Self, Timing), BenchError> {
        match self {
            Self::Connections(connections) => {
                let (connections, timing) = drive(proxy, connections, requests, want).await?;
                Ok((Self::Connections(connections), timing))
            }
            Self::Streams(streams) => {
                let timing = streams.drive(proxy, requests, &want).await?;
                Ok((Self::Streams(streams), timing))
            }
        }
    }
}

/// What a turn needs apart from the proxy.
struct Bench<'a> {
    client: Client,
    upstream: Upstream,
    options: &'a CompareOptions,
}

impl Bench<'_> {
    /// Shows that the proxy forwards a good request and refuses each flawed one before the upstream
    /// sees it.
    async fn prove(&self, Series { proxy, workload, .. }: &Series) -> Result<String, BenchError> {
        let mut connection = self.client.connect(proxy).await?;
        let protection = connection.protection();
        connection.settle(workload).await?;
        drive(proxy, vec![connection], workload.requests(1)?, self.want()).await?;
        if proxy.name() == Name::HaProxyBare {
            return Ok(protection);
        }
        for flaw in Flaw::ALL {
            let before = self.upstream.arrived();
            let mut connection = self.client.connect(proxy).await?;
            let status = connection.exchange(&workload.flawed(flaw)?).await?.status;
            if !(400..500).contains(&status) || self.upstream.arrived() != before {
                return Err(BenchError::BadAccepted { proxy: proxy.name(), what: flaw.words(), status });
            }
        }
        Ok(protection)
    }

    /// Connects, and says how many requests there are at once.
    async fn open(&self, proxy: &Running, workload: &Workload) -> Result<(Load, usize), BenchError> {
        let CompareOptions { connections, streams, .. } = *self.options;
        Ok(match streams {
            Some(streams) => (Load::Streams(Streams::open(&self.client, proxy, streams).await?), streams),
            None => (Load::Connections(self.client.connect_all(proxy, connections, workload).await?), connections),
        })
    }

    /// The answer to a forwarded request.
    fn want(&self) -> Want {
        Want { status: 200, body: Some(self.upstream.answer().clone()) }
    }

    async fn turn(&self, Series { proxy, workload, users, .. }: &Series) -> Result<Turn, BenchError> {
        let (mut load, at_once) = self.open(proxy, workload).await?;
        let mut warm_up = at_once.saturating_mul(WARM_UP_PER_CONNECTION).min(TOGETHER_MAX).max(*users);
        while warm_up > 0 {
            let together = warm_up.min(TOGETHER_MAX);
            (load, _) = load.drive(proxy, workload.requests(together)?, self.want()).await?;
            warm_up = warm_up.saturating_sub(together);
        }
        let requests = workload.requests(self.options.requests)?;

        let parts = proxy.parts()?;
        let arrived = self.upstream.arrived();
        let before = parts.iter().map(|part| process::cpu_time(&part.processes)).collect::<Result<Vec<_>, _>>()?;
        let processes = proxy.processes()?;
        let ticks = process::ticks(&processes)?;
        let own = process::cpu_time(&[getpid()])?;
        let (_, mut timing) = load.drive(proxy, requests, self.want()).await?;
        let load = process::cpu_time(&[getpid()])?.saturating_sub(own);
        let system_share = process::system_share(ticks, process::ticks(&processes)?);
        let mut cpu = Vec::new();
        for (part, before) in parts.iter().zip(before) {
            cpu.push((part.label, process::cpu_time(&part.processes)?.saturating_sub(before)));
        }

        let (sent, arrived) = (
            u64::try_from(timing.latencies.len()).unwrap_or(u64::MAX),
            self.upstream.arrived().saturating_sub(arrived),
        );
        if sent != arrived {
            return Err(BenchError::Lost { proxy: proxy.name(), sent, arrived });
        }
        let nothing = BenchError::Empty("--requests and --connections must be at least 1");
        let (Some(p50), Some(p99)) = (percentile(&mut timing.latencies, 50), percentile(&mut timing.latencies, 99))
        else {
            return Err(nothing);
        };
        Ok(Turn { requests: timing.latencies.len(), cpu, load, system_share, elapsed: timing.elapsed, p50, p99 })
    }
}
