//! Every state becomes one standing and one sentence.

use super::*;
use crate::sacct::records;
use crate::squeue::rows;

const ME: u32 = 1001;

fn row(state: &str, exit: &str, restarts: u32, reason: &str) -> Option<Outcome> {
    let line = format!("62|{ME}|{state}|{exit}|{restarts}|1|1795944150|1795944450|0:02|5:00|7|normal|n2|{reason}");
    Outcome::of_row(rows(line.as_bytes()).rows.first().unwrap())
}

fn record(state: &str, exit: &str, derived: &str) -> Option<Outcome> {
    let tres = "billing=1,cpu=1,mem=100M,node=1";
    let line = format!("62|{state}|{exit}|{derived}|{ME}|1795944092|1795944092|1795944177|85|{tres}|n1");
    Outcome::of_record(records(line.as_bytes()).rows.first().unwrap())
}

#[test]
fn every_state_of_a_live_job_has_its_word() {
    let check = |state: &str, reason: &str, standing: Standing, words: &str| {
        let want = Outcome { standing, words: words.to_owned() };
        assert_eq!(row(state, "0", 0, reason), Some(want), "{state} {reason}");
    };
    let waiting = Standing::Waiting;
    check("PENDING", "None", waiting, "The job is in the queue.");
    check("PENDING", "Priority", waiting, "The job is in the queue: other jobs come first.");
    check("PENDING", "Resources", waiting, "The job is in the queue: it is next, when enough nodes are free.");
    check("PENDING", "JobHeldUser", waiting, "The job is held by its owner.");
    check("PENDING", "Dependency", waiting, "The job waits for another job.");
    check("PENDING", "BeginTime", waiting, "The job waits for its begin time.");
    let limit = "The job waits: a limit of its account at Slurm is reached (AssocMaxJobsLimit).";
    check("PENDING", "AssocMaxJobsLimit", waiting, limit);
    for reason in ["QOSMaxGRESPerUser", "MaxGRESPerAccount", "MaxCpuRunMinsPerUser"] {
        let limit = format!("The job waits: a limit of its account at Slurm is reached ({reason}).");
        check("PENDING", reason, waiting, &limit);
    }
    let never = "The job's account at Slurm may not use its machines, so it does not start. End it.";
    check("PENDING", "QOSNotAllowed", waiting, never);
    check("PENDING", "Nonsense", waiting, "The job is in the queue (Nonsense).");
    for never in ["DependencyNeverSatisfied", "PartitionTimeLimit", "PartitionNodeLimit", "PartitionConfig"] {
        let said = row("PENDING", "0", 0, never).unwrap().words;
        assert!(said.contains("never starts. End it"), "{said}");
    }
    check("CONFIGURING", "None", waiting, "The job is in the queue.");
    check("REQUEUE_HOLD", "JobHeldUser", waiting, "The job is held by its owner.");
    check("RUNNING", "None", Standing::Running, "The job is running on n2.");
    check("COMPLETING", "None", Standing::Running, "The job is running on n2.");
    check("SUSPENDED", "None", Standing::Suspended, "The job is suspended.");
    assert_eq!(row("TELEPORTED", "0", 0, "None"), None, "an unknown state changes nothing");
    let again = row("PENDING", "0", 1, "BeginTime").unwrap().words;
    assert!(again.starts_with("Slurm has put the job back into the queue"), "{again}");
}

#[test]
fn every_end_has_its_word_and_its_reason() {
    let check = |state: &str, exit: &str, derived: &str, standing: Standing, words: &str| {
        let want = Outcome { standing, words: words.to_owned() };
        assert_eq!(record(state, exit, derived), Some(want), "{state} {exit}");
    };
    let (succeeded, failed, expired) = (Standing::Succeeded, Standing::Failed, Standing::Expired);
    check("COMPLETED", "0:0", "0:0", succeeded, "The job has completed.");
    let step = "The job has completed; a step of it failed (exit code 7).";
    check("COMPLETED", "0:0", "7:0", succeeded, step);
    check("FAILED", "3:0", "0:0", failed, "The job has failed: exit code 3.");
    check("FAILED", "0:11", "0:0", failed, "The job has failed: a segmentation fault (signal 11).");
    check("FAILED", "0:6", "0:0", failed, "The job has failed: ended by signal 6.");
    let killed = "The job has failed: killed (signal 9), possibly because it used too much memory.";
    check("FAILED", "0:9", "0:0", failed, killed);
    let memory = "The job was ended: it used more memory than it had (100M).";
    check("OUT_OF_MEMORY", "0:125", "0:0", failed, memory);
    check("TIMEOUT", "0:0", "0:0", expired, "The job was ended after 1 min: its time was up.");
    check("DEADLINE", "1:0", "0:0", expired, "The job was ended: it could not be finished before its deadline.");
    check("CANCELLED by 1001", "0:15", "0:0", succeeded, "The job was cancelled by you.");
    let staff = "The job was cancelled by the staff of the computing centre.";
    check("CANCELLED by 0", "0:15", "0:0", succeeded, staff);
    check("CANCELLED", "0:15", "0:0", succeeded, "The job was cancelled.");
    check("NODE_FAIL", "0:0", "0:0", failed, "The job was ended: a node of it failed.");
    let preempted = "The job was ended: a job with a higher priority needed its nodes.";
    check("PREEMPTED", "0:0", "0:0", failed, preempted);
    check("BOOT_FAIL", "0:0", "0:0", failed, "The job was ended: a node of it did not start.");
    for live in ["RUNNING", "PENDING", "REQUEUED", "RESIZING", "TELEPORTED"] {
        assert_eq!(record(live, "0:0", "0:0"), None, "{live} is no end");
    }
}

#[test]
fn slurmctld_says_an_end_with_its_exit_code_too() {
    let said = row("FAILED", "768", 0, "NonZeroExitCode").unwrap();
    assert_eq!((said.standing, said.words.as_str()), (Standing::Failed, "The job has failed: exit code 3."));
    assert_eq!(row("COMPLETED", "0", 0, "None").unwrap().standing, Standing::Succeeded);
    assert_eq!(row("TIMEOUT", "0", 0, "TimeLimit").unwrap().words, "The job was ended: its time was up.");
}

#[test]
fn times_are_told_in_hours_and_minutes() {
    for (seconds, want) in
        [(1, "1 min"), (60, "1 min"), (91, "1 min"), (3_600, "1 h"), (3_629, "1 h"), (5_400, "1 h 30 min")]
    {
        assert_eq!(span(seconds), want);
    }
}
