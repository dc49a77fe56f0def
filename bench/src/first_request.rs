//! A user's first request: 449, Core's `init`, then the same request again. Measures the time until
//! it is served, and the memory of an instance. Works only where `tests/support/installation.sh`
//! has installed Countersign, since a real instance needs sudo and an account.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::arguments::FirstRequestOptions;
use crate::client::{Client, Connection, SETTLE_MAX};
use crate::error::BenchError;
use crate::installed::{USERNAME, install, instance};
use crate::process::{self, Taken};
use crate::proxy::{NO_UPSTREAM, Name, Site};
use crate::report;
use crate::signer::Algorithm;
use crate::statistics::percentile;
use crate::workload::Workload;

/// How often the request is repeated: often enough for a resolution of milliseconds, rarely enough
/// to take no time from the instance.
const POLL: Duration = Duration::from_millis(2);
/// Time for a stopped instance to end and for the server to notice. Otherwise `init` would still
/// find it.
const ENDING: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &FirstRequestOptions) -> Result<(), BenchError> {
    let workload = Workload::generate(USERNAME, Algorithm::Ed25519)?;
    let site = Site::prepare(&workload, Path::new(NO_UPSTREAM))?;
    let proxy = install(&workload, &site)?;
    let runtime = process::runtime()?;
    let (mut waits, taken) = runtime.block_on(async {
        let client = Client::trusting(site.certificate())?;
        let mut connection = client.connect(&proxy).await?;
        let mut waits = Vec::new();
        let mut taken = Taken::default();
        // The first round is not measured: the gateway's replay log and the instance still settle.
        for round in 0..=options.rounds {
            await_status(&mut connection, &workload, 449).await?;
            let begun = Instant::now();
            let status = connection.exchange(&workload.init()).await?.status;
            if status != 200 {
                return Err(BenchError::Unexpected { proxy: Name::Countersign, status, body: "init".into() });
            }
            await_status(&mut connection, &workload, 200).await?;
            if round > 0 {
                waits.push(begun.elapsed());
            }
            let instance = instance(&proxy)?;
            taken = process::taken(instance)?;
            kill(instance, Signal::SIGTERM).map_err(BenchError::system("ending an instance"))?;
            tokio::time::sleep(ENDING).await;
        }
        Ok::<_, BenchError>((waits, taken))
    })?;
    let nothing = || BenchError::Empty("--rounds must be at least 1");
    let median = percentile(&mut waits, 50).ok_or_else(nothing)?;
    let longest = percentile(&mut waits, 100).ok_or_else(nothing)?;
    report::line(&format!(
        "from init to the first answer of a new instance: median {:.0} ms, longest {:.0} ms of {}\n\
         an instance that has served one request, beside gateway and server: {:.1} MiB are its share of the machine's memory (PSS), {:.1} MiB its own alone; \
         RSS {:.1} MiB, which counts the program's pages once more for every process",
        median.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        waits.len(),
        report::mebibytes(taken.proportional_bytes),
        report::mebibytes(taken.own_bytes),
        report::mebibytes(taken.resident_bytes),
    ))
}

/// Repeats the request, each time with a new intent, until the answer has this status.
async fn await_status(connection: &mut Connection, workload: &Workload, want: u16) -> Result<(), BenchError> {
    let begun = Instant::now();
    loop {
        let answer = connection.exchange(&workload.request_of(&workload.first)?).await?;
        if answer.status == want {
            return Ok(());
        }
        if begun.elapsed() > SETTLE_MAX {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(BenchError::Unexpected { proxy: Name::Countersign, status: answer.status, body });
        }
        tokio::time::sleep(POLL).await;
    }
}
