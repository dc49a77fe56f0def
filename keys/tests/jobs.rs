//! Jobs are on record until Core was told of their end, each account's apart from another's.

use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_keys::store::jobs::{ENDED_MAX, EndedJob, JOBS_EACH_MAX, Job, JobRejection};
use countersign_keys::store::registry::{NotChanged, Registry};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::time::Timestamp;

fn job(core_id: &str, uid: u32, slurm_id: u32) -> Job {
    let at = |seconds: i64| Timestamp::from_seconds(1_800_000_000 + seconds);
    let (core_id, username) = (CoreJobId::parse(core_id).unwrap(), Username::parse("alice#1").unwrap());
    Job {
        output_folder: Some("/7/ucloud-jobs/54112".to_owned()),
        ..Job::new(core_id, Uid(uid), username, slurm_id, at(0), at(1))
    }
}

fn refused(outcome: Result<(), NotChanged<JobRejection>>) -> Option<JobRejection> {
    match outcome {
        Ok(()) => None,
        Err(NotChanged::Rejected(rejection)) => Some(rejection),
        Err(NotChanged::Failed(failure)) => panic!("{failure}"),
    }
}

#[test]
fn a_job_is_on_record_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Registry::new(SledStore::open(directory.path()).unwrap());
    let registry = open();
    assert_eq!(registry.jobs().unwrap(), []);
    registry.add_job(&job("7", 1100, 62), &[]).unwrap();
    let told = Job { told: Some("RUNNING".to_owned()), updates: 2, ..job("7", 1100, 62) };
    registry.note_job(&told).unwrap();
    // A repeated report changes nothing, and another number for it is refused.
    assert_eq!(refused(registry.add_job(&job("7", 1100, 62), &[])), None);
    assert_eq!(refused(registry.add_job(&job("7", 1100, 63), &[])), Some(JobRejection::Exists));
    assert_eq!(registry.jobs().unwrap(), std::slice::from_ref(&told));
    // Another account that reports the id has a record of its own.
    registry.add_job(&job("7", 1101, 99), &[]).unwrap();
    registry.forget_job(&CoreJobId::parse("7").unwrap(), Uid(1101)).unwrap();
    drop(registry);
    assert_eq!(open().jobs().unwrap(), [told]);
    open().forget_job(&CoreJobId::parse("7").unwrap(), Uid(1100)).unwrap();
    assert_eq!(open().jobs().unwrap(), []);
}

#[test]
fn an_account_has_its_share_of_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    let full: Vec<Job> = (1..=JOBS_EACH_MAX).map(|id| job(&id.to_string(), 1100, 1)).collect();
    assert_eq!(refused(registry.add_job(&job("9999", 1100, 62), &full)), Some(JobRejection::TooMany));
    assert_eq!(refused(registry.add_job(&job("9999", 1101, 62), &full)), None);
}

#[test]
fn an_end_that_core_was_told_is_kept_for_its_time_and_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    let at = Timestamp::from_seconds;
    let end = |core_id: &str, words: &str, told: i64| {
        let job = Job { end: Some(("FAILURE".to_owned(), words.to_owned())), ..job(core_id, 1100, 62) };
        registry.add_job(&job, &[]).unwrap();
        registry.end_job(&job, at(told)).unwrap();
    };
    let kept = |since: i64| -> Vec<String> {
        let ended: Vec<EndedJob> = registry.keep_ended_jobs(at(since)).unwrap();
        ended.into_iter().map(|ended| format!("{} {} {}", ended.core_id, ended.username, ended.words)).collect()
    };
    end("7", "a", 100);
    end("8", "b", 200);
    assert_eq!(registry.jobs().unwrap(), []);
    assert_eq!(kept(0), ["7 alice#1 a", "8 alice#1 b"]);
    // The next job of a place takes it, so that there are never more than places.
    end(&(ENDED_MAX + 7).to_string(), "c", 300);
    assert_eq!(kept(100), [format!("{} alice#1 c", ENDED_MAX + 7), "8 alice#1 b".to_owned()]);
    assert_eq!(kept(201).len(), 1);
    assert_eq!(kept(0).len(), 1, "the earlier one is removed");
    // A job without an end leaves nothing.
    registry.end_job(&job("9", 1100, 64), at(400)).unwrap();
    assert_eq!(kept(0).len(), 1);
}
