//! The user mapper `command`: runs a program of the site that maps a UCloud user to a uid.
//!
//! The program reads `{"username":"…"}` from its standard input and prints `{"uid":1100}`. It does
//! not decide alone: that uid must still approve. Any other behaviour (slow, too much output,
//! unparsable, an error) is a failure (P8).

use std::path::Path;
use std::time::Duration;

use countersign_keys::identity::{Uid, Username};
use serde::{Deserialize, Serialize};

use crate::site_program::{self, ProgramFailure};

/// How long it may take, while the approving user waits at a terminal.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Why the mapper failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapperFailure {
    #[error(transparent)]
    Program(#[from] ProgramFailure),
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
    let question = serde_json::to_vec(&Question { username }).map_err(MapperFailure::Answer)?;
    let output = site_program::run(program, arguments, &question, time_max).await?;
    let Answer { uid } = serde_json::from_slice(&output).map_err(MapperFailure::Answer)?;
    Ok(uid)
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
        check("echo no >&2; exit 3", Err("the program ended with exit status: 3: no\\n")).await;
        check("head -c 70000 /dev/zero", Err("the program printed more than 65536 bytes")).await;
        check("head -c 70000 /dev/zero >&2", Err("the program printed more than 65536 bytes")).await;
        let username = Username::parse("alice").unwrap();
        let absent = ask(Path::new("/nonexistent/mapper"), &[], &username).await;
        assert!(matches!(absent, Err(MapperFailure::Program(ProgramFailure::Run(_)))));
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
        assert!(matches!(slow, Err(MapperFailure::Program(ProgramFailure::Slow(_)))));
    }
}
