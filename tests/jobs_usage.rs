//! Usage of jobs on a real Slurm, reported to UCloud through outages and kills: the sum is Slurm's
//! own.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use crate::jobs_poller::begin;
use crate::support::slurm::Slurm;
use crate::support::test_site::{Part, TestSite};
use countersign_portal::core::Outage;

/// Slurm's own sum of processors × seconds, over every run of every job. 0 while it lags.
async fn sum(slurm: &Slurm) -> i64 {
    let of_runs = ["sacct", "--allusers", "-X", "-D", "-n", "-P", "-S", "now-1hour", "-o", "State,CPUTimeRAW"];
    let text = slurm.run(&of_runs).await;
    let rows: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('|')).collect();
    if rows.iter().any(|(state, _)| ["RUNNING", "PENDING"].contains(state)) {
        return 0;
    }
    rows.iter().map(|(_, seconds)| seconds.parse::<i64>().unwrap()).sum()
}

async fn states(slurm: &Slurm, id: u32) -> Vec<String> {
    let wanted = format!("--jobs={id}");
    let text = slurm.run(&["squeue", "-h", "-a", "-t", "all", "-o", "%T", &wanted]).await;
    text.lines().map(str::to_owned).collect()
}

fn booked(centre: &TestSite) -> i64 {
    centre.control.usage().all().iter().map(|booked| booked.usage).sum()
}

/// What is booked of a job.
fn of(centre: &TestSite, id: u32) -> Option<i64> {
    let scope = format!("slurm-{id}-");
    centre.control.usage().all().into_iter().find(|booked| booked.scope.starts_with(&scope)).map(|booked| booked.usage)
}

async fn until_state(slurm: &Slurm, centre: &TestSite, id: u32, state: &str) {
    let what = format!("{id} is {state}");
    centre.until(&what, async || states(slurm, id).await.iter().all(|is| is == state)).await;
}

/// Waits until no job waits or runs, and UCloud's sum is Slurm's.
async fn until_equal(slurm: &Slurm, centre: &TestSite) -> i64 {
    let queue = ["squeue", "-h", "-a", "-o", "%A"];
    centre.until("every job ends", async || slurm.run(&queue).await.is_empty()).await;
    let is_equal = async || {
        let sum = sum(slurm).await;
        sum > 0 && sum == booked(centre)
    };
    centre.until("UCloud's sum is Slurm's", is_equal).await;
    booked(centre)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j10_reported_usage_is_the_sum_of_slurms_own_accounting() {
    let slurm = Slurm::start(&["alice", "bob"]).await;
    // A unit is a second of a processor.
    let counted = "cpu = 1\nfrequency = \"minute\"\nprice = 60\n";
    let tables = format!("{}\n[accounting]\nevery_s = 1\n", slurm.tables().replacen("cpu = 1\n", counted, 1));
    let centre = TestSite::open_with(&tables).await;
    for account in ["alice", "bob"] {
        centre.connect(account).await;
    }
    let (slurm, centre) = (&slurm, &centre);
    let (_, wide) = begin(slurm, centre, "--cpus-per-task=3", "sleep 4").await;
    let (_, again) = begin(slurm, centre, "--requeue", "sleep 5").await;
    let (_, array) = begin(slurm, centre, "--array=1-3%2", "sleep 3").await;
    begin(slurm, centre, "", "exit 3").await;
    let (_, never) = begin(slurm, centre, "--hold", "sleep 1").await;
    slurm.order(&format!("root scancel {never}")).await;
    // The second run would begin after two minutes.
    until_state(slurm, centre, again, "RUNNING").await;
    centre.until("its first run is reported", async || booked(centre) > 0).await;
    slurm.order(&format!("root scontrol requeue {again}")).await;
    until_state(slurm, centre, again, "PENDING").await;
    slurm.order(&format!("root scontrol update JobId={again} StartTime=now")).await;
    let first = until_equal(slurm, centre).await;
    // The second run may fail at once, while Slurm still ends the first.
    assert!(first > 3 * 4 + 3 * 3, "{first}");
    let again_at_slurm = ["sacct", "-X", "-D", "-n", "-P", "-o", "State", "-j", &again.to_string()];
    assert_eq!(slurm.run(&again_at_slurm).await.lines().count(), 2, "both runs are in the sum");
    // One figure for each job that ran, the array's tasks together.
    let scopes: Vec<String> = centre.control.usage().all().into_iter().map(|booked| booked.scope).collect();
    let is_of = |id: u32| scopes.iter().filter(|scope| scope.starts_with(&format!("slurm-{id}-"))).count();
    assert_eq!([wide, again, array, never].map(is_of), [1, 1, 1, 0], "{scopes:?}");

    // slurmdbd is away while a job runs and ends.
    slurm.order("accounting stop").await;
    let (_, unseen) = begin(slurm, centre, "", "sleep 2").await;
    until_state(slurm, centre, unseen, "COMPLETED").await;
    assert_eq!(booked(centre), first, "nothing is guessed");
    slurm.order("accounting start").await;
    // slurmctld tells slurmdbd later what it was not there to hear. Until it has told of the end,
    // accounting counts on.
    centre.until("the job is reported", async || of(centre, unseen).is_some()).await;
    until_equal(slurm, centre).await;

    // Core books, its answer is lost, and the server is killed before it notes anything.
    let (_, long) = begin(slurm, centre, "", "sleep 20").await;
    let reported = async || {
        centre.control.set_outage(Outage::Mute(1));
        of(centre, long).is_some()
    };
    centre.until("the job is reported", reported).await;
    let starts = centre.starts();
    centre.kill(Part::Server);
    centre.control.set_outage(Outage::None);
    centre.until("the server is back", async || centre.starts() > starts && centre.serves().await).await;
    until_equal(slurm, centre).await;
    assert!(of(centre, long).is_some_and(|seconds| (20..25).contains(&seconds)), "{:?}", of(centre, long));
    assert!(of(centre, unseen).is_some_and(|seconds| (2..5).contains(&seconds)), "{:?}", of(centre, unseen));
    let owners: Vec<String> = centre.control.usage().all().into_iter().map(|booked| booked.owner).collect();
    assert!(owners.iter().all(|owner| owner == "alice#1234"), "{owners:?}");
}
