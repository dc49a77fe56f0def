//! The attackers that are written in Python: a line of JSON goes in, a line comes out.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long an attacker may take over a line.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of them. It ends with this.
pub(crate) struct Script {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// A program that `tests/hostile/install` has installed.
pub(crate) fn installed(name: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile-venv/bin").join(name);
    assert!(path.exists(), "{} is not there: run tests/hostile/install", path.display());
    path
}

impl Script {
    /// Starts the script of that name. An attacker has machines of their own: what it computes here
    /// must not take the processor from those whose times are judged, so that it has the lowest
    /// priority.
    pub(crate) fn start(name: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile").join(name);
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(installed("python"))
            .arg("-B")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _child: child, input, output: BufReader::new(output).lines() }
    }

    /// Tells it that.
    pub(crate) async fn say(&mut self, value: &Value) {
        self.input.write_all(format!("{value}\n").as_bytes()).await.unwrap();
    }

    /// What it says next.
    pub(crate) async fn hear(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        let line = line.expect("the attacker says nothing").unwrap().expect("the attacker has ended");
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"))
    }
}
