//! The usage of jobs as accounting recorded it: every run of a job and of its array's tasks.
//!
//! Asks for no column that users control. Times are seconds of Unix time, and the window is a
//! number of seconds back from now, so neither a time zone nor midnight changes an answer.

use std::time::Duration;

use crate::columns::{Listing, number, time};
use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::state::JobState;

/// Longest time for an answer: slurmdbd may have to read weeks of records.
const WITHIN: Duration = Duration::from_secs(120);

/// Every column, none of which users control. The last is the only one that may have a separator.
const COLUMNS: &str = "JobIDRaw,JobID,UID,State,Submit,Start,End,ElapsedRaw,Partition,QOS,Account,AllocTRES";

/// How many.
const COUNT: usize = 12;

/// The entry of `AllocTRES` for GPUs of every type, and the beginning of those for one type.
const GPUS: &str = "gres/gpu";
const GPUS_OF_TYPE: &str = "gres/gpu:";

/// One run of a job. A job that was put back into the queue has several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// The number of the job; each task of an array has one of its own.
    pub id: SlurmJobId,
    /// The number of the array or heterogeneous job of which it is a part, or its own.
    pub whole: SlurmJobId,
    /// 0 also while accounting does not know it.
    pub uid: u32,
    pub state: JobState,
    /// Unix time, like the following ones.
    pub submit: Option<i64>,
    pub start: Option<i64>,
    pub end: Option<i64>,
    /// How long it ran, or has run until now, without the time in which it was suspended.
    pub elapsed_s: u64,
    pub partition: String,
    pub qos: String,
    pub account: String,
    pub allocated: Allocated,
}

/// What a run has; all 0 if it has not started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allocated {
    pub cpus: u64,
    pub gpus: u64,
    pub nodes: u64,
}

impl Commands {
    /// The runs of these jobs, and of the arrays of which they are tasks or numbers, that were in
    /// the queue or ran since `since_s` seconds ago. At most [`IDS_MAX`](crate::IDS_MAX) jobs are
    /// looked up.
    ///
    /// # Errors
    /// Accounting gave no answer, which says nothing about any job.
    pub async fn runs(&self, ids: &[SlurmJobId], since_s: u64) -> Result<Listing<Run>, SlurmFailure> {
        Ok(runs(&self.ask_sacct(ids, since_s, COLUMNS, WITHIN).await?))
    }
}

pub(crate) fn runs(text: &[u8]) -> Listing<Run> {
    Listing::read(text, run)
}

fn run(fields: [&str; COUNT]) -> Option<Run> {
    let [id, name, uid, state, submit, start, end, elapsed, partition, qos, account, tres] = fields;
    Some(Run {
        id: SlurmJobId::parse(id).ok()?,
        whole: whole(name)?,
        uid: number(uid)?,
        state: JobState::parse(state)?,
        submit: time(submit)?,
        start: time(start)?,
        end: time(end)?,
        elapsed_s: number(elapsed)?,
        partition: partition.to_owned(),
        qos: qos.to_owned(),
        account: account.to_owned(),
        allocated: allocated(tres)?,
    })
}

/// The number before the mark of a task (`62_7`, `62_[3-9%2]`) or of a component (`62+1`).
fn whole(name: &str) -> Option<SlurmJobId> {
    let (number, _) = name.split_once(['_', '+']).unwrap_or((name, ""));
    SlurmJobId::parse(number).ok()
}

/// Reads a list such as `billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=100M,node=1`.
fn allocated(tres: &str) -> Option<Allocated> {
    let mut allocated = Allocated::default();
    // A separator in an earlier column has moved the others.
    if tres.contains('|') {
        return None;
    }
    let mut of_types: u64 = 0;
    for entry in tres.split(',').filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=')?;
        match name {
            "cpu" => allocated.cpus = number(value)?,
            "node" => allocated.nodes = number(value)?,
            GPUS => allocated.gpus = number(value)?,
            name if name.starts_with(GPUS_OF_TYPE) => of_types = of_types.checked_add(number(value)?)?,
            _ => {}
        }
    }
    // Slurm counts GPUs of every type only where the site lists `gres/gpu` too.
    allocated.gpus = allocated.gpus.max(of_types);
    Some(allocated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<Run> {
        runs(line.as_bytes()).rows.into_iter().next()
    }

    #[test]
    fn runs_tasks_and_what_they_had_are_read() {
        let read = one(
            "64|62_7|1001|COMPLETED|1795944092|1795944092|1795944095|3|normal|day|centre|billing=4,cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=1.50G,node=2",
        )
        .unwrap();
        assert_eq!((read.id.get(), read.whole.get(), read.uid, read.elapsed_s), (64, 62, 1001, 3));
        assert_eq!(read.allocated, Allocated { cpus: 4, gpus: 2, nodes: 2 });
        assert_eq!((read.partition.as_str(), read.qos.as_str(), read.account.as_str()), ("normal", "day", "centre"));
        let waits = one("62|62_[3-9%2]|1001|PENDING|1795944092|Unknown|Unknown|0|normal|day|centre|").unwrap();
        assert_eq!((waits.whole.get(), waits.start, waits.allocated), (62, None, Allocated::default()));
        let component =
            one("63|62+1|0|RUNNING|1795944092|1795944092|Unknown|3||||cpu=1,gres/gpu:a=1,gres/gpu:b=2").unwrap();
        assert_eq!((component.whole.get(), component.allocated.gpus), (62, 3));
    }

    #[test]
    fn what_is_no_run_is_not_read() {
        for bad in [
            "62.batch|62.batch|1001|COMPLETED|1|1|1|3|normal|day|centre|cpu=1",
            "62|62.0|1001|COMPLETED|1|1|1|3|normal|day|centre|cpu=1",
            "62||1001|COMPLETED|1|1|1|3|normal|day|centre|cpu=1",
            "62|62|1001|COMPLETED|1|1|1|-3|normal|day|centre|cpu=1",
            "62|62|1001|COMPLETED|1|1|1|3|normal|day|centre|cpu=1.5",
            "62|62|1001|COMPLETED|1|1|1|3|normal|day|centre|cpu",
            "62|62|1001|COMPLETED|1|1|1|3|normal|day|a|b|cpu=1",
            "62|62|1001|COMPLETED|1|1|1|3|normal|day|cpu=1",
            "62|62|1001|COMPLETED|1|1|1|3|normal|day|centre|gres/gpu:a=18446744073709551615,gres/gpu:b=1",
            "62|62|1001|COMPLETED|2026-10-25T02:30:00|1|1|3|normal|day|centre|cpu=1",
        ] {
            assert!(one(bad).is_none(), "{bad}");
        }
    }
}
