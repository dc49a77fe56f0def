//! The user mapper `command`: runs a program of the site that maps a UCloud user to a uid.
//!
//! The program reads `{"username":"…"}` from its standard input and prints `{"uid":1100}`. It does
//! not decide alone: that uid must still approve. Any other behaviour (slow, too much output,
//! unparsable, an error) is a failure (P8).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign_keys::identity::{Uid, Username};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// How long it may take, while the approving user waits at a terminal.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Most bytes on either output. The answer has 20.
const OUTPUT_MAX: u64 = 64 * 1024;

/// Its whole environment.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")];

/// Longest part of its standard error in the log, in bytes.
const COMPLAINT_MAX: usize = 1024;

/// Why the mapper failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapperFailure {
    /// It cannot be run.
    #[error("the user mapper cannot be run")]
    Run(#[source] std::io::Error),
    /// It took too long.
    #[error("the user mapper took longer than {} s", TIME_MAX.as_secs())]
    Slow,
    /// It printed too much.
    #[error("the user mapper printed more than {OUTPUT_MAX} bytes")]
    Loud,
    /// It exited with an error.
    #[error("the user mapper ended with {status}: {complaint}")]
    Status {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The beginning of its standard error.
        complaint: String,
    },
    /// It printed something other than `{"uid":N}`.
    #[error("the user mapper printed something other than {{\"uid\":N}}")]
    Answer(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Question<'q> {
    username: &'q Username,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    uid: Uid,
}

/// Asks the program which uid the user has.
pub(crate) async fn ask(program: &Path, arguments: &[String], username: &Username) -> Result<Uid, MapperFailure> {
    ask_within(TIME_MAX, program, arguments, username).await
}

async fn ask_within(
    time_max: Duration,
    program: &Path,
    arguments: &[String],
    username: &Username,
) -> Result<Uid, MapperFailure> {
    tokio::time::timeout(time_max, run(program, arguments, username)).await.map_err(|_elapsed| MapperFailure::Slow)?
}

async fn run(program: &Path, arguments: &[String], username: &Username) -> Result<Uid, MapperFailure> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(MapperFailure::Run)?;
    let question = serde_json::to_vec(&Question { username }).map_err(MapperFailure::Answer)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may close it early.
        let _ = stdin.write_all(&question).await;
    }
    let (output, complaint) = tokio::try_join!(limited(child.stdout.take()), limited(child.stderr.take()))?;
    let status = child.wait().await.map_err(MapperFailure::Run)?;
    if !status.success() {
        let complaint = complaint.get(..COMPLAINT_MAX).unwrap_or(&complaint);
        return Err(MapperFailure::Status {
            status,
            complaint: String::from_utf8_lossy(complaint).escape_default().to_string(),
        });
    }
    let Answer { uid } = serde_json::from_slice(&output).map_err(MapperFailure::Answer)?;
    Ok(uid)
}

async fn limited(output: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, MapperFailure> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output.take(OUTPUT_MAX + 1).read_to_end(&mut bytes).await.map_err(MapperFailure::Run)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= OUTPUT_MAX) {
        Ok(bytes)
    } else {
        Err(MapperFailure::Loud)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(script: &str, want: Result<u32, &str>) {
        let username = Username::parse("alice#1234").unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let got = ask(Path::new("/bin/sh"), &arguments, &username).await;
        assert_eq!(
            got.map(|uid| uid.0).map_err(|failure| failure.to_string()),
            want.map_err(str::to_owned),
            "{script}"
        );
    }

    #[tokio::test]
    async fn the_answer_is_one_uid() {
        check(r#"echo '{"uid":1100}'"#, Ok(1100)).await;
        check(r#"test "$(cat)" = '{"username":"alice#1234"}' && echo '{"uid":7}'"#, Ok(7)).await;
        let other = "the user mapper printed something other than {\"uid\":N}";
        check("echo", Err(other)).await;
        check("echo 1100", Err(other)).await;
        check(r#"echo '{"uid":"1100"}'"#, Err(other)).await;
        check(r#"echo '{"uid":-1}'"#, Err(other)).await;
        check(r#"echo '{"uid":4294967296}'"#, Err(other)).await;
        check(r#"echo '{"uid":1,"uid":2}'"#, Err(other)).await;
        check(r#"echo '{"uid":1,"gid":2}'"#, Err(other)).await;
        check(r#"echo '{"uid":1} x'"#, Err(other)).await;
    }

    #[tokio::test]
    async fn errors_floods_and_absence_are_failures() {
        check("echo no >&2; exit 3", Err("the user mapper ended with exit status: 3: no\\n")).await;
        check("head -c 70000 /dev/zero", Err("the user mapper printed more than 65536 bytes")).await;
        check("head -c 70000 /dev/zero >&2", Err("the user mapper printed more than 65536 bytes")).await;
        let username = Username::parse("alice").unwrap();
        let absent = ask(Path::new("/nonexistent/mapper"), &[], &username).await;
        assert!(matches!(absent, Err(MapperFailure::Run(_))));
    }

    #[tokio::test]
    async fn its_environment_is_ours_to_choose() {
        check(r#"test "$(env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e _ | sort | tr '\n' ,)" = LANG,PATH, && echo '{"uid":1}'"#, Ok(1)).await;
    }

    #[tokio::test]
    async fn a_slow_one_is_given_up() {
        let username = Username::parse("alice").unwrap();
        let arguments = ["-c".to_owned(), "exec sleep 600".to_owned()];
        let slow = ask_within(Duration::from_millis(50), Path::new("/bin/sh"), &arguments, &username).await;
        assert!(matches!(slow, Err(MapperFailure::Slow)));
    }
}
