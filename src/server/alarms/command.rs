//! Runs the site's program for alarms, `alarms.command`.
//!
//! It gets one JSON object on its standard input, no shell and none of the server's environment.
//! One runs at a time, for a limited time, and at most once a minute for one alarm.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::pending::{Process, Raised};
use super::{Alarms, log};
use crate::site_program;
use crate::state::log_failure;
use countersign_ipc::alarm::Alarm;

/// How long the command may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The site's program and its arguments.
pub(crate) type SiteCommand = (PathBuf, Vec<String>);

/// Runs the command for alarms until the runtime ends.
pub(crate) async fn run(alarms: Arc<Alarms>, command: SiteCommand) {
    run_within(TIME_MAX, &alarms, &command).await;
}

async fn run_within(time_max: Duration, alarms: &Alarms, command: &SiteCommand) {
    loop {
        let (due, next) = {
            let mut pending = alarms.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            (pending.take_due(now), pending.next(now))
        };
        match (due, next) {
            (Some(due), _) => tell(time_max, command, &due).await,
            (None, None) => alarms.raised.notified().await,
            (None, Some(next)) => {
                tokio::select! {
                    () = alarms.raised.notified() => {}
                    () = tokio::time::sleep_until(next) => {}
                }
            }
        }
    }
}

/// Logs the alarm for which the server ends, and runs the command for it.
pub(crate) async fn tell_last(command: Option<&SiteCommand>, alarm: Alarm) {
    log(alarm, None);
    if let Some(command) = command {
        tell(TIME_MAX, command, &Raised::new(alarm, Process::Server, 1, None)).await;
    }
}

async fn tell(time_max: Duration, (program, arguments): &SiteCommand, raised: &Raised) {
    let Ok(input) = serde_json::to_vec(raised) else { return };
    if let Err(failure) = site_program::run(program, arguments, &input, time_max).await {
        log_failure("alarms.command failed", &failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_keys::identity::Username;
    use serde_json::Value;
    use tempfile::TempDir;

    /// Ends a run of a shell's commands.
    const END: &str = "\n";

    fn script(text: &str) -> SiteCommand {
        (PathBuf::from("/bin/sh"), vec!["-c".to_owned(), text.to_owned()])
    }

    /// Runs a shell's commands for alarms, each for at most so long, and returns what they appended
    /// to `$0` once that has `lines` lines.
    async fn told(time_max: Duration, text: &str, lines: usize, raise: impl Fn(&Alarms)) -> Vec<String> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("told");
        let (program, mut arguments) = script(text);
        arguments.push(path.to_str().unwrap().to_owned());
        let alarms = Alarms::default();
        raise(&alarms);
        let command = (program, arguments);
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        let all_told = async {
            while read().matches(END).count() < lines {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = run_within(time_max, &alarms, &command) => {}
            () = all_told => {}
        }
        read().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn w01_the_command_gets_the_alarm_and_nothing_of_the_server() {
        let alice = Username::parse("alice#1234").unwrap();
        let text = "{ cat; echo; env | cut -d= -f1 | sort | tr '\\n' ' '; pwd; } >> $0";
        let told = told(TIME_MAX, text, 2, |alarms| alarms.raise(Alarm::PasskeyCopied, Some(&alice))).await;
        let json: Value = serde_json::from_str(&told[0]).unwrap();
        assert_eq!((&json["alarm"], &json["count"]), (&"passkey_copied".into(), &1.into()));
        assert_eq!((&json["username"], &json["process"]), (&"alice#1234".into(), &"server".into()));
        assert_eq!(told[1], "LANG PATH PWD /");
    }

    #[tokio::test]
    async fn w01_a_command_that_fails_hangs_or_is_absent_holds_up_no_other_alarm() {
        let raise = |alarms: &Alarms| {
            alarms.raise(Alarm::DriveNumber, None);
            alarms.heard(Alarm::Flood, 7);
        };
        let short = Duration::from_millis(200);
        for (time_max, end) in [(TIME_MAX, "exit 3"), (short, "exec sleep 600"), (short, "sleep 600; true")] {
            let told = told(time_max, &format!("{{ cat; echo; }} >> $0; {end}"), 2, raise).await;
            let told: Vec<Value> = told.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let words = told.iter().map(|told| (&told["alarm"], &told["process"], &told["count"]));
            let want = [("drive_number", "server", 1), ("flood", "gateway", 7)];
            let want = want.map(|(alarm, process, count)| (alarm.into(), process.into(), count.into()));
            assert!(words.eq(want.iter().map(|(alarm, process, count)| (alarm, process, count))), "{end}: {told:?}");
        }
        let alarms = Alarms::default();
        raise(&alarms);
        let absent = (PathBuf::from("/nonexistent/alarm"), Vec::new());
        let forever = run_within(TIME_MAX, &alarms, &absent);
        assert!(tokio::time::timeout(Duration::from_millis(50), forever).await.is_err());
        assert_eq!(alarms.pending.lock().unwrap().next(Instant::now()), None, "both were tried");
    }

    #[tokio::test]
    async fn w01_a_flood_runs_the_command_once_and_every_alarm_reaches_it() {
        let raise = |alarms: &Alarms| {
            for _ in 0..10_000 {
                alarms.heard(Alarm::Flood, 1);
            }
            for alarm in Alarm::ALL {
                alarms.raise(*alarm, None);
            }
        };
        // Of the server's own flood the command is told a minute after the gateway's.
        let runs = Alarm::ALL.len();
        let told = told(TIME_MAX, "{ cat; echo; } >> $0", runs, raise).await;
        assert_eq!(told.len(), runs, "{told:?}");
        for alarm in Alarm::ALL {
            let of_it = told.iter().filter(|line| line.contains(&format!("\"{}\"", alarm.word()))).count();
            assert_eq!(of_it, 1, "{}", alarm.word());
        }
        assert!(told[0].contains("\"count\":10000"), "{}", told[0]);
    }

    #[tokio::test]
    async fn w01_nothing_is_left_of_a_command_that_takes_too_long() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("sleeper");
        let command = script(&format!("sleep 600 & echo $! > {}; wait", path.display()));
        tell(Duration::from_millis(500), &command, &Raised::new(Alarm::DiskFull, Process::Server, 1, None)).await;
        let sleeper: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let sleeper = nix::unistd::Pid::from_raw(sleeper);
        let ends = async {
            while nix::sys::signal::kill(sleeper, None).is_ok() && !is_zombie(sleeper) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ends).await.expect("its child is killed");
    }

    fn is_zombie(pid: nix::unistd::Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}
