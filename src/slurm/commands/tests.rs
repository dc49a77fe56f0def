//! Programs run with a known environment, within limits, and end with their caller.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A directory in which `squeue` is this script.
fn with_squeue(script: &str) -> (TempDir, Commands) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("squeue");
    fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let commands = Commands::new(directory.path().to_owned(), Some("/etc/slurm-b/slurm.conf".into()));
    (directory, commands)
}

async fn run(commands: &Commands, stdin: &[u8], within: Duration) -> Result<Output, SlurmFailure> {
    commands.run(Program::Squeue, &["a b", "$(id)", "*"], stdin, within).await
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_environment_is_ours_and_arguments_pass_no_shell() {
    let (directory, commands) = with_squeue("printf '%s\\n' \"$@\"; tr '\\0' '\\n' </proc/$$/environ");
    let output = run(&commands, b"", SOON).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (arguments, environment) = text.split_at(text.find("*\n").unwrap() + 2);
    assert_eq!(arguments, "a b\n$(id)\n*\n");
    let sorted = |environment: &str| {
        let mut variables: Vec<String> = environment.lines().map(str::to_owned).collect();
        variables.sort_unstable();
        variables
    };
    let path = format!("PATH={}", directory.path().display());
    let every = ["LC_ALL=C.UTF-8", &path, "SLURM_CONF=/etc/slurm-b/slurm.conf"];
    assert_eq!(sorted(environment), [every.as_slice(), &["SLURM_TIME_FORMAT=%s"]].concat());
    // With a format of times, sacct 22.05 refuses its own `--starttime` if it prints JSON.
    let output = commands.run_for_json(Program::Squeue, &["a"], SOON).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(sorted(text.strip_prefix("--json\na\n").unwrap()), every);
}

#[tokio::test]
async fn standard_input_arrives_whole_and_need_not_be_read() {
    let (_directory, commands) = with_squeue("cat");
    let script = vec![b'x'; 1_000_000];
    assert_eq!(run(&commands, &script, SOON).await.unwrap().stdout, script);
    let (_directory, commands) = with_squeue("exit 0");
    assert_eq!(run(&commands, &script, SOON).await.unwrap().stdout, b"");
}

#[tokio::test]
async fn a_failure_says_what_slurm_said() {
    let (_directory, commands) =
        with_squeue("echo 'squeue: error: Unable to contact slurm controller' >&2; echo half; exit 1");
    let failure = run(&commands, b"", SOON).await.unwrap_err();
    assert_eq!(failure.to_string(), "squeue failed: Unable to contact slurm controller");
    let (_directory, commands) = with_squeue("kill -9 $$");
    assert_eq!(run(&commands, b"", SOON).await.unwrap_err().to_string(), "squeue failed: signal: 9 (SIGKILL)");
    let nowhere = Commands::new("/nonexistent".into(), None);
    assert_eq!(run(&nowhere, b"", SOON).await.unwrap_err().to_string(), "cannot run squeue");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed() {
    let scratch = tempfile::tempdir().unwrap();
    let pid = scratch.path().join("pid");
    let (_directory, commands) = with_squeue(&format!("echo $$ >{}; exec sleep 600", pid.display()));
    // The deadline passes after the program has begun.
    let running = run(&commands, b"", Duration::from_secs(5));
    let failure = running.await.unwrap_err();
    assert_eq!(failure.to_string(), "squeue did not answer within 5 s");
    let number = fs::read_to_string(&pid).unwrap();
    let process = format!("/proc/{}", number.trim());
    while is_sleeping(Path::new(&process)) {
        tokio::task::yield_now().await;
    }
}

/// Whether the program runs, and is not only a process that its parent has not waited for.
fn is_sleeping(process: &Path) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|arguments| arguments.starts_with(b"sleep"))
}

#[tokio::test]
async fn an_endless_answer_is_no_answer() {
    let (_directory, commands) = with_squeue("head -c 70000000 /dev/zero");
    let failure = run(&commands, b"", Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(failure.to_string(), "squeue printed more than 67108864 bytes");
    let (_directory, commands) = with_squeue("head -c 1000000 /dev/zero >&2; echo all");
    let output = run(&commands, b"", SOON).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.len()), (b"all\n".as_slice(), ERRORS_MAX));
}
