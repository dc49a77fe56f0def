//! Finds jobs by the random tags in their comments, after a crash between submission and record.
//!
//! Comments are users' own text, so only JSON is read, and only for the account's own uid.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;

/// Longest time for an answer.
const WITHIN: Duration = Duration::from_secs(60);

/// Length of a tag: 128 bits in hexadecimal digits.
pub const TAG_LENGTH: usize = 32;

/// What both programs print: an array of jobs, beside other members.
#[derive(Deserialize)]
struct Answer {
    jobs: Vec<Value>,
    /// Newer programs print what went wrong here, and may succeed all the same.
    #[serde(default)]
    errors: Value,
}

impl Answer {
    fn is_whole(&self) -> bool {
        self.errors.is_null() || self.errors.as_array().is_some_and(Vec::is_empty)
    }
}

impl Commands {
    /// The jobs of this uid whose comments are among `tags`, submitted within the last `since_s`
    /// seconds, by tag. One look for all: a start after a crash may have many tags.
    ///
    /// Jobs that have left the queue are looked up in accounting, which knows comments only with
    /// `AccountingStoreFlags=job_comment`. The caller's account should be that uid: Slurm may show
    /// other accounts less.
    ///
    /// # Errors
    /// Slurm gave no answer. The jobs may then exist.
    pub async fn find_tags(
        &self,
        uid: u32,
        tags: &BTreeSet<&str>,
        since_s: u64,
    ) -> Result<BTreeMap<String, SlurmJobId>, SlurmFailure> {
        let uid_text = uid.to_string();
        let queue = self.run_for_json(Program::Squeue, &["--user", &uid_text], WITHIN).await?;
        let mut found = in_answer(Program::Squeue, &queue.stdout, uid, tags)?;
        if tags.iter().all(|tag| found.contains_key(*tag)) {
            return Ok(found);
        }
        let arguments = ["--user", &uid_text, "--starttime", &format!("now-{since_s}")];
        let accounting = self.run_for_json(Program::Sacct, &arguments, WITHIN).await?;
        for (tag, id) in in_answer(Program::Sacct, &accounting.stdout, uid, tags)? {
            found.entry(tag).or_insert(id);
        }
        Ok(found)
    }
}

/// The first job of that uid with each tag. Only the members that decide are read, in the forms
/// that Slurm 22.05 to 25.05 give them.
pub(crate) fn in_answer(
    program: Program,
    json: &[u8],
    uid: u32,
    tags: &BTreeSet<&str>,
) -> Result<BTreeMap<String, SlurmJobId>, SlurmFailure> {
    let unreadable = |what| SlurmFailure::Unreadable { program, what };
    let answer: Answer = serde_json::from_slice(json).map_err(|_| unreadable("it is not JSON with a list of jobs"))?;
    if !answer.is_whole() {
        return Err(unreadable("it says that something went wrong"));
    }
    let mut found = BTreeMap::new();
    for job in &answer.jobs {
        // squeue 22.05 lists every job, whatever it is asked. sacct has no uid of a job's user, and
        // lists those of the user alone.
        let is_of_uid = program == Program::Sacct || number(&job["user_id"]) == Some(uid.into());
        let comment = &job["comment"];
        let comment = comment.as_object().map_or(Some(comment), |comments| comments.get("job"));
        let Some(tag) = comment.and_then(Value::as_str).filter(|tag| is_of_uid && tags.contains(tag)) else {
            continue;
        };
        let id = number(&job["job_id"]).and_then(|id| u32::try_from(id).ok());
        let id = id.and_then(|id| SlurmJobId::try_from(id).ok()).ok_or_else(|| unreadable("a job has no id"))?;
        found.entry(tag.to_owned()).and_modify(|first: &mut SlurmJobId| *first = id.min(*first)).or_insert(id);
    }
    Ok(found)
}

/// A number, or the object in which newer versions put one (`{"set": true, "infinite": false,
/// "number": 7}`).
fn number(value: &Value) -> Option<u64> {
    let Some(object) = value.as_object() else { return value.as_u64() };
    let is = |name: &str| object.get(name).and_then(Value::as_bool);
    let is_finite = is("set") != Some(false) && is("infinite") != Some(true);
    object.get("number").and_then(Value::as_u64).filter(|_| is_finite)
}

#[cfg(test)]
mod tests;
