//! The state of every job, as slurmctld sees it.

use std::time::Duration;

use crate::columns::{Listing, nodes, number, time};
use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;
use crate::sacct::ExitCode;
use crate::state::JobState;

/// Longest time for the list: a busy slurmctld takes seconds for 100,000 jobs.
const WITHIN: Duration = Duration::from_secs(30);

/// Every column, none of which users control. The size 0 is that of the content. The reason stands
/// last, because slurmctld may put a sentence there.
pub(crate) const COLUMNS: &str = "JobID:0|,UserID:0|,State:0|,exit_code:0|,RestartCnt:0|,NumNodes:0|,StartTime:0|,EndTime:0|,\
                       TimeUsed:0|,TimeLimit:0|,PriorityLong:0|,Partition:0|,NodeList:0|,Reason:0";

/// How many.
const COUNT: usize = 14;

/// Longest reason that is kept, in bytes.
const REASON_MAX: usize = 256;

/// A job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    pub id: SlurmJobId,
    pub uid: u32,
    pub state: JobState,
    pub exit: ExitCode,
    /// How often Slurm has started it again.
    pub restarts: u32,
    pub node_count: u32,
    /// Unix time; for a waiting job Slurm's estimate, if it has one.
    pub start: Option<i64>,
    /// Unix time; for a running job the end of its time.
    pub end: Option<i64>,
    /// How long it has run, in seconds.
    pub used_s: Option<u64>,
    pub limit: Limit,
    pub priority: u32,
    /// The partition, or those that would do, separated by commas.
    pub partition: String,
    /// Abbreviated (`n[1-2]`); empty while it waits.
    pub nodes: String,
    /// Why it waits or has ended, in Slurm's word; `None` for no reason. Cut at a limit.
    pub reason: Option<String>,
}

impl Row {
    /// Whether the job waits for its turn, and for nothing else.
    #[must_use]
    pub fn waits_for_its_turn(&self) -> bool {
        self.state == JobState::Pending && matches!(self.reason.as_deref(), Some("Priority" | "Resources"))
    }

    /// The partition, or those that would do.
    pub fn partitions(&self) -> impl Iterator<Item = &str> {
        self.partition.split(',')
    }
}

/// The time limit of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// In seconds.
    Seconds(u64),
    Unlimited,
    /// Not set, or not valid.
    Unset,
}

impl Commands {
    /// Every job that slurmctld knows: those that wait and run, and those that ended within
    /// `MinJobAge`.
    ///
    /// # Errors
    /// Slurm gave no answer, which says nothing about any job.
    pub async fn squeue(&self) -> Result<Listing<Row>, SlurmFailure> {
        let arguments = ["--noheader", "--all", "--states=all", "--Format", COLUMNS];
        Ok(rows(&self.run(Program::Squeue, &arguments, b"", WITHIN).await?.stdout))
    }
}

/// Reads the list. Two lines for one job contradict each other, so neither counts.
pub(crate) fn rows(text: &[u8]) -> Listing<Row> {
    let mut listing = Listing::read(text, row);
    listing.rows.sort_by_key(|row| row.id);
    let is_repeated: Vec<SlurmJobId> = listing
        .rows
        .windows(2)
        .filter_map(|pair| match pair {
            [one, other] if one.id == other.id => Some(one.id),
            _ => None,
        })
        .collect();
    if !is_repeated.is_empty() {
        for id in &is_repeated {
            listing.note_unreadable(format!("more than one line for {id}").as_bytes());
        }
        listing.rows.retain(|row| !is_repeated.contains(&row.id));
    }
    listing
}

fn row(fields: [&str; COUNT]) -> Option<Row> {
    let [id, uid, state, exit, restarts, node_count, start, end, used, limit, priority, partition, node_list, reason] =
        fields;
    Some(Row {
        id: SlurmJobId::parse(id).ok()?,
        uid: number(uid)?,
        state: JobState::parse(state)?,
        exit: ExitCode::of_wait_status(exit)?,
        restarts: number(restarts)?,
        node_count: number(node_count)?,
        start: time(start)?,
        end: time(end)?,
        used_s: duration(used),
        limit: match limit {
            "UNLIMITED" => Limit::Unlimited,
            "" | "NOT_SET" | "INVALID" | "Partition_Limit" | "N/A" => Limit::Unset,
            limit => Limit::Seconds(duration(limit)?),
        },
        priority: number(priority)?,
        partition: nodes(partition)?,
        nodes: nodes(node_list)?,
        reason: match reason {
            "" | "None" | "(null)" => None,
            reason => Some(cut(reason)),
        },
    })
}

fn cut(text: &str) -> String {
    let end = (0..=REASON_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// `[days-]hours:minutes:seconds`, or `minutes:seconds`, in seconds.
fn duration(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (number::<u64>(days)?, rest),
        None => (0, text),
    };
    let parts = rest.split(':').map(number::<u64>).collect::<Option<Vec<u64>>>()?;
    let (hours, minutes, seconds) = match *parts.as_slice() {
        [hours, minutes, seconds] => (hours, minutes, seconds),
        [minutes, seconds] => (0, minutes, seconds),
        _ => return None,
    };
    days.checked_mul(24)?
        .checked_add(hours)?
        .checked_mul(60)?
        .checked_add(minutes)?
        .checked_mul(60)?
        .checked_add(seconds)
}

#[cfg(test)]
mod tests;
