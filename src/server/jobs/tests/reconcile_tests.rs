//! Core's list of jobs against the records: what is told again, and what is left alone.

use countersign_portal::core::Control;

use super::*;

/// As [`reconcile::compare`] does, at the site's time.
async fn compare(site: &Site, unknown: &mut reconcile::Unknown) {
    reconcile::compare(&site.test.server, &site.client, &site.commands, unknown, site.now()).await.unwrap();
}

/// Core has lost what it was told last, as after a restore of its database.
fn lose(core: &Control, id: &str) {
    core.set_job_state(id, "RUNNING");
}

#[tokio::test]
async fn an_end_that_core_has_lost_is_told_again_and_to_its_user_alone() {
    let site = Site::new(false).await;
    let ids = [site.core.add_job("alice#1", None), site.core.add_job("alice#1", None)];
    site.queue(&[row(62, ALICE.0, "RUNNING", "None"), row(63, ALICE.0, "RUNNING", "None")].concat());
    for (id, slurm_id) in ids.iter().zip([62, 63]) {
        site.report(ALICE, "alice#1", id, slurm_id).await.unwrap();
    }
    site.round().await;
    site.queue("");
    site.accounts(&[record(62, ALICE.0, "FAILED", "3:0"), record(63, ALICE.0, "COMPLETED", "0:0")].concat());
    site.round().await;
    assert_eq!(ids.clone().map(|id| site.job(&id).state), ["FAILURE", "SUCCESS"]);
    site.restart();
    let mut unknown = reconcile::Unknown::new();
    compare(&site, &mut unknown).await;
    assert_eq!(site.job(&ids[0]).states, ["RUNNING", "FAILURE"], "Core knows it");
    lose(&site.core, &ids[0]);
    compare(&site, &mut unknown).await;
    compare(&site, &mut unknown).await;
    let job = site.job(&ids[0]);
    assert_eq!(job.states, ["RUNNING", "FAILURE", "FAILURE"]);
    assert_eq!(job.statuses.last().unwrap(), "The job has failed: exit code 3.");
    // Core gives the number to another user.
    site.core.remove_job(&ids[1]);
    site.core.put_job(&ids[1], "bob#1");
    compare(&site, &mut unknown).await;
    assert_eq!(site.job(&ids[1]).updates, 0);
    // After a month an end is forgotten, and its job is one without a record.
    site.let_pass(31 * 86_400);
    lose(&site.core, &ids[0]);
    compare(&site, &mut unknown).await;
    assert_eq!(site.job(&ids[0]).state, "RUNNING");
    assert!(unknown.keys().any(|id| id.as_str() == ids[0]));
}

#[tokio::test]
async fn a_job_that_only_core_names_has_failed_only_if_no_job_of_its_account_can_be_it() {
    let site = Site::new(false).await;
    let lost = site.core.add_job("alice#1", None);
    let stranger = site.core.add_job("carol#1", None);
    let reported = site.core.add_job("alice#1", None);
    let mut unknown = reconcile::Unknown::new();
    let mut look = async |after: i64| {
        site.let_pass(after);
        compare(&site, &mut unknown).await;
        site.job(&lost).state
    };
    // It may just be on its way.
    assert_eq!(look(0).await, "IN_QUEUE");
    assert_eq!(look(3_599).await, "IN_QUEUE");
    // A job of the account runs, of which its report has not come.
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    assert_eq!(look(3_600).await, "IN_QUEUE");
    site.report(ALICE, "alice#1", &reported, 62).await.unwrap();
    assert_eq!(look(3_600).await, "IN_QUEUE");
    // Slurm's list cannot be read, or Slurm does not answer.
    for script in ["echo nonsense", "exit 1"] {
        program(site.slurm.path(), "squeue", script);
        assert_eq!(look(3_600).await, "IN_QUEUE", "{script}");
    }
    program(site.slurm.path(), "squeue", "exit 0");
    assert_eq!(look(3_600).await, "FAILURE");
    let words = "The computing centre has no record of this job, and no job of yours waits or runs there.";
    assert_eq!(site.job(&lost).statuses, [words]);
    assert_eq!(look(3_600).await, "FAILURE");
    assert_eq!(site.job(&lost).updates, 1);
    assert_eq!(site.job(&stranger).updates, 0, "whose jobs are Carol's is not known here");
    assert_eq!(site.job(&reported).updates, 0, "it is on record");
}

#[tokio::test]
async fn a_job_on_record_that_core_does_not_have_is_asked_for_and_given_up_after_minutes() {
    let site = Site::new(true).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.core.remove_job(&id);
    site.restart();
    let mut unknown = reconcile::Unknown::new();
    for _ in 0..3 {
        compare(&site, &mut unknown).await;
        site.round().await;
        assert_eq!(site.done(), "");
        site.let_pass(101);
    }
    site.round().await;
    assert_eq!(site.done(), "scancel 62\n");
}

#[tokio::test]
async fn every_page_of_core_is_read() {
    let site = Site::new(false).await;
    let ids: Vec<String> = (0..120).map(|_| site.core.add_job("alice#1", None)).collect();
    for (at, state) in ["RUNNING", "SUSPENDED", "SUCCESS"].into_iter().enumerate() {
        site.core.set_job_state(&ids[at], state);
    }
    let seen = reconcile::under_way(&site.client, site.now()).await.unwrap();
    assert_eq!(seen.len(), 119);
    assert!(seen.values().all(|job| job.created_by == "alice#1"));
}
