//! The comparison. Every proxy first has to refuse each flawed request; then all of them work in
//! turn, round after round. Turns are short and interleaved, so that other load on the machine
//! affects all of them alike.

use std::time::Duration;

use nix::unistd::getpid;

use crate::arguments::CompareOptions;
use crate::client::{Client, Want, drive};
use crate::error::BenchError;
use crate::process;
use crate::proxy::{Name, Running, Site, countersign, envoy, haproxy};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::percentile;
use crate::upstream::Upstream;
use crate::workload::{Flaw, Person, USERNAME, Workload, now_s};

/// The core of the proxies, and the core of load and upstream, so that neither takes the other's
/// time.
pub(crate) const PROXY_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;
/// Unmeasured requests on each connection before a measured turn, so that handshakes, pools and
/// caches are done.
pub(crate) const WARM_UP_PER_CONNECTION: usize = 16;

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

/// A proxy's turns, in the order of the rounds.
pub(crate) struct Series {
    pub(crate) proxy: Running,
    /// What it checks users' signatures with.
    pub(crate) algorithm: Algorithm,
    pub(crate) protection: String,
    pub(crate) turns: Vec<Turn>,
}

pub(crate) fn run(options: &CompareOptions) -> Result<(), BenchError> {
    process::raise_descriptors()?;
    let workload = Workload::generate(USERNAME, Algorithm::Es256)?;
    let [es256, ed25519] =
        [Algorithm::Es256, Algorithm::Ed25519].map(|algorithm| workload.of_users(options.users, algorithm));
    let workloads = Workloads { single: workload, es256: es256?, ed25519: ed25519? };
    let pinned = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > LOAD_CORE);
    if pinned {
        process::pin(LOAD_CORE)?;
    }
    let upstream = Upstream::start()?;
    let site = Site::prepare(&workloads.single, upstream.socket())?;

    if pinned {
        process::pin(PROXY_CORE)?;
    }
    let proxies = start(options, &site, &workloads)?;
    if pinned {
        process::pin(LOAD_CORE)?;
    }

    let runtime = process::runtime()?;
    let series = runtime.block_on(async {
        let bench = Bench { client: Client::trusting(site.certificate())?, workloads, upstream, options };
        let mut series = Vec::new();
        for (proxy, algorithm) in proxies {
            let protection = bench.prove(&proxy, algorithm).await?;
            series.push(Series { proxy, algorithm, protection, turns: Vec::new() });
        }
        for _ in 0..options.rounds {
            for one in &mut series {
                let turn = bench.turn(&one.proxy, one.algorithm).await?;
                one.turns.push(turn);
            }
        }
        Ok::<_, BenchError>(series)
    })?;
    report::compare(&series, options, pinned)
}

/// Who asks: many users of Countersign, with keys of either algorithm, and the one that the other
/// proxies know.
struct Workloads {
    single: Workload,
    es256: Workload,
    ed25519: Workload,
}

impl Workloads {
    fn of(&self, name: Name, algorithm: Algorithm) -> &Workload {
        match (name, algorithm) {
            (Name::Countersign, Algorithm::Es256) => &self.es256,
            (Name::Countersign, Algorithm::Ed25519) => &self.ed25519,
            (Name::HaProxy | Name::HaProxyBare | Name::Envoy, _) => &self.single,
        }
    }
}

fn start(
    options: &CompareOptions,
    site: &Site,
    workloads: &Workloads,
) -> Result<Vec<(Running, Algorithm)>, BenchError> {
    let mut proxies = Vec::new();
    if let Some(program) = &options.countersign {
        for algorithm in [Algorithm::Ed25519, Algorithm::Es256] {
            let users = workloads.of(Name::Countersign, algorithm).people().map(Person::enrolled);
            let users = users.collect::<Result<_, _>>()?;
            proxies.push((countersign::prepare(program, site, users, now_s())?.start()?, algorithm));
        }
    }
    if let Some(program) = &options.haproxy {
        for name in [Name::HaProxy, Name::HaProxyBare] {
            proxies.push((haproxy::start(program, site, name)?, Algorithm::Es256));
        }
    }
    if let Some(program) = &options.envoy {
        proxies.push((envoy::start(program, site, &workloads.single)?, Algorithm::Es256));
    }
    if proxies.is_empty() {
        return Err(BenchError::Empty("name at least one of --countersign, --haproxy and --envoy"));
    }
    Ok(proxies)
}

/// What a turn needs apart from the proxy.
struct Bench<'a> {
    client: Client,
    workloads: Workloads,
    upstream: Upstream,
    options: &'a CompareOptions,
}

impl Bench<'_> {
    /// Shows that the proxy forwards a good request and refuses each flawed one before the upstream
    /// sees it.
    async fn prove(&self, proxy: &Running, algorithm: Algorithm) -> Result<String, BenchError> {
        let workload = self.workloads.of(proxy.name(), algorithm);
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

    /// The answer to a forwarded request.
    fn want(&self) -> Want {
        Want { status: 200, body: Some(self.upstream.answer().clone()) }
    }

    async fn turn(&self, proxy: &Running, algorithm: Algorithm) -> Result<Turn, BenchError> {
        let workload = self.workloads.of(proxy.name(), algorithm);
        let connections = self.client.connect_all(proxy, self.options.connections).await?;
        let warm_up = workload.requests(self.options.connections.saturating_mul(WARM_UP_PER_CONNECTION))?;
        let requests = workload.requests(self.options.requests)?;
        let (connections, _) = drive(proxy, connections, warm_up, self.want()).await?;

        let parts = proxy.parts()?;
        let arrived = self.upstream.arrived();
        let before = parts.iter().map(|part| process::cpu_time(&part.processes)).collect::<Result<Vec<_>, _>>()?;
        let processes = proxy.processes()?;
        let ticks = process::ticks(&processes)?;
        let load = process::cpu_time(&[getpid()])?;
        let (_, mut timing) = drive(proxy, connections, requests, self.want()).await?;
        let load = process::cpu_time(&[getpid()])?.saturating_sub(load);
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
