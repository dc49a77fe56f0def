//! Jobs that real accounts begin with `sbatch` on a real Slurm: UCloud is told of them once, and
//! may do nothing with them.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeSet;

use crate::support::slurm::Slurm;
use crate::support::test_site::{Part, TestSite};
use countersign_portal::Deed;
use countersign_portal::core::{JobDeed, Outage, ShownJob};

/// The jobs at UCloud, by Slurm's number.
fn shown(centre: &TestSite) -> Vec<(u32, ShownJob)> {
    let number = |job: &ShownJob| job.provider_generated_id.as_ref()?.split('-').nth(1)?.parse().ok();
    centre.control.jobs().into_iter().filter_map(|job| Some((number(&job)?, job))).collect()
}

async fn until(centre: &TestSite, slurm_id: u32, state: &str) -> ShownJob {
    let is_so = async || shown(centre).iter().any(|(id, job)| *id == slurm_id && job.state == state);
    centre.until(&format!("{slurm_id} is {state}"), is_so).await;
    shown(centre).into_iter().find(|(id, _)| *id == slurm_id).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j09_jobs_begun_by_hand_are_shown_once_and_ucloud_ends_none() {
    let slurm = Slurm::start(&["alice", "bob"]).await;
    let tables = slurm.tables().replacen("poll_s = 1\n", "poll_s = 1\nshow_outside = true\n", 1);
    let centre = TestSite::open_with(&tables).await;
    let alice = centre.connect("alice").await;
    centre.start_static_instance(&alice).await;
    let (slurm, centre) = (&slurm, &centre);
    // A name and a comment that forge rows, and a comment that is a tag.
    let rows = "x|y\\n1|1101|COMPLETED|0|0|1|1|2|0:01|5:00|7|normal|n1|None\\nz";
    let forged = format!("--job-name=\"$(printf '{rows}')\" --comment=\"$(printf '{rows}')\"");
    let plain = slurm.submit(centre, "alice", &forged, "sleep 600").await;
    let tag = "0123456789abcdef0123456789abcdef";
    let marked = slurm.submit(centre, "alice", &format!("--comment={tag}"), "sleep 600").await;
    let array = slurm.submit(centre, "alice", "--array=1-3%1 --job-name=many", "sleep 600").await;
    let of_bob = slurm.submit(centre, "bob", "", "sleep 600").await;
    let short = slurm.submit(centre, "alice", "", "exit 0").await;
    // Core takes the first registration, its answer is lost, and the server is killed.
    centre
        .until("the jobs are about to be registered", async || {
            centre.control.set_outage(Outage::Mute(1));
            !shown(centre).is_empty()
        })
        .await;
    let starts = centre.starts();
    centre.kill(Part::Server);
    centre.control.set_outage(Outage::None);
    centre.until("the server is back", async || centre.starts() > starts && centre.serves().await).await;
    let job = until(centre, plain, "RUNNING").await;
    assert_eq!((job.created_by.as_str(), job.name.as_str()), ("alice#1234", &*format!("xy (Slurm {plain})")));
    until(centre, array, "IN_QUEUE").await;
    // The task that runs has a number of its own, and what waits of the array keeps the first.
    let task = slurm.run(&["squeue", "-h", "-a", "-t", "running", "-o", "%F %A"]).await;
    let first = format!("{array} ");
    let task: u32 = task.lines().find_map(|line| line.strip_prefix(&first)).unwrap().parse().unwrap();
    until(centre, task, "RUNNING").await;
    let numbers: Vec<u32> = shown(centre).into_iter().map(|(id, _)| id).collect();
    let distinct: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!((numbers.len(), &distinct), (3, &BTreeSet::from([plain, array, task])), "{numbers:?}");
    for hidden in [marked, of_bob, short] {
        assert!(!distinct.contains(&hidden), "{hidden}");
    }
    // Her signature does not say which job at Slurm it means.
    let ended = centre.perform(&alice, &Deed::Job(JobDeed::Terminate(job.id.clone()))).await;
    assert_eq!(ended.status, 404, "{ended:?}");
    assert!(ended.json()["why"].as_str().unwrap().contains("at the computing centre alone"), "{ended:?}");
    assert_eq!(slurm.run(&["squeue", "-h", "-o", "%T", &format!("--jobs={plain}")]).await, "RUNNING\n");
    slurm.shell_as(centre, "alice", &format!("scancel {plain} {array}")).await;
    for id in [plain, array, task] {
        let job = until(centre, id, "SUCCESS").await;
        assert_eq!(job.statuses.last().unwrap(), "The job was cancelled by you.");
    }
}
