//! Choices of a job's account on a real Slurm: what the user's own instance has looked up is
//! offered, and nothing else is taken.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use crate::jobs::Site;
use crate::support::slurm::Slurm;
use crate::support::test_site::TestSite;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j08_a_user_chooses_an_account_that_slurm_names_and_no_other() {
    let slurm = Slurm::start(&["alice"]).await;
    slurm.run(&["sacctmgr", "--immediate", "add", "account", "second,others"]).await;
    slurm.run(&["sacctmgr", "--immediate", "add", "user", "alice", "account=second"]).await;
    let tables = slurm.tables().replacen("poll_s = 1\n", "poll_s = 1\nask_account = true\n", 1);
    let centre = TestSite::open_with(&tables).await;
    let site = Site::of(slurm, centre).await;
    let asked = async |username: &str| -> Value {
        let body = json!({"owner": {"createdBy": username, "project": null}, "application": {}}).to_string();
        let (call, body) = ("jobs/requestDynamicParameters", Some(body.as_bytes()));
        site.centre.core.call("POST", call, Some(username), None, body).await.unwrap().json()["parameters"].clone()
    };
    let want = json!([{"name": "centre", "value": "centre"}, {"name": "second", "value": "second"}]);
    let is_offered = async || asked(&site.alice.username).await[0]["options"] == want;
    site.centre.until("alice is offered the accounts", is_offered).await;
    assert_eq!(asked("bob#5678").await, json!([]), "of others nothing is told");
    let with = |account: &str| {
        let mut parameters = Site::numbers(3);
        parameters["_injected_slurmAccount"] = json!({"type": "text", "value": account});
        parameters
    };
    for (number, account) in [("54201", "others"), ("54202", "--uid=0"), ("54203", "Second")] {
        let refused = site.start(number, "count", "2.1", with(account)).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let started = site.start("54204", "count", "2.1", with("second")).await;
    assert_eq!(started.status, 200, "{started:?}");
    let jobs = site.slurm.run(&["squeue", "-h", "-a", "-t", "all", "-o", "%j|%a"]).await;
    assert_eq!(jobs.lines().filter(|line| line.starts_with("542")).collect::<Vec<_>>(), ["54204|second"]);
}
