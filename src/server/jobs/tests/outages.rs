//! A Slurm that is away, or comes back without its jobs, ends nothing.

use super::*;

/// Rounds of two minutes, one every 5 s.
const ROUNDS: u32 = 24;

#[tokio::test]
async fn a_controller_that_is_away_for_two_minutes_ends_nothing() {
    let site = Site::new(false).await;
    let running = site.core.add_job("alice#1", None);
    let waiting = site.core.add_job("alice#1", None);
    let queue = [row(62, ALICE.0, "RUNNING", "None"), row(63, ALICE.0, "PENDING", "Priority")].concat();
    site.queue(&queue);
    site.report(ALICE, "alice#1", &running, 62).await.unwrap();
    site.report(ALICE, "alice#1", &waiting, 63).await.unwrap();
    for _ in 0..2 {
        site.round().await;
    }
    let told = || [&running, &waiting].map(|id| (site.job(id).state, site.job(id).updates));
    let before = told();
    assert_eq!(before.clone().map(|(state, _)| state), ["RUNNING", "IN_QUEUE"]);
    // Accounting lags: it names the last state that slurmctld told it.
    site.accounts(&[record(62, ALICE.0, "RUNNING", "0:0"), record(63, ALICE.0, "PENDING", "0:0")].concat());
    let ways = [
        ("echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1", false),
        ("echo 'slurm_load_jobs error: Zero Bytes were transmitted or received' >&2; exit 1", false),
        // It has started again, and has not yet read which jobs it had.
        ("exit 0", true),
        // A part of the list, with a line that breaks off.
        ("printf '63|1100|PEN'", true),
    ];
    for (script, is_answer) in ways {
        program(site.slurm.path(), "squeue", script);
        for _ in 0..ROUNDS {
            site.let_pass(5);
            assert_eq!(poller::round(&site.test.server, &site.commands).await.is_ok(), is_answer, "{script}");
            site.tell().await;
        }
        assert_eq!(told(), before, "{script}");
    }
    program(site.slurm.path(), "squeue", &format!("exec cat {}/queue", site.slurm.path().display()));
    site.round().await;
    assert_eq!(told(), before);
}
