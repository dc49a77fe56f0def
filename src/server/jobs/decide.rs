//! Decides from Slurm's answers how one job stands. Pure: time and answers are arguments.
//!
//! A row or record counts only if it names the uid of the account that reported the job. Unknown is
//! not ended: an end needs a final state, or both queue and accounting that answer for
//! [`LOST_AFTER_S`] and know no state of the job.

use countersign_keys::time::Timestamp;
use countersign_slurm::{JobState, Limit, Outcome, Record, Row, Standing};

use super::table::Tracked;

/// How long neither queue nor accounting know a job before it is lost, in seconds. Accounting lags
/// by seconds, and by minutes while slurmdbd is restarted.
pub(crate) const LOST_AFTER_S: i64 = 300;

/// How long an end that slurmctld shows waits for the details of accounting, in seconds.
const DETAILS_WAIT_S: i64 = 20;

/// Warnings before the end of a job's time, in minutes before it. A job whose time was shorter than
/// twice that gets none.
const WARNINGS_MIN: [u32; 2] = [5, 15];

/// The first of them, in seconds before the end. A job that has more time again is warned again.
const FARTHEST_WARNING_S: i64 = 15 * 60;

/// How complete the answers of a round are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Answers {
    /// The queue was read, every line of it.
    pub(crate) is_queue_whole: bool,
    pub(crate) accounting: AccountingAnswer,
}

/// Whether accounting answered about a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AccountingAnswer {
    /// It was not its turn.
    NotAsked,
    /// No answer, or one with an unreadable line.
    None,
    /// The answer was read, every line of it.
    Whole,
}

/// What a change means for the record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing durable changed.
    Same,
    /// The record has to be written.
    Changed,
    /// The job is not this account's, or Core does not have it: it is forgotten.
    Forget,
    /// Core was told of its end at that time, which is kept.
    Told(Timestamp),
}

/// Takes the answers of a round into account.
pub(crate) fn take(
    tracked: &mut Tracked,
    row: Option<&Row>,
    records: &[&Record],
    answers: Answers,
    now: Timestamp,
) -> Verdict {
    let uid = tracked.job.uid.0;
    if tracked.job.end.is_some() {
        return Verdict::Same;
    }
    if let Some(row) = row {
        if row.uid == uid {
            return take_row(tracked, row, records, answers, now);
        }
        if !tracked.job.is_verified {
            return Verdict::Forget;
        }
        // Slurm gave the number to another job. The earlier one is in accounting.
    }
    take_records(tracked, records, answers, now)
}

fn take_row(tracked: &mut Tracked, row: &Row, records: &[&Record], answers: Answers, now: Timestamp) -> Verdict {
    let was_verified = std::mem::replace(&mut tracked.job.is_verified, true);
    tracked.missing_since = None;
    tracked.row = Some((row.clone(), now));
    if row.state.is_final() {
        let since = *tracked.ended_since.get_or_insert(now);
        let recorded = latest(tracked, records).and_then(Outcome::of_record);
        let may_come = answers.accounting != AccountingAnswer::None;
        let waits = recorded.is_none() && may_come && now.since(since) < DETAILS_WAIT_S;
        if let Some(end) = recorded.or_else(|| Outcome::of_row(row)).filter(|_| !waits) {
            return ended(tracked, &end);
        }
    } else {
        tracked.ended_since = None;
        tracked.accounting = (now, 0);
        if let Some(outcome) = Outcome::of_row(row) {
            tracked.seen = Some(outcome);
        }
    }
    // Core has the time with which the job was submitted.
    let is_first_limit = tracked.job.limit_told_min.is_none() && limit_min(tracked).is_some();
    if is_first_limit {
        tracked.job.limit_told_min = limit_min(tracked);
    }
    let is_far = row.end.is_none_or(|end| end.saturating_sub(now.seconds()) > FARTHEST_WARNING_S);
    let is_lengthened = is_far && tracked.job.warned_min.take().is_some();
    if was_verified && !is_lengthened && !is_first_limit { Verdict::Same } else { Verdict::Changed }
}

fn take_records(tracked: &mut Tracked, records: &[&Record], answers: Answers, now: Timestamp) -> Verdict {
    let uid = tracked.job.uid.0;
    let Some(record) = latest(tracked, records) else {
        // Accounting's first rows name uid 0.
        if !tracked.job.is_verified && records.iter().any(|record| record.uid != uid && record.uid != 0) {
            return Verdict::Forget;
        }
        if !is_missing_for_long(tracked, answers, now) {
            return Verdict::Same;
        }
        let words = "Slurm does not know the job any more, and has no record of its end.".to_owned();
        return ended(tracked, &Outcome { standing: Standing::Failed, words });
    };
    let was_verified = std::mem::replace(&mut tracked.job.is_verified, true);
    if let Some(end) = Outcome::of_record(record) {
        return ended(tracked, &end);
    }
    if let (JobState::Unknown(word), Some(_)) = (&record.state, record.end) {
        // The run may be followed by another, which the queue shows.
        if is_missing_for_long(tracked, answers, now) {
            let words = format!("The job has ended in a state that is not known here: {word}.");
            return ended(tracked, &Outcome { standing: Standing::Failed, words });
        }
    } else {
        // Accounting says that it waits or runs: it lags, or slurmctld was not whole.
        tracked.missing_since = None;
    }
    if was_verified { Verdict::Same } else { Verdict::Changed }
}

/// Whether queue and accounting have answered for [`LOST_AFTER_S`] without a word that the job
/// waits, runs or has ended. An answer that is not whole begins that time again.
fn is_missing_for_long(tracked: &mut Tracked, answers: Answers, now: Timestamp) -> bool {
    match answers {
        Answers { is_queue_whole: true, accounting: AccountingAnswer::Whole } => {
            let since = *tracked.missing_since.get_or_insert(now);
            now.since(since) >= LOST_AFTER_S
        }
        Answers { is_queue_whole: true, accounting: AccountingAnswer::NotAsked } => false,
        Answers { is_queue_whole: false, .. } | Answers { accounting: AccountingAnswer::None, .. } => {
            tracked.missing_since = None;
            false
        }
    }
}

/// The latest run of the job, among the records that name its uid.
fn latest<'r>(tracked: &Tracked, records: &[&'r Record]) -> Option<&'r Record> {
    let own = records.iter().filter(|record| record.uid == tracked.job.uid.0);
    own.max_by_key(|record| (record.submit, record.start)).copied()
}

fn ended(tracked: &mut Tracked, end: &Outcome) -> Verdict {
    tracked.job.end = Some((at_core(end.standing).to_owned(), end.words.clone()));
    Verdict::Changed
}

/// Core's word for a standing.
pub(crate) const fn at_core(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "IN_QUEUE",
        Standing::Running => "RUNNING",
        Standing::Suspended => "SUSPENDED",
        Standing::Succeeded => "SUCCESS",
        Standing::Failed => "FAILURE",
        Standing::Expired => "EXPIRED",
    }
}

/// A live job's state in Core's word, and the sentence. `SUSPENDED` is for a pause that the user
/// asked for.
pub(crate) fn live_state(tracked: &Tracked) -> Option<(&'static str, String)> {
    let Outcome { standing, words } = tracked.seen.clone()?;
    if standing == Standing::Suspended && !tracked.job.is_paused {
        return Some((at_core(Standing::Running), "Slurm has suspended the job, and will resume it.".to_owned()));
    }
    let words = match &tracked.forecast {
        Some(forecast) if standing == Standing::Waiting => format!("{words} {forecast}"),
        Some(_) | None => words,
    };
    Some((at_core(standing), words))
}

/// The time limit of the latest row, in whole minutes.
pub(crate) fn limit_min(tracked: &Tracked) -> Option<u32> {
    match tracked.row.as_ref()?.0.limit {
        Limit::Seconds(seconds) => u32::try_from(seconds / 60).ok(),
        Limit::Unlimited | Limit::Unset => None,
    }
}

/// The warning that is due, in minutes before the end.
pub(crate) fn warning(tracked: &Tracked, now: Timestamp) -> Option<u32> {
    let (row, _) = tracked.row.as_ref()?;
    let left_s = row.end?.checked_sub(now.seconds())?;
    if row.state != JobState::Running || left_s <= 0 {
        return None;
    }
    let limit_min = limit_min(tracked)?;
    let due = WARNINGS_MIN.into_iter().find(|minutes| left_s <= i64::from(*minutes) * 60)?;
    let is_long_enough = limit_min >= due.saturating_mul(2);
    (is_long_enough && tracked.job.warned_min.is_none_or(|warned| warned > due)).then_some(due)
}

#[cfg(test)]
mod tests;
