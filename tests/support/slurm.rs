//! The small real Slurm of `tests/support/slurm`, and jobs of real accounts in it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::test_site::{TestSite, said};

/// How long one of Slurm's commands may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A running Slurm. It ends with this value.
#[derive(Debug)]
pub(crate) struct Slurm {
    directory: tempfile::TempDir,
    /// Whether a job that takes more memory than it has is ended by the kernel.
    pub(crate) limits_memory: bool,
    _child: Child,
    lines: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Slurm {
    /// Starts it, with these accounts as its users.
    pub(crate) async fn start(accounts: &[&str]) -> Self {
        Self::started(&[], accounts).await
    }

    /// The same, with a control group for each job's memory, where this machine allows that.
    pub(crate) async fn start_limited(accounts: &[&str]) -> Self {
        Self::started(&["--limit-memory"], accounts).await
    }

    async fn started(options: &[&str], accounts: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("slurm-").tempdir().unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support/slurm");
        let mut command = Command::new(script);
        command.args(options).arg(directory.path()).args(accounts).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let answer = answers.next_line().await.unwrap();
        let answer = answer.as_deref().expect("Slurm starts");
        let limits_memory = answer == "ready limited";
        assert!(limits_memory || answer == "ready", "{answer}");
        Self { directory, limits_memory, _child: child, lines: Mutex::new((orders, answers)) }
    }

    /// The value of `slurm.config`.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("slurm.conf")
    }

    /// The tables of a provider that uses it, with a machine of one processor.
    pub(crate) fn tables(&self) -> String {
        format!(
            "[slurm]\nconfig = \"{}\"\ndrive = \"home\"\npoll_s = 1\noperator = true\ntime_max_h = 1\n\n[[products]]\nname = \"disk\"\n\
             category = \"storage\"\ntype = \"storage\"\n\n[[products]]\nname = \"small\"\ncategory = \"small\"\n\
             type = \"compute\"\ncpu = 1\nmemory_gb = 1\npartition = \"normal\"\n",
            self.config().display()
        )
    }

    /// Runs one of Slurm's commands as root, and returns what it prints.
    pub(crate) async fn run(&self, command: &[&str]) -> String {
        let (program, arguments) = command.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("SLURM_CONF", self.config());
        let output = tokio::time::timeout(ANSWER_MAX, command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// An order of `tests/support/slurm`, carried out.
    pub(crate) async fn order(&self, order: &str) {
        let mut lines = self.lines.lock().await;
        lines.0.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        assert_eq!(lines.1.next_line().await.unwrap().as_deref(), Some("done"), "{order}");
    }

    /// Runs a shell script of an account, in which Slurm's commands reach this Slurm.
    pub(crate) async fn shell_as(&self, centre: &TestSite, account: &str, script: &str) -> String {
        let output =
            centre.shell_as(account, &format!("export SLURM_CONF={}; {script}", self.config().display())).await;
        assert!(output.status.success(), "{script}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Submits a job of an account, and returns Slurm's number. `options` are sbatch's.
    pub(crate) async fn submit(&self, centre: &TestSite, account: &str, options: &str, script: &str) -> u32 {
        let command = format!(
            "printf '#!/bin/sh\\n%s\\n' '{script}' | sbatch --parsable --chdir=/tmp --output=/dev/null --mem=10 --time=40 {options}"
        );
        self.shell_as(centre, account, &command).await.parse().unwrap()
    }
}
