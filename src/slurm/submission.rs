//! Submits a job: the arguments of `sbatch`, the script on standard input, and the answer.
//!
//! Everything that decides where and as what a job runs is an argument, because arguments beat the
//! script. Refuses a script in which `sbatch` would find options of its own, so that nothing but
//! the arguments decides.

mod refused;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;

/// Standard output of a job's first node, in its folder.
pub const STDOUT: &str = "stdout.txt";
/// Standard error of a job's first node, in its folder.
pub const STDERR: &str = "stderr.txt";

/// Longest script, in bytes: slurmctld takes 4 MiB, and a person reads less.
pub const SCRIPT_MAX: usize = 1024 * 1024;

/// What marks an option of `sbatch` in a script's comments, also of the batch systems that it
/// imitates.
const MARKS: [&str; 4] = ["#SBATCH", "#SLURM", "#PBS", "#BSUB"];

/// A script in which `sbatch` finds no option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script(String);

/// Why a text is no script for `sbatch`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScriptRejection {
    #[error("the script is longer than {SCRIPT_MAX} bytes")]
    TooLong,
    #[error("the first line of the script does not name an interpreter (#!)")]
    NoInterpreter,
    #[error("the script contains a NUL character")]
    Nul,
    #[error("the script has line ends of Windows")]
    LineEnds,
    #[error("the script sets options of sbatch before its first command, which is not allowed here")]
    Options,
}

impl Script {
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, ScriptRejection> {
        if text.len() > SCRIPT_MAX {
            return Err(ScriptRejection::TooLong);
        }
        if !text.starts_with("#!/") {
            return Err(ScriptRejection::NoInterpreter);
        }
        if text.contains('\0') {
            return Err(ScriptRejection::Nul);
        }
        if text.contains('\r') {
            return Err(ScriptRejection::LineEnds);
        }
        // sbatch reads options until the first line that is neither blank nor a comment.
        let is_comment = |line: &&str| {
            let line = line.trim_start();
            line.is_empty() || line.starts_with('#')
        };
        let is_option = |line: &str| MARKS.iter().any(|mark| line.trim_start().starts_with(mark));
        if text.split('\n').take_while(is_comment).any(is_option) {
            return Err(ScriptRejection::Options);
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An option that an application may set. Its names come from a closed list of the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtraOption {
    /// Without `--`.
    pub name: &'static str,
    /// `None` for an option without a value.
    pub value: Option<String>,
}

/// A job as it is submitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub constraint: Option<String>,
    pub nodes: u32,
    pub cpus_per_task: u32,
    /// `None` for the partition's default.
    pub memory_mb: Option<u64>,
    /// Of each node; 0 for none.
    pub gpus: u32,
    pub time_minutes: u32,
    /// The job's name at Slurm.
    pub name: String,
    /// The job's folder, absolute.
    pub folder: PathBuf,
    /// Marks the job as this one, in its comment.
    pub tag: String,
    pub extra: Vec<ExtraOption>,
    pub script: Script,
}

/// Options of the product that give way to others of the same subject.
const MEMORY: [&str; 3] = ["mem", "mem-per-cpu", "mem-per-gpu"];
const CPUS: [&str; 2] = ["cpus-per-task", "cpus-per-gpu"];
const GPUS: [&str; 2] = ["gpus-per-node", "gpus-per-task"];

/// Options that the arguments decide, or that reach beyond the job. An extra option of such a name
/// is never passed on, whatever list it comes from.
const DECISIVE: [&str; 27] = [
    "account",
    "array",
    "batch",
    "begin",
    "bb",
    "bbf",
    "chdir",
    "clusters",
    "comment",
    "dependency",
    "error",
    "export",
    "export-file",
    "get-user-env",
    "gid",
    "input",
    "job-name",
    "mail-type",
    "mail-user",
    "nodes",
    "output",
    "partition",
    "qos",
    "reservation",
    "time",
    "uid",
    "wrap",
];

/// Why a job was not submitted, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFailure {
    /// Slurm refused the job: there is none. The sentence is for the user.
    #[error("{0}")]
    Refused(String),
    /// sbatch could not be run: there is no job.
    #[error("jobs cannot be submitted at the moment")]
    NotRun(#[source] SlurmFailure),
    /// There may be a job: look for its tag.
    #[error("Slurm did not answer, so it is not known whether the job was submitted")]
    Unknown(#[source] SlurmFailure),
}

impl Submission {
    /// The arguments of `sbatch`. The last of several equal options counts, so those that decide
    /// stand last.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let has = |names: &[&str]| self.extra.iter().any(|option| names.contains(&option.name));
        let requeues = has(&["requeue"]);
        let extra = self.extra.iter().filter(|option| !DECISIVE.contains(&option.name)).map(|option| {
            option
                .value
                .as_ref()
                .map_or_else(|| format!("--{}", option.name), |value| format!("--{}={value}", option.name))
        });
        let mut arguments: Vec<OsString> = extra.map(OsString::from).collect();
        let mut add = |name: &str, value: &dyn std::fmt::Display| arguments.push(format!("--{name}={value}").into());
        if !has(&CPUS) {
            add("cpus-per-task", &self.cpus_per_task);
        }
        if let Some(memory) = self.memory_mb.filter(|_| !has(&MEMORY)) {
            add("mem", &format_args!("{memory}M"));
        }
        if self.gpus > 0 && !has(&GPUS) {
            add("gpus-per-node", &self.gpus);
        }
        if let Some(constraint) = &self.constraint {
            add("constraint", constraint);
        }
        for (name, value) in [("partition", &self.partition), ("qos", &self.qos), ("account", &self.account)] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        add("nodes", &self.nodes);
        add("time", &self.time_minutes);
        add("job-name", &self.name);
        add("comment", &self.tag);
        add("output", &STDOUT);
        add("error", &STDERR);
        add("open-mode", &"append");
        add("mail-type", &"NONE");
        add("export", &"NONE");
        let mut chdir = OsString::from("--chdir=");
        chdir.push(&self.folder);
        arguments.push(chdir);
        arguments.extend(["--ignore-pbs", "--parsable"].map(OsString::from));
        if !requeues {
            arguments.push("--no-requeue".into());
        }
        arguments
    }
}

impl Commands {
    /// Submits a job, and returns Slurm's number of it.
    ///
    /// # Errors
    /// There is no job, or it is not known whether there is one.
    pub async fn submit(&self, submission: &Submission, within: Duration) -> Result<SlurmJobId, SubmitFailure> {
        let script = submission.script.as_str().as_bytes();
        let output = match self.run(Program::Sbatch, &submission.arguments(), script, within).await {
            Ok(output) => output,
            Err(failure @ SlurmFailure::NotRun { .. }) => return Err(SubmitFailure::NotRun(failure)),
            Err(SlurmFailure::Refused { program, said }) => {
                return Err(match refused::sentence(&said) {
                    Some(sentence) => SubmitFailure::Refused(sentence),
                    None => SubmitFailure::Unknown(SlurmFailure::Refused { program, said }),
                });
            }
            Err(
                failure @ (SlurmFailure::TimedOut { .. }
                | SlurmFailure::TooLong { .. }
                | SlurmFailure::Unreadable { .. }),
            ) => return Err(SubmitFailure::Unknown(failure)),
        };
        number(&output.stdout).ok_or(SubmitFailure::Unknown(SlurmFailure::Unreadable {
            program: Program::Sbatch,
            what: "it has no job's number",
        }))
    }
}

/// The number that `sbatch --parsable` prints, before the name of the cluster if there is one. A
/// site's plugins may print lines before it.
fn number(stdout: &[u8]) -> Option<SlurmJobId> {
    let text = std::str::from_utf8(stdout).ok()?;
    let last = text.lines().rfind(|line| !line.trim().is_empty())?.trim();
    SlurmJobId::parse(last.split(';').next()?).ok()
}

#[cfg(test)]
mod tests;
