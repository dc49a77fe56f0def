//! The partitions, and how much of each is idle.

use std::time::Duration;

use crate::columns::{Listing, number};
use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::program::Program;

/// Longest time for an answer.
const WITHIN: Duration = Duration::from_secs(30);

/// Name, availability, and processors: allocated, idle, other, total. Only the site decides them.
const COLUMNS: &str = "%P|%a|%C";

/// How many.
const COUNT: usize = 3;

/// A partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    pub name: String,
    /// Whether jobs without a partition go there.
    pub is_default: bool,
    /// Whether it accepts and starts jobs.
    pub is_up: bool,
    /// Processors that no job has.
    pub idle_cpus: u32,
}

impl Commands {
    /// Every partition.
    ///
    /// # Errors
    /// Slurm gave no answer.
    pub async fn sinfo(&self) -> Result<Listing<Partition>, SlurmFailure> {
        let arguments = ["--noheader", "--all", "--format", COLUMNS];
        Ok(partitions(&self.run(Program::Sinfo, &arguments, b"", WITHIN).await?.stdout))
    }
}

pub(crate) fn partitions(text: &[u8]) -> Listing<Partition> {
    Listing::read(text, partition)
}

fn partition(fields: [&str; COUNT]) -> Option<Partition> {
    let [name, availability, cpus] = fields;
    let cpus: Vec<&str> = cpus.split('/').collect();
    let [_allocated, idle, _other, _total] = *cpus.as_slice() else { return None };
    let (name, is_default) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    (!name.is_empty()).then_some(())?;
    Some(Partition { name: name.to_owned(), is_default, is_up: availability == "up", idle_cpus: number(idle)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_22_05_are_read() {
        let listing = partitions(b"normal*|up|1/3/0/4\nurgent|inact|0/0/4/4\n");
        let partition = |name: &str, is_default, is_up, idle_cpus| Partition {
            name: name.to_owned(),
            is_default,
            is_up,
            idle_cpus,
        };
        assert_eq!(listing.rows, [partition("normal", true, true, 3), partition("urgent", false, false, 0)]);
        for bad in ["normal|up|1/3/0", "*|up|1/3/0/4", "normal|up|a/b/c/d", "normal|up"] {
            assert_eq!(partitions(bad.as_bytes()).unreadable, 1, "{bad}");
        }
    }
}
