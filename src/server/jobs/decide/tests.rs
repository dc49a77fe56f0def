//! Each answer of Slurm means one thing for a job, and another account's row means nothing.

use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_keys::store::jobs::Job;
use countersign_slurm::{ExitCode, SlurmJobId};

use super::*;

const ME: u32 = 1100;
const NOW: i64 = 1_800_000_000;
const WHOLE: Answers = Answers { is_queue_whole: true, accounting: AccountingAnswer::Whole };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds)
}

fn tracked() -> Tracked {
    let (core_id, username) = (CoreJobId::parse("54112").unwrap(), Username::parse("alice#1").unwrap());
    Tracked::new(Job::new(core_id, Uid(ME), username, 62, at(0), at(0)))
}

fn row(uid: u32, state: &str) -> Row {
    Row {
        id: SlurmJobId::parse("62").unwrap(),
        uid,
        state: JobState::parse(state).unwrap(),
        exit: ExitCode::default(),
        restarts: 0,
        node_count: 1,
        start: Some(NOW),
        end: Some(NOW + 3_600),
        used_s: Some(1),
        limit: Limit::Seconds(3_600),
        priority: 7,
        partition: "normal".to_owned(),
        nodes: "n1".to_owned(),
        reason: None,
    }
}

fn record(uid: u32, state: &str, submit: i64) -> Record {
    Record {
        id: SlurmJobId::parse("62").unwrap(),
        state: JobState::parse(state).unwrap(),
        exit: ExitCode::default(),
        derived: None,
        uid,
        submit: Some(NOW + submit),
        start: Some(NOW + submit),
        end: Some(NOW + submit + 5),
        elapsed_s: 5,
        memory: None,
        nodes: "n1".to_owned(),
    }
}

fn end_of(tracked: &Tracked) -> Option<&str> {
    tracked.job.end.as_ref().map(|(state, _)| state.as_str())
}

#[test]
fn a_row_of_the_accounts_uid_verifies_a_report_and_another_rejects_it() {
    let mut own = tracked();
    assert_eq!(take(&mut own, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1)), Verdict::Changed);
    assert!(own.job.is_verified);
    assert_eq!(live_state(&own).unwrap().0, "RUNNING");
    assert_eq!(take(&mut own, Some(&row(ME, "RUNNING")), &[], WHOLE, at(2)), Verdict::Same);
    let mut theirs = tracked();
    assert_eq!(take(&mut theirs, Some(&row(ME + 1, "RUNNING")), &[], WHOLE, at(1)), Verdict::Forget);
    assert!(!theirs.job.is_verified && theirs.seen.is_none());
    let mut theirs = tracked();
    assert_eq!(take(&mut theirs, None, &[&record(ME + 1, "COMPLETED", 0)], WHOLE, at(1)), Verdict::Forget);
    // Accounting names uid 0 while it lags.
    let mut lagging = tracked();
    assert_eq!(take(&mut lagging, None, &[&record(0, "FAILED", 0)], WHOLE, at(1)), Verdict::Same);
    assert!(!lagging.job.is_verified);
}

#[test]
fn another_accounts_end_never_ends_a_job() {
    let mut job = tracked();
    take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
    take(
        &mut job,
        Some(&row(ME + 1, "FAILED")),
        &[&record(ME + 1, "FAILED", 0), &record(0, "FAILED", 0)],
        WHOLE,
        at(2),
    );
    assert_eq!((end_of(&job), live_state(&job).unwrap().0), (None, "RUNNING"));
}

#[test]
fn unknown_is_not_ended() {
    let silent = [
        Answers { is_queue_whole: true, accounting: AccountingAnswer::None },
        Answers { is_queue_whole: false, accounting: AccountingAnswer::Whole },
        Answers { is_queue_whole: false, accounting: AccountingAnswer::None },
    ];
    for answers in silent {
        let mut job = tracked();
        take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
        for hours in 0..100 {
            assert_eq!(take(&mut job, None, &[], answers, at(hours * 3_600)), Verdict::Same);
        }
        assert_eq!((end_of(&job), live_state(&job).unwrap().0), (None, "RUNNING"), "{answers:?}");
    }
    // A state that this program does not know keeps the one before.
    let mut job = tracked();
    take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
    take(&mut job, Some(&row(ME, "TELEPORTED")), &[], WHOLE, at(2));
    assert_eq!(live_state(&job).unwrap().0, "RUNNING");
    // Accounting that says it runs is no end either.
    take(&mut job, None, &[&record(ME, "RUNNING", 0)], WHOLE, at(90_000));
    assert_eq!(end_of(&job), None);
}

#[test]
fn a_job_is_lost_only_after_minutes_in_which_both_answer() {
    let mut job = tracked();
    take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
    assert_eq!(take(&mut job, None, &[], WHOLE, at(10)), Verdict::Same);
    assert_eq!(take(&mut job, None, &[], WHOLE, at(10 + LOST_AFTER_S - 1)), Verdict::Same);
    // A round in which accounting was not asked is no silence.
    let not_asked = Answers { accounting: AccountingAnswer::NotAsked, ..WHOLE };
    assert_eq!(take(&mut job, None, &[], not_asked, at(1_000)), Verdict::Same);
    assert_eq!(job.missing_since, Some(at(10)));
    // One silence starts the time again.
    let silent = Answers { accounting: AccountingAnswer::None, ..WHOLE };
    take(&mut job, None, &[], silent, at(10 + LOST_AFTER_S));
    assert_eq!(take(&mut job, None, &[], WHOLE, at(400)), Verdict::Same);
    assert_eq!(take(&mut job, None, &[], WHOLE, at(400 + LOST_AFTER_S)), Verdict::Changed);
    assert_eq!(end_of(&job), Some("FAILURE"));
}

#[test]
fn an_end_waits_for_accounting_but_not_for_ever() {
    let details = || {
        let mut job = tracked();
        take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
        take(&mut job, Some(&row(ME, "CANCELLED")), &[], WHOLE, at(2));
        assert_eq!(end_of(&job), None);
        job
    };
    let mut job = details();
    take(&mut job, Some(&row(ME, "CANCELLED")), &[&record(ME, "CANCELLED by 0", 0)], WHOLE, at(4));
    let staff = "The job was cancelled by the staff of the computing centre.";
    assert_eq!(job.job.end, Some(("SUCCESS".to_owned(), staff.to_owned())));
    let mut job = details();
    take(&mut job, Some(&row(ME, "CANCELLED")), &[], WHOLE, at(30));
    assert_eq!(job.job.end, Some(("SUCCESS".to_owned(), "The job was cancelled.".to_owned())));
    // Without accounting slurmctld's word is all there is.
    let mut job = details();
    let silent = Answers { accounting: AccountingAnswer::None, ..WHOLE };
    take(&mut job, Some(&row(ME, "CANCELLED")), &[], silent, at(3));
    assert_eq!(end_of(&job), Some("SUCCESS"));
}

#[test]
fn of_several_runs_the_last_counts() {
    let mut job = tracked();
    let first = record(ME, "NODE_FAIL", 0);
    let mut second = record(ME, "PENDING", 30);
    (second.start, second.end) = (None, None);
    assert_eq!(take(&mut job, None, &[&first, &second], WHOLE, at(60)), Verdict::Changed);
    assert_eq!(end_of(&job), None, "it waits for its second run");
    let second = record(ME, "COMPLETED", 30);
    take(&mut job, None, &[&second, &first], WHOLE, at(90));
    assert_eq!(end_of(&job), Some("SUCCESS"));
    // Never back.
    assert_eq!(take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(91)), Verdict::Same);
    assert_eq!(end_of(&job), Some("SUCCESS"));
}

#[test]
fn a_finished_run_in_an_unknown_state_has_failed_only_if_the_queue_has_forgotten_it() {
    let mut job = tracked();
    let finished = record(ME, "TELEPORTED", 0);
    assert_eq!(take(&mut job, None, &[&finished], WHOLE, at(60)), Verdict::Changed);
    assert_eq!((end_of(&job), job.job.is_verified), (None, true));
    // The next run is in the queue.
    take(&mut job, Some(&row(ME, "PENDING")), &[&finished], WHOLE, at(70));
    take(&mut job, None, &[&finished], WHOLE, at(80));
    take(&mut job, None, &[&finished], Answers { is_queue_whole: false, ..WHOLE }, at(80 + LOST_AFTER_S));
    take(&mut job, None, &[&finished], WHOLE, at(81 + LOST_AFTER_S));
    assert_eq!(end_of(&job), None);
    take(&mut job, None, &[&finished], WHOLE, at(81 + 2 * LOST_AFTER_S));
    let words = "The job has ended in a state that is not known here: TELEPORTED.";
    assert_eq!(job.job.end, Some(("FAILURE".to_owned(), words.to_owned())));
}

#[test]
fn a_pause_is_told_only_if_the_user_asked_for_it() {
    let mut job = tracked();
    take(&mut job, Some(&row(ME, "SUSPENDED")), &[], WHOLE, at(1));
    assert_eq!(live_state(&job).unwrap().0, "RUNNING");
    job.job.is_paused = true;
    assert_eq!(live_state(&job).unwrap().0, "SUSPENDED");
}

#[test]
fn a_user_is_warned_15_and_5_minutes_before_the_end() {
    let mut job = tracked();
    take(&mut job, Some(&row(ME, "RUNNING")), &[], WHOLE, at(1));
    let warned = |job: &Tracked, left_s: i64| warning(job, at(3_600 - left_s));
    assert_eq!(warned(&job, 901), None);
    assert_eq!(warned(&job, 900), Some(15));
    job.job.warned_min = Some(15);
    assert_eq!((warned(&job, 400), warned(&job, 300)), (None, Some(5)));
    job.job.warned_min = Some(5);
    assert_eq!((warned(&job, 200), warned(&job, 0), warned(&job, -60)), (None, None, None));
    // More time: warned again.
    let longer = Row { end: Some(NOW + 7_200), limit: Limit::Seconds(7_200), ..row(ME, "RUNNING") };
    assert_eq!(take(&mut job, Some(&longer), &[], WHOLE, at(3_500)), Verdict::Changed);
    assert_eq!(warning(&job, at(7_200 - 900)), Some(15));
    // A job of ten minutes is not warned at its start.
    let mut short = tracked();
    let ten = Row { end: Some(NOW + 600), limit: Limit::Seconds(600), ..row(ME, "RUNNING") };
    take(&mut short, Some(&ten), &[], WHOLE, at(1));
    assert_eq!((warning(&short, at(1)), warning(&short, at(301))), (None, Some(5)));
    // A waiting job's end is an estimate.
    let mut waiting = tracked();
    take(&mut waiting, Some(&row(ME, "PENDING")), &[], WHOLE, at(1));
    assert_eq!(warning(&waiting, at(3_000)), None);
}
