//! Records of accounting are read whole, or not at all.

use super::*;

fn one(line: &str) -> Option<Record> {
    records(line.as_bytes()).rows.into_iter().next()
}

#[test]
fn records_of_22_05_are_read() {
    let record =
        one("1|FAILED|3:0|0:0|1001|1795944092|1795944092|1795944095|3|billing=1,cpu=1,mem=10M,node=1|n1").unwrap();
    assert_eq!((record.id.get(), record.uid, record.state), (1, 1001, JobState::Failed));
    assert_eq!((record.exit, record.derived), (ExitCode { code: 3, signal: 0 }, Some(ExitCode::default())));
    assert_eq!((record.end, record.memory.as_deref()), (Some(1_795_944_095), Some("10M")));
    // Cancelled while it waited: no start, no node, nothing allocated.
    let record = one("15|CANCELLED by 1001|0:0|0:0|1001|1795944092|None|1795944095|0||None assigned").unwrap();
    assert_eq!((record.state, record.start, record.memory), (JobState::Cancelled { by: Some(1001) }, None, None));
    // What accounting says while it lags.
    let record = one("62|PENDING|0:0|0:0|0|1795944092|Unknown|Unknown|0||None assigned").unwrap();
    assert_eq!((record.uid, record.end), (0, None));
}

#[test]
fn steps_forged_rows_and_other_columns_are_not_records() {
    for bad in [
        "14.batch|COMPLETED|0:0||1001|1|1|1|8|cpu=1|n1",
        "62|a|b|RUNNING|0:0|0:0|1001|1|1|1|8|cpu=1|n1",
        "62|COMPLETED|0|0:0|1001|1|1|1|8|cpu=1|n1",
        "62|COMPLETED|0:0|0:0|root|1|1|1|8|cpu=1|n1",
        "62|COMPLETED|0:0|0:0|1001|1|1|1|8|cpu=1",
        "62|COMPLETED|0:0|0:0|1001|2026-11-28T07:19:38|1|1|8|cpu=1|n1",
        "",
    ] {
        assert!(one(bad).is_none(), "{bad}");
    }
}

#[test]
fn exit_codes_are_read_in_both_forms() {
    let check = |text: &str, want: Option<(u32, u32)>| {
        assert_eq!(ExitCode::of_wait_status(text).map(|exit| (exit.code, exit.signal)), want, "{text}");
    };
    check("768", Some((3, 0)));
    check("11", Some((0, 11)));
    check("139", Some((0, 11))); // with a core dump
    check("3:0", Some((3, 0)));
    check("", Some((0, 0)));
    check("-1", None);
}

#[tokio::test]
async fn no_job_is_asked_for_without_asking_slurm() {
    // `sacct -j ''` would list every job of every user. Here is no program that could be run.
    let nowhere = Commands::new("/nonexistent".into(), None);
    assert!(nowhere.sacct(&[], 600).await.unwrap().rows.is_empty());
}
