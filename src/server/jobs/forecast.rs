//! How long a waiting job may still wait: its place in the queue, and when Slurm expects to start
//! it. Both are rounded, so that small changes are not told.

use std::cmp::Reverse;
use std::collections::HashMap;

use countersign_keys::time::Timestamp;
use countersign_slurm::{Row, SlurmJobId};
use time::OffsetDateTime;

/// A time of start is rounded up to this many seconds.
const START_STEP_S: i64 = 600;

/// The jobs that wait for their turn, in each partition by the order in which they come.
pub(super) struct Places<'r>(HashMap<&'r str, Vec<Place>>);

/// The higher priority comes first, then the lower number.
type Place = (Reverse<u32>, SlurmJobId);

const fn place(row: &Row) -> Place {
    (Reverse(row.priority), row.id)
}

impl<'r> Places<'r> {
    pub(super) fn of(rows: &'r [Row]) -> Self {
        let mut places: HashMap<&str, Vec<Place>> = HashMap::new();
        for row in rows.iter().filter(|row| row.waits_for_its_turn()) {
            for partition in row.partitions() {
                places.entry(partition).or_default().push(place(row));
            }
        }
        places.values_mut().for_each(|places| places.sort_unstable());
        Self(places)
    }

    /// How many jobs come before this one, in the partition where they are fewest.
    fn ahead(&self, row: &Row) -> Option<usize> {
        let position = |partition| self.0.get(partition)?.binary_search(&place(row)).ok();
        row.partitions().filter_map(position).min()
    }

    /// The partitions for which jobs wait.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut wanted: Vec<String> = self.0.keys().map(|partition| (*partition).to_owned()).collect();
        wanted.sort_unstable();
        wanted
    }

    /// A sentence or two for the user. `None` if nothing is known, or if the job does not wait for
    /// its turn.
    pub(super) fn forecast(&self, row: &Row, now: Timestamp) -> Option<String> {
        if !row.waits_for_its_turn() {
            return None;
        }
        let ahead = self.ahead(row).and_then(jobs_ahead);
        let sentences: Vec<String> = [ahead, start(row, now)].into_iter().flatten().collect();
        (!sentences.is_empty()).then(|| sentences.join(" "))
    }
}

/// Exact up to five; then the largest of 10, 20, 50, 100, 200, … that is not more.
fn jobs_ahead(count: usize) -> Option<String> {
    let sentence = match count {
        0 => return None,
        1 => "One job is ahead of it.".to_owned(),
        2..=5 => format!("{count} jobs are ahead of it."),
        6..=9 => "More than 5 jobs are ahead of it.".to_owned(),
        _ => {
            let power = 10_usize.saturating_pow(count.ilog10());
            let step = [5, 2, 1].into_iter().map(|step| power.saturating_mul(step)).find(|step| *step <= count);
            format!("At least {} jobs are ahead of it.", step.unwrap_or(power))
        }
    };
    Some(sentence)
}

fn start(row: &Row, now: Timestamp) -> Option<String> {
    let start = row.start.filter(|start| *start > now.seconds())?;
    let rounded = start.checked_add(START_STEP_S - 1)?.checked_div(START_STEP_S)?.checked_mul(START_STEP_S)?;
    let at = OffsetDateTime::from_unix_timestamp(rounded).ok()?;
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    Some(format!("Slurm expects to start it by {date} {hour:02}:{minute:02} UTC."))
}

#[cfg(test)]
mod tests {
    use countersign_slurm::{ExitCode, JobState, Limit};

    use super::*;

    /// 2026-11-29 12:00:00 UTC.
    const NOON: i64 = 1_795_953_600;

    fn row(id: u32, priority: u32, partition: &str) -> Row {
        Row {
            id: SlurmJobId::try_from(id).unwrap(),
            uid: 1001,
            state: JobState::Pending,
            exit: ExitCode::default(),
            restarts: 0,
            node_count: 1,
            start: None,
            end: None,
            used_s: None,
            limit: Limit::Unset,
            priority,
            partition: partition.to_owned(),
            nodes: String::new(),
            reason: Some("Priority".to_owned()),
        }
    }

    fn forecast(rows: &[Row], at: usize) -> Option<String> {
        Places::of(rows).forecast(&rows[at], Timestamp::from_seconds(NOON))
    }

    #[test]
    fn the_place_is_that_by_priority_and_number_in_the_best_partition() {
        let mut rows = vec![row(1, 10, "a"), row(2, 30, "a"), row(3, 10, "a"), row(4, 20, "b"), row(5, 5, "a,b")];
        assert_eq!(forecast(&rows, 1), None, "it is next");
        assert_eq!(forecast(&rows, 0).unwrap(), "One job is ahead of it.");
        assert_eq!(forecast(&rows, 2).unwrap(), "2 jobs are ahead of it.");
        assert_eq!(forecast(&rows, 4).unwrap(), "One job is ahead of it.", "in b");
        // What is held, or runs, is not ahead.
        rows[1].reason = Some("JobHeldUser".to_owned());
        assert_eq!(forecast(&rows, 1), None, "it waits for something else");
        assert_eq!(forecast(&rows, 2).unwrap(), "One job is ahead of it.");
        rows[0].state = JobState::Running;
        assert_eq!(forecast(&rows, 2), None);
    }

    #[test]
    fn numbers_and_times_are_rounded() {
        let check = |ahead: usize, want: &str| assert_eq!(jobs_ahead(ahead).unwrap(), want);
        check(5, "5 jobs are ahead of it.");
        check(9, "More than 5 jobs are ahead of it.");
        check(10, "At least 10 jobs are ahead of it.");
        check(49, "At least 20 jobs are ahead of it.");
        check(99, "At least 50 jobs are ahead of it.");
        check(100, "At least 100 jobs are ahead of it.");
        check(1_999, "At least 1000 jobs are ahead of it.");
        let at = |start: i64| {
            let row = Row { start: Some(start), ..row(1, 1, "a") };
            Places::of(std::slice::from_ref(&row)).forecast(&row, Timestamp::from_seconds(NOON))
        };
        assert_eq!(at(NOON + 1).unwrap(), "Slurm expects to start it by 2026-11-29 12:10 UTC.");
        assert_eq!(at(NOON + 600).unwrap(), "Slurm expects to start it by 2026-11-29 12:10 UTC.");
        assert_eq!(at(NOON + 86_400).unwrap(), "Slurm expects to start it by 2026-11-30 12:00 UTC.");
        assert_eq!(at(NOON), None, "it has passed");
        assert_eq!(at(i64::MAX), None);
    }
}
