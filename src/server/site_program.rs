//! Runs a program of the site: JSON in, and whatever it prints out, within limits of time and size.
//!
//! No shell, and none of the server's environment. Any other behaviour than an orderly end is a
//! failure (P8), after which nothing of the program's process group is left.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Most bytes on either output.
const OUTPUT_MAX: u64 = 64 * 1024;

/// Its whole environment.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")];

/// Longest part of its standard error in the log, in bytes.
const COMPLAINT_MAX: usize = 1024;

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramFailure {
    #[error("the program cannot be run")]
    Run(#[source] std::io::Error),
    #[error("the program took longer than {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the program printed more than {OUTPUT_MAX} bytes")]
    Loud,
    #[error("the program ended with {status}: {complaint}")]
    Status {
        status: std::process::ExitStatus,
        /// The beginning of its standard error.
        complaint: String,
    },
}

/// Runs it and returns what it printed.
pub(crate) async fn run(
    program: &Path,
    arguments: &[String],
    input: &[u8],
    time_max: Duration,
) -> Result<Vec<u8>, ProgramFailure> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(ProgramFailure::Run)?;
    let run = tokio::time::timeout(time_max, run_to_the_end(&mut child, input)).await;
    let run = run.unwrap_or(Err(ProgramFailure::Slow(time_max)));
    // `None` once its end was waited for: its number may be another's then.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).filter(|_| run.is_err()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL); // it may have ended by itself
    }
    run
}

async fn run_to_the_end(child: &mut Child, input: &[u8]) -> Result<Vec<u8>, ProgramFailure> {
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may close it early.
        let _ = stdin.write_all(input).await;
    }
    let (output, complaint) = tokio::try_join!(limited(child.stdout.take()), limited(child.stderr.take()))?;
    let status = child.wait().await.map_err(ProgramFailure::Run)?;
    if !status.success() {
        let complaint = complaint.get(..COMPLAINT_MAX).unwrap_or(&complaint);
        return Err(ProgramFailure::Status {
            status,
            complaint: String::from_utf8_lossy(complaint).escape_default().to_string(),
        });
    }
    Ok(output)
}

async fn limited(output: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ProgramFailure> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output.take(OUTPUT_MAX + 1).read_to_end(&mut bytes).await.map_err(ProgramFailure::Run)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= OUTPUT_MAX) {
        Ok(bytes)
    } else {
        Err(ProgramFailure::Loud)
    }
}
