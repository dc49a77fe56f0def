//! One job of the caller's: whether it waits or runs, and on which nodes.

use std::time::Duration;

use crate::columns::{Listing, number, time};
use crate::commands::{Commands, Output};
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;
use crate::squeue::{COLUMNS, Row, rows};
use crate::state::Phase;
use crate::tag::TAG_LENGTH;

/// Longest time for an answer.
const WITHIN: Duration = Duration::from_secs(30);
/// What squeue says of a number that no job has.
const NO_SUCH_JOB: &str = "Invalid job id specified";
/// Longest name that is asked for, in bytes, and shown, in characters.
const NAME_BYTES: usize = 256;
const NAME_MAX: usize = 64;
/// Longest list of nodes that is expanded, in bytes.
const NODES_MAX: usize = 16 * 1024;

impl Commands {
    /// The job of this number, if slurmctld knows one. Numbers are reused: the row says whose it
    /// is.
    ///
    /// # Errors
    /// Slurm gave no answer, which says nothing about the job.
    pub async fn job(&self, id: SlurmJobId) -> Result<Option<Row>, SlurmFailure> {
        let output = self.columns_of(id, COLUMNS).await?;
        Ok(output.and_then(|output| rows(&output.stdout).rows.into_iter().find(|row| row.id == id)))
    }

    /// Whether the comment of this job is `comment`, which has no white space at its end.
    ///
    /// A comment is its user's text, so nothing of it is read: it is compared with one.
    ///
    /// # Errors
    /// Slurm gave no answer.
    pub async fn has_comment(&self, id: SlurmJobId, comment: &str) -> Result<bool, SlurmFailure> {
        let output = self.columns_of(id, &format!("Comment:{}", comment.len().saturating_add(1))).await?;
        Ok(output.is_some_and(|output| output.stdout.trim_ascii_end() == comment.as_bytes()))
    }

    /// These columns of one job; `None` if slurmctld knows no job of this number.
    async fn columns_of(&self, id: SlurmJobId, columns: &str) -> Result<Option<Output>, SlurmFailure> {
        let wanted = format!("--jobs={id}");
        let arguments = ["--noheader", "--all", "--states=all", "--Format", columns, &wanted];
        match self.run(Program::Squeue, &arguments, b"", WITHIN).await {
            Ok(output) => Ok(Some(output)),
            Err(SlurmFailure::Refused { said, .. }) if said.contains(NO_SUCH_JOB) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The name of a node in an abbreviated list (`n[1-2]`), counted from 0.
    ///
    /// # Errors
    /// Slurm gave no answer, or the list has no such node.
    pub async fn node(&self, list: &str, rank: usize) -> Result<String, SlurmFailure> {
        let unreadable = |what| SlurmFailure::Unreadable { program: Program::Scontrol, what };
        if list.is_empty() || list.len() > NODES_MAX || list.starts_with('-') {
            return Err(unreadable("there is no list of nodes"));
        }
        let output = self.run(Program::Scontrol, &["show", "hostnames", list], b"", WITHIN).await?;
        let text = std::str::from_utf8(&output.stdout).map_err(|_| unreadable("it is no text"))?;
        let is_name =
            |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let name = text.lines().nth(rank).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('-'));
        name.filter(is_name).map(str::to_owned).ok_or_else(|| unreadable("the job has no such node"))
    }
}

/// A job that was begun without UCloud, or may have been.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Begun {
    pub uid: u32,
    /// Unix time. Slurm sets it, and again if the job returns to the queue.
    pub submitted: i64,
    /// Its user's text, cleaned. Empty if nothing of it can be shown.
    pub name: String,
    /// Whether its comment has the form of a tag, as that of every job of an instance.
    pub is_marked: bool,
}

impl Commands {
    /// Looks at a job that no account has reported; `None` if slurmctld knows no such job.
    ///
    /// Name and comment are its user's text, so each is asked for alone: neither can forge the time
    /// or the uid.
    ///
    /// # Errors
    /// Slurm gave no answer.
    pub async fn begun(&self, id: SlurmJobId) -> Result<Option<Begun>, SlurmFailure> {
        let Some(output) = self.columns_of(id, "JobID:0|,UserID:0|,SubmitTime:0").await? else { return Ok(None) };
        let listing = Listing::read(&output.stdout, |[id, uid, submitted]: [&str; 3]| {
            Some((SlurmJobId::parse(id).ok()?, number::<u32>(uid)?, time(submitted)??))
        });
        // The number of an array names all its tasks.
        let Some((_, uid, submitted)) = listing.rows.into_iter().find(|(row, ..)| *row == id) else { return Ok(None) };
        let comment = self.columns_of(id, &format!("Comment:{}", TAG_LENGTH.saturating_add(1))).await?;
        let name = self.columns_of(id, &format!("Name:{NAME_BYTES}")).await?;
        let (Some(comment), Some(name)) = (comment, name) else { return Ok(None) };
        Ok(Some(Begun { uid, submitted, name: shown_name(&name.stdout), is_marked: is_tag(&comment.stdout) }))
    }
}

/// Whether the first line of a comment has the form of a tag.
fn is_tag(comment: &[u8]) -> bool {
    let line = first_line(comment);
    line.len() == TAG_LENGTH && line.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// What may be shown of a job's name: the letters, digits and plain signs of its first line.
fn shown_name(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(first_line(name));
    let is_plain = |letter: &char| letter.is_alphanumeric() || " ._-+=:,@#()[]/".contains(*letter);
    let plain: String = text.chars().filter(is_plain).take(NAME_MAX).collect();
    plain.trim().to_owned()
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii()
}

impl Row {
    /// Whether the job has ended. An unknown state has not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.phase() == Phase::Ended
    }
}

/// The arguments of `srun` for a step on one node of a running job, beside the job's own steps.
#[must_use]
pub fn step_of(job: SlurmJobId, node: &str) -> Vec<String> {
    let mut arguments = ["--quiet", "--overlap", "--mpi=none", "--nodes=1", "--ntasks=1"].map(str::to_owned).to_vec();
    arguments.extend([format!("--jobid={job}"), format!("--nodelist={node}")]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_users_text_plain_letters_are_shown_and_a_tag_has_one_form() {
        let check = |name: &[u8], want: &str| assert_eq!(shown_name(name), want, "{}", name.escape_ascii());
        check(b"thesis   \n", "thesis");
        check(b"a|b\n62|0|7\n", "ab");
        check("gr\u{fc}n \u{202e}\u{0}<b>\u{1b}[31m".as_bytes(), "gr\u{fc}n b[31m");
        check(b"\xff\xfe", "");
        check(&[b'x'; 300], &"x".repeat(NAME_MAX));
        let tag = "0123456789abcdef0123456789abcdef";
        assert!(is_tag(format!("{tag}\n").as_bytes()) && is_tag(format!("{tag} \n{tag}\n").as_bytes()));
        for other in ["", "UCloud job", &tag[1..], &format!("{tag}0"), &tag.to_uppercase()] {
            assert!(!is_tag(format!("{other}\n").as_bytes()), "{other}");
        }
    }
}
