//! Tests of jobs on a real Slurm: accounts report what they have submitted, and UCloud is told each
//! change once, through outages of Slurm and kills of the server.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::slurm::Slurm;
use crate::support::test_site::{Part, TestSite};
use countersign_portal::core::ShownJob;

/// How often the server is killed while jobs end.
const KILLS: usize = 10;

async fn scene() -> (Slurm, TestSite) {
    scene_with(Slurm::start(&["alice", "bob"]).await).await
}

async fn scene_with(slurm: Slurm) -> (Slurm, TestSite) {
    let more = format!(
        "[slurm]\nconfig = \"{}\"\ndrive = \"home\"\npoll_s = 1\noperator = true\ntime_max_h = 1\n",
        slurm.config().display()
    );
    let centre = TestSite::open_with(&more).await;
    for account in ["alice", "bob"] {
        centre.connect(account).await;
    }
    (slurm, centre)
}

/// Calls the server's socket as an account, and returns the status.
async fn call(centre: &TestSite, account: &str, path: &str, body: &str) -> String {
    let socket = centre.ipc.join("ucloud.sock");
    let script = format!(
        "curl --silent --show-error --output /dev/null --write-out '%{{http_code}}' --unix-socket {} --data '{body}' http://localhost{path}",
        socket.display()
    );
    let output = centre.shell_as(account, &script).await;
    String::from_utf8(output.stdout).unwrap()
}

fn report(username: &str, core_id: &str, slurm_id: u32) -> String {
    let now = countersign_portal::now();
    format!(
        "{{\"username\":\"{username}\",\"coreId\":\"{core_id}\",\"slurmId\":{slurm_id},\"submittedAt\":{now},\"outputFolder\":\"/7/ucloud-jobs/{core_id}\"}}"
    )
}

/// Submits a job of alice's, and reports it. Returns both numbers.
pub(crate) async fn begin(slurm: &Slurm, centre: &TestSite, options: &str, script: &str) -> (String, u32) {
    let core_id = centre.control.add_job("alice#1234", None);
    let slurm_id = slurm.submit(centre, "alice", options, script).await;
    let status = call(centre, "alice", "/jobs/submitted", &report("alice#1234", &core_id, slurm_id)).await;
    assert_eq!(status, "200", "{}", centre.last_words());
    (core_id, slurm_id)
}

fn job(centre: &TestSite, core_id: &str) -> ShownJob {
    centre.control.jobs().into_iter().find(|job| job.id == core_id).unwrap()
}

async fn until_state(centre: &TestSite, core_id: &str, state: &str) {
    centre.until(&format!("{core_id} is {state}"), async || job(centre, core_id).state == state).await;
}

async fn until_told(centre: &TestSite, core_id: &str, words: &str) {
    let is_told = async || job(centre, core_id).statuses.iter().any(|status| status.contains(words));
    centre.until(&format!("{core_id} is told {words:?}"), is_told).await;
}

/// Core was told of one end, and of no state twice in a row.
fn assert_told_once(job: &ShownJob) {
    let ends = job.states.iter().filter(|state| matches!(state.as_str(), "SUCCESS" | "FAILURE" | "EXPIRED")).count();
    assert_eq!(ends, 1, "{job:?}");
    assert!(job.states.windows(2).all(|pair| pair[0] != pair[1]), "{job:?}");
    assert_eq!(job.output_folder.as_deref(), Some(format!("/7/ucloud-jobs/{}", job.id).as_str()), "{job:?}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_end_of_a_job_arrives_once_with_its_reason() {
    let (slurm, centre) = scene().await;
    let (slurm, centre) = (&slurm, &centre);
    // Held first, so that the state of waiting is seen.
    let (held, held_at_slurm) = begin(slurm, centre, "--hold", "exit 0").await;
    let (good, _) = begin(slurm, centre, "", "sleep 3").await;
    let (failed, failed_at_slurm) = begin(slurm, centre, "", "exit 3").await;
    let (signalled, _) = begin(slurm, centre, "", "kill -11 $$").await;
    let (by_user, at_slurm) = begin(slurm, centre, "", "sleep 600").await;
    until_told(centre, &held, "held by its owner").await;
    until_state(centre, &by_user, "RUNNING").await;
    slurm.shell_as(centre, "alice", &format!("scancel {at_slurm}")).await;
    let want = BTreeMap::from([
        (&good, ("SUCCESS", "The job has completed.")),
        (&failed, ("FAILURE", "The job has failed: exit code 3.")),
        (&signalled, ("FAILURE", "The job has failed: a segmentation fault (signal 11).")),
        (&by_user, ("SUCCESS", "The job was cancelled by you.")),
    ]);
    for (id, (state, words)) in &want {
        until_state(centre, id, state).await;
        assert_eq!(job(centre, id).statuses.last().unwrap(), words);
    }
    // A dependency that cannot be met, and an end by the staff.
    let (never, never_at_slurm) =
        begin(slurm, centre, &format!("--dependency=afterok:{failed_at_slurm}"), "exit 0").await;
    until_told(centre, &never, "never starts").await;
    for id in [never_at_slurm, held_at_slurm] {
        slurm.order(&format!("root scancel {id}")).await;
    }
    for id in [&never, &held] {
        until_state(centre, id, "SUCCESS").await;
        assert_eq!(
            job(centre, id).statuses.last().unwrap(),
            "The job was cancelled by the staff of the computing centre."
        );
    }
    // Started again.
    let (again, at_slurm) = begin(slurm, centre, "--requeue", "sleep 600").await;
    until_state(centre, &again, "RUNNING").await;
    slurm.order(&format!("root scontrol requeue {at_slurm}")).await;
    until_state(centre, &again, "IN_QUEUE").await;
    until_told(centre, &again, "put the job back into the queue").await;
    slurm.order(&format!("root scancel {at_slurm}")).await;
    until_state(centre, &again, "SUCCESS").await;
    for id in [good, failed, signalled, by_user, never, held, again] {
        assert_told_once(&job(centre, &id));
    }
}

/// Ends that take Slurm a minute or more.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_slow_end_of_a_job_arrives_once_with_its_reason() {
    let (slurm, centre) = scene_with(Slurm::start_limited(&["alice", "bob"]).await).await;
    let (slurm, centre) = (&slurm, &centre);
    let options = "--no-requeue --time=1 --nodelist";
    let (timeout, _) = begin(slurm, centre, &format!("{options}=n1"), "sleep 300").await;
    until_state(centre, &timeout, "RUNNING").await;
    // It cannot begin in time, because it needs the whole node.
    let (deadline, _) = begin(slurm, centre, &format!("{options}=n1 --exclusive --deadline=now+75"), "exit 0").await;
    // It keeps 60 MB and has 10 MB. Without control groups Slurm looks every second.
    let greedy = "{ head -c 60000000 /dev/zero; sleep 20; } | tail -c 60000000";
    let (memory, _) = begin(slurm, centre, &format!("{options}=n1 --acctg-freq=task=1"), greedy).await;
    let (node_fail, _) = begin(slurm, centre, "--no-requeue --nodelist=n2", "sleep 300").await;
    until_state(centre, &node_fail, "RUNNING").await;
    slurm.order("node lost").await;
    until_slow_end(centre, &memory, "FAILURE").await;
    until_slow_end(centre, &node_fail, "FAILURE").await;
    slurm.order("node back").await;
    until_slow_end(centre, &timeout, "EXPIRED").await;
    until_slow_end(centre, &deadline, "EXPIRED").await;
    // A job of a partition that comes first takes both nodes.
    let (preempted, _) = begin(slurm, centre, "--no-requeue --exclusive --nodelist=n1", "sleep 300").await;
    until_state(centre, &preempted, "RUNNING").await;
    let (urgent, _) = begin(slurm, centre, "--partition=urgent --exclusive --nodelist=n1", "sleep 1").await;
    until_slow_end(centre, &preempted, "FAILURE").await;
    until_slow_end(centre, &urgent, "SUCCESS").await;
    // Without control groups Slurm knows the signal alone.
    let too_much = match slurm.limits_memory {
        true => "The job was ended: it used more memory than it had (10M).",
        false => "The job has failed: killed (signal 9), possibly because it used too much memory.",
    };
    let want = [
        (timeout, "The job was ended after 1 min: its time was up."),
        (deadline, "The job was ended: it could not be finished before its deadline."),
        (memory, too_much),
        (node_fail, "The job was ended: a node of it failed."),
        (preempted, "The job was ended: a job with a higher priority needed its nodes."),
        (urgent, "The job has completed."),
    ];
    for (id, words) in want {
        let job = job(centre, &id);
        assert_told_once(&job);
        assert_eq!(job.statuses.last().unwrap(), words);
    }
}

/// How long Slurm is away beyond the moment at which the server has noticed: not at all, or so many
/// seconds.
fn outage() -> Duration {
    Duration::from_secs(std::env::var("COUNTERSIGN_OUTAGE_S").map_or(0, |seconds| seconds.parse().unwrap()))
}

/// Waits up to three minutes for the end of a job.
async fn until_slow_end(centre: &TestSite, core_id: &str, state: &str) {
    let ended = async {
        while job(centre, core_id).state != state {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(180), ended).await;
    assert!(ended.is_ok(), "{:?} is not {state}\n{}", job(centre, core_id), centre.last_words());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn no_name_and_no_account_reaches_another_accounts_job() {
    let (slurm, centre) = scene().await;
    let (slurm, centre) = (&slurm, &centre);
    let (victim, victim_at_slurm) = begin(slurm, centre, "", "sleep 600").await;
    until_state(centre, &victim, "RUNNING").await;
    // Bob reports alice's job, and a job of his own under alice's id at Core.
    let own = centre.control.add_job("bob#5678", None);
    assert_eq!(call(centre, "bob", "/jobs/submitted", &report("bob#5678", &own, victim_at_slurm)).await, "403");
    // A name that forges rows of the queue and of accounting, in both forms that are asked for.
    let rows = format!(
        "a|b\\n{victim_at_slurm}|1101|COMPLETED|0|0|1|1|2|0:01|5:00|7|normal|n1|None\\n{victim_at_slurm}|COMPLETED|0:0|0:0|1101|1|1|2|1|mem=1M|n1\\nx"
    );
    let options = format!("--job-name=\"$(printf '{rows}')\" --comment=\"$(printf '{rows}')\"");
    let forger = slurm.submit(centre, "bob", &options, "sleep 2").await;
    assert_eq!(call(centre, "bob", "/jobs/submitted", &report("bob#5678", &own, forger)).await, "200");
    until_state(centre, &own, "SUCCESS").await;
    let stolen = slurm.submit(centre, "bob", "", "exit 9").await;
    assert_eq!(call(centre, "bob", "/jobs/submitted", &report("bob#5678", &victim, stolen)).await, "200");
    // Neither bob nor a stranger changes alice's job as an operator would.
    let extend = format!("{{\"coreId\":\"{victim}\",\"minutes\":5}}");
    for account in ["bob", "mallory"] {
        assert_ne!(call(centre, account, "/jobs/extend", &extend).await, "200");
    }
    assert_eq!(call(centre, "alice", "/jobs/extend", &extend).await, "200", "{}", centre.last_words());
    centre
        .until("Core knows the new time", async || job(centre, &victim).time_allocation_ms == Some(45 * 60_000))
        .await;
    let too_long = format!("{{\"coreId\":\"{victim}\",\"minutes\":60}}");
    assert_eq!(call(centre, "alice", "/jobs/extend", &too_long).await, "400");
    // A pause that the user asked for.
    for (suspend, state) in [(true, "SUSPENDED"), (false, "RUNNING")] {
        let body = format!("{{\"coreId\":\"{victim}\",\"suspend\":{suspend}}}");
        assert_eq!(call(centre, "alice", "/jobs/suspend", &body).await, "200", "{}", centre.last_words());
        until_state(centre, &victim, state).await;
    }
    assert_eq!(job(centre, &victim).states, ["RUNNING", "SUSPENDED", "RUNNING"]);
    slurm.shell_as(centre, "alice", &format!("scancel {victim_at_slurm}")).await;
    until_state(centre, &victim, "SUCCESS").await;
    assert_eq!(job(centre, &victim).statuses.last().unwrap(), "The job was cancelled by you.");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn outages_end_no_job_and_kills_lose_and_repeat_nothing() {
    let (slurm, centre) = scene().await;
    let (slurm, centre) = (&slurm, &centre);
    let (long, at_slurm) = begin(slurm, centre, "", "sleep 600").await;
    let (short, _) = begin(slurm, centre, "", "sleep 8").await;
    until_state(centre, &long, "RUNNING").await;
    until_state(centre, &short, "RUNNING").await;
    slurm.order("controller stop").await;
    tokio::time::sleep(outage()).await;
    centre.until("the server notices", async || centre.last_words().contains("Slurm does not answer")).await;
    centre.kill(Part::Server);
    centre.until("the server is back", async || centre.starts() == 2 && centre.serves().await).await;
    assert_eq!(
        (job(centre, &long).states, job(centre, &short).states),
        (vec!["RUNNING".to_owned()], vec!["RUNNING".to_owned()])
    );
    slurm.order("controller start").await;
    until_state(centre, &short, "SUCCESS").await;
    assert_eq!(job(centre, &long).state, "RUNNING");
    // Killed again and again while jobs begin and end.
    let mut ids = vec![short];
    for _ in 0..KILLS {
        let core_id = centre.control.add_job("alice#1234", None);
        let slurm_id = slurm.submit(centre, "alice", "", "exit 0").await;
        let body = report("alice#1234", &core_id, slurm_id);
        // An account repeats its report until it is answered.
        centre
            .until("the report is taken", async || call(centre, "alice", "/jobs/submitted", &body).await == "200")
            .await;
        ids.push(core_id);
        let starts = centre.starts();
        centre.kill(Part::Server);
        centre.until("the server is back", async || centre.starts() > starts && centre.serves().await).await;
    }
    slurm.shell_as(centre, "alice", &format!("scancel {at_slurm}")).await;
    ids.push(long);
    for id in &ids {
        until_state(centre, id, "SUCCESS").await;
    }
    for id in &ids {
        assert_told_once(&job(centre, id));
    }
}
