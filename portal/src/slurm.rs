//! The small Slurm of the demo's computing centre: `tests/support/slurm`, from its start to its
//! end.
//!
//! It has a directory of its own and listens on loop-back alone. It needs root and Debian's
//! packages, and says which one is missing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::program_error::{ErrorContext as _, ProgramError};

/// How long it may take to start, with a new database, on a busy machine.
const START_MAX: Duration = Duration::from_secs(90);
/// How long its daemons may take to exit.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running Slurm.
pub(crate) struct Slurm {
    directory: tempfile::TempDir,
    /// Ends when its input does; absent after that.
    child: Mutex<Option<Child>>,
}

impl Slurm {
    /// Starts it with this program. These accounts may submit jobs.
    pub(crate) async fn start(program: &Path, accounts: &[&str]) -> Result<Self, ProgramError> {
        let directory = tempfile::Builder::new().prefix("slurm-").tempdir().context("a temporary directory")?;
        let said = directory.path().join("start.log");
        let mut command = Command::new(program);
        command.arg(directory.path()).args(accounts).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(&said).context(said.display())?).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context(program.display())?;
        let output = child.stdout.take().ok_or_else(|| ProgramError::new("Slurm: no output"))?;
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(START_MAX, lines.next_line()).await;
        if !matches!(first, Ok(Ok(Some(line))) if line == "ready") {
            let said = fs::read_to_string(&said).unwrap_or_default();
            return Err(ProgramError::new(format!("Slurm does not start: {}", said.trim())));
        }
        Ok(Self { directory, child: Mutex::new(Some(child)) })
    }

    /// The tables of a provider that runs jobs on it, with a machine of one processor.
    pub(crate) fn tables(&self) -> String {
        format!(
            "[slurm]\nconfig = \"{}\"\ndrive = \"home\"\npoll_s = 1\noperator = true\n\n[[products]]\nname = \"small\"\n\
             category = \"small\"\ntype = \"compute\"\ncpu = 1\nmemory_gb = 1\npartition = \"normal\"\n\n",
            self.config().display()
        )
    }

    /// The names of the jobs in its queue that have not ended: Core's ids.
    pub(crate) async fn queue(&self) -> Result<Vec<String>, ProgramError> {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--all", "--format=%j"]).env("SLURM_CONF", self.config()).stdin(Stdio::null());
        let output = command.kill_on_drop(true).output().await.context("squeue")?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Stops its daemons.
    pub(crate) async fn end(&self) {
        let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        drop(child.stdin.take());
        if tokio::time::timeout(STOP_MAX, child.wait()).await.is_err() {
            let _ended_meanwhile = child.kill().await;
        }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("slurm.conf")
    }
}
