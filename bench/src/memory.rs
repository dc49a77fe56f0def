//! Gateway and server with many enrolled users: start-up time, and memory before and after every
//! one of those users has sent a request, each with a key of their own.

use std::time::{Duration, Instant};

use crate::arguments::MemoryOptions;
use crate::client::{Client, Want, drive};
use crate::error::BenchError;
use crate::process;
use crate::proxy::countersign::{self, Instances};
use crate::proxy::{Capacity, Running, Site};
use crate::report;
use crate::signer::Algorithm;
use crate::upstream::Upstream;
use crate::workload::{self, Person, USERNAME, Workload, now_s};

/// Requests signed at a time. All are sent well within an intent's lifetime.
const BATCH: usize = 5000;
/// The answer to a permitted request of a user without an instance.
const NO_INSTANCE: u16 = 449;

/// Memory at one moment.
pub(crate) struct Moment {
    pub(crate) when: String,
    pub(crate) gateway_bytes: u64,
    pub(crate) server_bytes: u64,
    /// Of both, counting shared pages once.
    pub(crate) together_bytes: u64,
}

impl Moment {
    fn of(proxy: &Running, when: String) -> Result<Self, BenchError> {
        let (mut gateway_bytes, mut server_bytes, mut together_bytes) = (0, 0, 0);
        for part in proxy.parts()? {
            let resident_bytes = if part.label == "gateway" { &mut gateway_bytes } else { &mut server_bytes };
            for process in part.processes {
                let taken = process::taken(process)?;
                *resident_bytes += taken.resident_bytes;
                together_bytes += taken.proportional_bytes;
            }
        }
        Ok(Self { when, gateway_bytes, server_bytes, together_bytes })
    }
}

pub(crate) fn run(options: &MemoryOptions) -> Result<(), BenchError> {
    let runtime = process::runtime()?;
    let mut moments = Vec::new();
    let idle = runtime.block_on(measure(options, 1, &mut moments))?;
    let ready = runtime.block_on(measure(options, options.users, &mut moments))?;
    report::memory(&moments)?;
    report::line(&format!(
        "ready after {} ms with one user, {} ms with {}",
        idle.as_millis(),
        ready.as_millis(),
        options.users
    ))
}

/// Records the memory, and the time from the start until a stranger's request was answered.
async fn measure(options: &MemoryOptions, users: usize, moments: &mut Vec<Moment>) -> Result<Duration, BenchError> {
    let workload = Workload::generate(USERNAME, Algorithm::Ed25519)?;
    let strangers = (1..users).map(|number| Person::generate(&format!("user{number}#0001"), Algorithm::Ed25519));
    let strangers = strangers.collect::<Result<Vec<_>, _>>()?;
    let upstream = Upstream::start()?;
    let site = Site::prepare(&workload, upstream.socket())?;
    let client = Client::trusting(site.certificate())?;
    let enrolled = std::iter::once(&workload.first).chain(&strangers).map(Person::enrolled);
    let enrolled = enrolled.collect::<Result<_, _>>()?;
    let (instances, capacity) = (Instances::Named(1), Capacity::ORDINARY);
    let installed = countersign::prepare(&options.countersign, &site, enrolled, instances, capacity, now_s())?;

    let begun = Instant::now();
    let proxy = installed.start()?;
    let answered = client.connect(&proxy).await?.exchange(&workload::calls()).await?.status;
    let ready = begun.elapsed();
    if answered != 200 {
        return Err(BenchError::Unexpected {
            proxy: proxy.name(),
            status: answered,
            body: "the table of calls".into(),
        });
    }
    moments.push(Moment::of(&proxy, format!("{users} enrolled, none has asked for anything"))?);

    client.connect(&proxy).await?.settle(&workload).await?;
    let mut connections = client.connect_all(&proxy, Capacity::ORDINARY.connections, &workload).await?;
    for batch in strangers.chunks(BATCH) {
        let requests = batch.iter().map(|person| workload.request_of(person)).collect::<Result<_, _>>()?;
        (connections, _) = drive(&proxy, connections, requests, Want { status: NO_INSTANCE, body: None }).await?;
    }
    moments.push(Moment::of(&proxy, format!("{users} enrolled, each has asked once"))?);
    Ok(ready)
}
