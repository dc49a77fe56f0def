//! The records of accounting, for jobs that have left the queue.
//!
//! Accounting lags behind slurmctld, and its first rows of a job name uid 0. A row counts for a job
//! only if it names the job's uid.

use std::time::Duration;

use crate::columns::{Listing, nodes, number, time};
use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;
use crate::state::JobState;

/// Longest time for an answer: slurmdbd may have to read weeks of records.
const WITHIN: Duration = Duration::from_secs(60);

/// Most jobs for each call, so that the arguments stay below the kernel's limit.
pub const IDS_MAX: usize = 500;

/// Every column, none of which users control.
const COLUMNS: &str = "JobIDRaw,State,ExitCode,DerivedExitCode,UID,Submit,Start,End,ElapsedRaw,AllocTRES,NodeList";

/// How many.
const COUNT: usize = 11;

/// One run of a job. A job that was started again has several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub id: SlurmJobId,
    pub state: JobState,
    pub exit: ExitCode,
    /// The highest exit code of its steps.
    pub derived: Option<ExitCode>,
    /// 0 also while accounting does not know it.
    pub uid: u32,
    /// Unix time, like the following ones.
    pub submit: Option<i64>,
    pub start: Option<i64>,
    pub end: Option<i64>,
    pub elapsed_s: u64,
    /// The memory that it had, as Slurm writes it (`100M`).
    pub memory: Option<String>,
    pub nodes: String,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExitCode {
    pub code: u32,
    /// The signal that ended it; 0 for none. 125 with the memory limit of a control group.
    pub signal: u32,
}

impl ExitCode {
    /// Reads `code:signal`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (code, signal) = text.split_once(':')?;
        Some(Self { code: number(code)?, signal: number(signal)? })
    }

    /// Reads a status as of wait(2), or `code:signal`, which squeue prints since 23.11. Empty for a
    /// job that has none.
    pub(crate) fn of_wait_status(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let Some(status) = number::<u32>(text) else { return Self::parse(text) };
        Some(Self { code: (status >> 8) & 0xff, signal: status & 0x7f })
    }
}

impl Commands {
    /// The records of these jobs that were submitted or ran since `since_s` seconds ago. At most
    /// [`IDS_MAX`] jobs are looked up.
    ///
    /// # Errors
    /// Accounting gave no answer, which says nothing about any job.
    pub async fn sacct(&self, ids: &[SlurmJobId], since_s: u64) -> Result<Listing<Record>, SlurmFailure> {
        Ok(records(&self.ask_sacct(ids, since_s, COLUMNS, WITHIN).await?))
    }

    /// What sacct prints of these jobs, a line for each run: at most [`IDS_MAX`] jobs, and nothing
    /// for none.
    pub(crate) async fn ask_sacct(
        &self,
        ids: &[SlurmJobId],
        since_s: u64,
        columns: &str,
        within: Duration,
    ) -> Result<Vec<u8>, SlurmFailure> {
        let ids: Vec<String> = ids.iter().take(IDS_MAX).map(ToString::to_string).collect();
        // `sacct -j ''` lists every job.
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (jobs, since) = (ids.join(","), format!("now-{since_s}"));
        let arguments = [
            "--allusers",
            "--allocations",
            "--noheader",
            "--parsable2",
            // Every run of a job that was put back into the queue.
            "--duplicates",
            "--starttime",
            &since,
            "--jobs",
            &jobs,
            "--format",
            columns,
        ];
        Ok(self.run(Program::Sacct, &arguments, b"", within).await?.stdout)
    }
}

pub(crate) fn records(text: &[u8]) -> Listing<Record> {
    Listing::read(text, record)
}

fn record(fields: [&str; COUNT]) -> Option<Record> {
    let [id, state, exit, derived, uid, submit, start, end, elapsed, tres, node_list] = fields;
    Some(Record {
        id: SlurmJobId::parse(id).ok()?,
        state: JobState::parse(state)?,
        exit: if exit.is_empty() { ExitCode::default() } else { ExitCode::parse(exit)? },
        derived: if derived.is_empty() { None } else { Some(ExitCode::parse(derived)?) },
        uid: number(uid)?,
        submit: time(submit)?,
        start: time(start)?,
        end: time(end)?,
        elapsed_s: number(elapsed)?,
        memory: memory(tres),
        nodes: nodes(node_list)?,
    })
}

/// The memory in a list such as `billing=1,cpu=1,mem=100M,node=1`.
fn memory(tres: &str) -> Option<String> {
    let memory = tres.split(',').find_map(|entry| entry.strip_prefix("mem="))?;
    let is_size = !memory.is_empty()
        && memory.len() <= 20
        && memory.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'K' | b'M' | b'G' | b'T' | b'P'));
    is_size.then(|| memory.to_owned())
}

#[cfg(test)]
mod tests;
