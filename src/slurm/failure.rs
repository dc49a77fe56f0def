//! Why Slurm gave no answer, and Slurm's own words cleaned for people.

use std::io;
use std::time::Duration;

use crate::program::Program;

/// Longest text of Slurm's that is shown or logged, in bytes: sbatch's longest errors are below.
const SAID_MAX: usize = 1_024;

/// Slurm gave no usable answer. None of these says anything about a job.
#[derive(Debug, thiserror::Error)]
pub enum SlurmFailure {
    #[error("cannot run {}", .program.as_str())]
    NotRun {
        program: Program,
        /// The cause.
        source: io::Error,
    },
    /// The program was ended: slurmctld or slurmdbd is slow or down.
    #[error("{} did not answer within {} s", .program.as_str(), .within.as_secs())]
    TimedOut { program: Program, within: Duration },
    /// More than a limit that no true answer reaches.
    #[error("{} printed more than {max} bytes", .program.as_str())]
    TooLong { program: Program, max: usize },
    /// The program ended with an error.
    #[error("{} failed: {said}", .program.as_str())]
    Refused {
        program: Program,
        /// Standard error, cleaned.
        said: String,
    },
    /// The whole answer is of another form than expected.
    #[error("cannot read the answer of {}: {what}", .program.as_str())]
    Unreadable { program: Program, what: &'static str },
}

/// Slurm's words for people: without the program's name, control characters and blank lines, and
/// cut at a limit.
#[must_use]
pub fn cleaned(program: Program, said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let prefix = format!("{}: ", program.as_str());
    let mut cleaned = String::new();
    for line in text.lines() {
        let mut rest = line.trim();
        rest = rest.strip_prefix(&prefix).unwrap_or(rest);
        rest = rest.strip_prefix("error: ").unwrap_or(rest);
        let plain: String = rest.chars().filter(|char| !char.is_control()).collect();
        if plain.is_empty() {
            continue;
        }
        if !cleaned.is_empty() {
            cleaned.push_str("; ");
        }
        cleaned.push_str(&plain);
    }
    if cleaned.len() > SAID_MAX {
        let end = (0..=SAID_MAX).rev().find(|end| cleaned.is_char_boundary(*end)).unwrap_or(0);
        cleaned.truncate(end);
        cleaned.push('…');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurms_words_are_shown_without_its_decoration() {
        let check = |said: &str, want: &str| assert_eq!(cleaned(Program::Sbatch, said.as_bytes()), want);
        check(
            "sbatch: error: invalid partition specified: nosuch\nsbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "invalid partition specified: nosuch; Batch job submission failed: Invalid partition name specified",
        );
        check("\u{1b}[2Jsbatch\u{7}\n\n", "[2Jsbatch");
        check("", "");
        assert_eq!(cleaned(Program::Sbatch, b"\xff\xfe"), "\u{fffd}\u{fffd}");
        let long = cleaned(Program::Sbatch, "é".repeat(4_000).as_bytes());
        assert!(long.len() <= SAID_MAX + '…'.len_utf8() && long.ends_with('…'), "{}", long.len());
    }
}
