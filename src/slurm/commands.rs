//! Runs one of Slurm's programs: absolute path, cleared environment, a deadline, bounded output.
//!
//! The environment has at most four variables, because users' and sites' own (`SQUEUE_FORMAT`,
//! `SLURM_*`) change what programs print. A program that takes too long, or whose caller is gone,
//! is killed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::failure::{SlurmFailure, cleaned};
use crate::program::Program;

/// Longest standard output, in bytes: 300,000 rows of squeue.
const OUTPUT_MAX: usize = 64 * 1024 * 1024;

/// Longest standard error that is kept, in bytes. More is read and dropped, so that the program
/// does not block.
const ERRORS_MAX: usize = 64 * 1024;

/// Makes a program print times as seconds of Unix time, which no time zone changes.
const TIME_FORMAT: (&str, &str) = ("SLURM_TIME_FORMAT", "%s");

/// What a program printed that ended well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    pub stdout: Vec<u8>,
    /// Cut at a limit.
    pub stderr: Vec<u8>,
}

/// Where Slurm's programs are, and which cluster they ask.
#[derive(Clone, Debug)]
pub struct Commands {
    directory: PathBuf,
    config: Option<PathBuf>,
}

impl Commands {
    /// The programs in a directory, for the cluster of a `slurm.conf` or of Slurm's default one.
    /// Both paths are absolute.
    #[must_use]
    pub const fn new(directory: PathBuf, config: Option<PathBuf>) -> Self {
        Self { directory, config }
    }

    /// The absolute path of a program.
    #[must_use]
    pub fn path(&self, program: Program) -> PathBuf {
        self.directory.join(program.as_str())
    }

    /// The environment of every program.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![("PATH", self.directory.clone().into_os_string()), ("LC_ALL", "C.UTF-8".into())];
        environment.extend(self.config.iter().map(|config| ("SLURM_CONF", config.clone().into_os_string())));
        environment
    }

    /// Runs a program to its end. It prints times as seconds of Unix time.
    ///
    /// # Errors
    /// It cannot be run, takes too long, prints too much, or fails.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        program: Program,
        arguments: &[A],
        stdin: &[u8],
        within: Duration,
    ) -> Result<Output, SlurmFailure> {
        let mut command = self.command(program);
        command.args(arguments).env(TIME_FORMAT.0, TIME_FORMAT.1);
        run_in_time(program, command, stdin, within).await
    }

    /// Runs a program that prints JSON, in which times are numbers. No format of times is set:
    /// sacct 22.05 puts its `--starttime` into that format, and does not understand it then.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub async fn run_for_json<A: AsRef<OsStr>>(
        &self,
        program: Program,
        arguments: &[A],
        within: Duration,
    ) -> Result<Output, SlurmFailure> {
        let mut command = self.command(program);
        command.arg("--json").args(arguments);
        run_in_time(program, command, b"", within).await
    }

    fn command(&self, program: Program) -> Command {
        let mut command = Command::new(self.path(program));
        command.env_clear().envs(self.environment()).current_dir("/");
        command
    }
}

async fn run_in_time(
    program: Program,
    command: Command,
    stdin: &[u8],
    within: Duration,
) -> Result<Output, SlurmFailure> {
    let running = run_to_its_end(program, command, stdin);
    tokio::time::timeout(within, running).await.map_err(|_| SlurmFailure::TimedOut { program, within })?
}

async fn run_to_its_end(program: Program, mut command: Command, stdin: &[u8]) -> Result<Output, SlurmFailure> {
    let not_run = |source| SlurmFailure::NotRun { program, source };
    command.stdin(input(stdin).map_err(not_run)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(not_run)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(read_at_most(output, OUTPUT_MAX), read_at_most(errors, ERRORS_MAX));
    let status = child.wait().await.map_err(not_run)?;
    let (stdout, stderr) = (stdout.map_err(not_run)?, stderr.map_err(not_run)?);
    if !status.success() {
        let said = cleaned(program, &stderr.kept);
        let said = if said.is_empty() { status.to_string() } else { said };
        return Err(SlurmFailure::Refused { program, said });
    }
    if stdout.is_cut {
        return Err(SlurmFailure::TooLong { program, max: OUTPUT_MAX });
    }
    Ok(Output { stdout: stdout.kept, stderr: stderr.kept })
}

/// A program's standard input: a file in memory, complete and sealed before the program starts.
/// From a pipe, `sbatch` would take the beginning of a script if this process were killed while it
/// writes.
fn input(bytes: &[u8]) -> std::io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let file = memfd_create("stdin", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// The beginning of what a program printed.
#[derive(Default)]
struct Kept {
    kept: Vec<u8>,
    is_cut: bool,
}

/// Reads to the end, and keeps the first `max` bytes.
async fn read_at_most<R: AsyncRead + Unpin>(from: Option<R>, max: usize) -> std::io::Result<Kept> {
    let Some(mut from) = from else { return Ok(Kept::default()) };
    let mut kept = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    (&mut from).take(limit).read_to_end(&mut kept).await?;
    let dropped = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(Kept { kept, is_cut: dropped > 0 })
}

#[cfg(test)]
mod tests;
