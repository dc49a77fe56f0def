//! Whether the time of a refusal reveals more than the refusal. All of these are answered alike
//! (`482 INTENT_INVALID`, V61). Measures the time of each kind over one connection, the kinds in
//! random order, with keys of one algorithm and then of the other. The first kind is there twice:
//! the difference between those two is noise.

use std::time::{Duration, Instant};

use crate::arguments::TimingOptions;
use crate::client::{Client, Connection};
use crate::error::BenchError;
use crate::process;
use crate::proxy::countersign::{self, Instances};
use crate::proxy::{Capacity, Running, Site};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::{Random, cliffs_delta, median, median_difference};
use crate::upstream::Upstream;
use crate::workload::{self, Person, USERNAME, Workload, now_s};

/// The answer to every one of them.
const REFUSED: u16 = 482;
/// Between two requests of a stranger, who may send 20 a second.
const STRANGER_PAUSE: Duration = Duration::from_millis(60);
/// Resamples for an interval.
const RESAMPLES: usize = 2000;
/// Of each kind, unmeasured.
const WARM_UP: usize = 20;

/// The flaw of an intent.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Its user is not enrolled.
    UnknownUser,
    /// The same: the measure of noise.
    UnknownUserAgain,
    /// Its user is enrolled, but the key that it names is not theirs.
    UnknownKey,
    /// The same, but the gateway was asked for that key just before, and need not ask the server.
    UnknownKeyAgain,
    /// User and key are enrolled, but another key made the signature.
    BadSignature,
}

/// Each kind, and the place of the one that it is compared with. For the first three the gateway
/// asks the server, and for the last two it does not (decision 102): those two differ in the key
/// that the signature is checked with, and in nothing else.
const KINDS: [(Kind, &str, usize); 5] = [
    (Kind::UnknownUser, "unknown user", 0),
    (Kind::UnknownUserAgain, "unknown user, again", 0),
    (Kind::UnknownKey, "known user, unknown key", 0),
    (Kind::BadSignature, "known user and key, bad signature", 0),
    (Kind::UnknownKeyAgain, "known user, unknown key, cached", 3),
];

/// The sender.
#[derive(Clone, Copy, Debug)]
enum Sender {
    /// Core, with its token, in a request.
    Core,
    /// A stranger, as a deposit.
    Stranger,
}

pub(crate) fn run(options: &TimingOptions) -> Result<(), BenchError> {
    options.algorithm.iter().try_for_each(|algorithm| run_for(options, *algorithm))
}

fn run_for(options: &TimingOptions, algorithm: Algorithm) -> Result<(), BenchError> {
    report::line(&format!("{algorithm:?}"))?;
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let workload = Workload::generate(USERNAME, algorithm)?;
        let upstream = Upstream::start()?;
        let site = Site::prepare(&workload, upstream.socket())?;
        let client = Client::trusting(site.certificate())?;
        let users = vec![workload.first.enrolled()?];
        let (instances, capacity) = (Instances::Named(1), Capacity::ORDINARY);
        let installed = countersign::prepare(&options.countersign, &site, users, instances, capacity, now_s())?;
        let proxy = installed.start()?;
        client.connect(&proxy).await?.settle(&workload).await?;
        for (sender, words, samples) in
            [(Sender::Core, "Core asks", options.samples), (Sender::Stranger, "a stranger deposits", options.strangers)]
        {
            let times = measure(&client, &proxy, &workload, sender, samples).await?;
            tell(words, &times)?;
        }
        Ok(())
    })
}

/// Makes this many refusals of each kind, and returns the time of each in microseconds.
async fn measure(
    client: &Client,
    proxy: &Running,
    workload: &Workload,
    sender: Sender,
    samples: usize,
) -> Result<Vec<Vec<f64>>, BenchError> {
    let mut connection = client.connect(proxy).await?;
    let mut times = vec![Vec::with_capacity(samples); KINDS.len()];
    let warm_up = match sender {
        Sender::Core => WARM_UP,
        Sender::Stranger => 1,
    };
    let mut random = Random::new();
    for round in 0..samples.saturating_add(warm_up) {
        for at in shuffled(&mut random) {
            let (Some((kind, _, _)), Some(times)) = (KINDS.get(at), times.get_mut(at)) else { continue };
            let took = once(&mut connection, proxy, workload, *kind, sender).await?;
            if round >= warm_up {
                times.push(took);
            }
        }
    }
    Ok(times)
}

/// A random order of the kinds, since the previous request influences how long a refusal takes.
fn shuffled(random: &mut Random) -> Vec<usize> {
    let mut places: Vec<(u64, usize)> = (0..KINDS.len()).map(|place| (random.draw(), place)).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, place)| place).collect()
}

async fn once(
    connection: &mut Connection,
    proxy: &Running,
    workload: &Workload,
    kind: Kind,
    sender: Sender,
) -> Result<f64, BenchError> {
    // A name of the same length, and each time a key that was not looked up before: the gateway
    // caches an answer for a second.
    let (username, intent) = match kind {
        Kind::UnknownUser | Kind::UnknownUserAgain => {
            let person = Person::generate("bench#0002", workload.first.signer.algorithm())?;
            (person.username.clone(), workload.intent(&person)?)
        }
        Kind::UnknownKey | Kind::UnknownKeyAgain => {
            (USERNAME.to_owned(), workload.intent(&Person::generate(USERNAME, workload.first.signer.algorithm())?)?)
        }
        Kind::BadSignature => (USERNAME.to_owned(), workload::tampered(&workload.intent(&workload.first)?)),
    };
    let request = match sender {
        Sender::Core => workload.with_intent(&username, &intent),
        Sender::Stranger => workload::deposit(&intent),
    };
    if matches!(kind, Kind::UnknownKeyAgain) {
        refusal(connection, proxy, &request, sender).await?;
    }
    refusal(connection, proxy, &request, sender).await
}

/// The time of one refusal, in microseconds.
async fn refusal(
    connection: &mut Connection,
    proxy: &Running,
    request: &[u8],
    sender: Sender,
) -> Result<f64, BenchError> {
    if matches!(sender, Sender::Stranger) {
        tokio::time::sleep(STRANGER_PAUSE).await;
    }
    let sent = Instant::now();
    let answer = connection.exchange(request).await?;
    let took = sent.elapsed();
    if answer.status != REFUSED {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(BenchError::Unexpected { proxy: proxy.name(), status: answer.status, body });
    }
    Ok(took.as_secs_f64() * 1e6)
}

/// Compares each kind with another.
fn tell(words: &str, times: &[Vec<f64>]) -> Result<(), BenchError> {
    let samples = times.first().map_or(0, Vec::len);
    report::line(&format!("{words}; {samples} refusals of each kind, in an order of chance"))?;
    for ((_, name, base), own) in KINDS.iter().zip(times) {
        let nothing = || BenchError::Empty("--samples and --strangers must be at least 1");
        let (Some((_, other, _)), Some(others)) = (KINDS.get(*base), times.get(*base)) else { continue };
        let middle = median(own.iter().copied()).ok_or_else(nothing)?;
        if name == other {
            report::line(&format!("  {name:<34} median {middle:>7.1} µs"))?;
            continue;
        }
        let delta = cliffs_delta(own, others).ok_or_else(nothing)?;
        let (from, to) = median_difference(own, others, RESAMPLES).ok_or_else(nothing)?;
        let verdict = if from <= 0.0 && to >= 0.0 { "not told apart" } else { "told apart" };
        report::line(&format!(
            "  {name:<34} median {middle:>7.1} µs, {from:>+7.1} to {to:>+7.1} µs (99 %), Cliff's delta {delta:>+5.2}: {verdict} from \"{other}\""
        ))?;
    }
    Ok(())
}
