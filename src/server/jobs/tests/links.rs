//! Public links of jobs, from the report to the end.

use super::*;
use crate::links;
use countersign_ipc::server_protocol::LinkMade;
use countersign_keys::identity::CoreResourceId;

#[tokio::test]
async fn j07_a_job_has_its_own_users_links_until_slurm_shows_its_end() {
    const LINKS: &str = "[gateway.links]\nprefix = \"link-\"\nsuffix = \".links.example.org\"\n";
    let name = |text: &str| LinkName::parse(text).unwrap();
    let names = vec![name("paper"), name("bobs"), name("nothing")];
    let site = Site { links: names, ..Site::with(false, LINKS).await };
    let server = &site.test.server;
    for (uid, username, link, number) in [(ALICE, "alice#1", "paper", "7"), (BOB, "bob#1", "bobs", "8")] {
        let number = CoreResourceId::parse(number).unwrap();
        links::make(server, uid, LinkMade { username: user(username), name: name(link), number }).await.unwrap();
    }
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "PENDING", "Priority"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    let target = |link: &str| server.link_target(&name(link)).unwrap().map(|target| target.job.as_str().to_owned());
    site.round().await;
    assert_eq!((target("paper"), target("bobs")), (None, None), "it waits");
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.round().await;
    assert_eq!((target("paper"), target("bobs")), (Some(id.clone()), None));
    site.restart();
    assert_eq!(target("paper"), Some(id.clone()), "before Slurm has answered again");
    site.queue("");
    site.accounts(&record(62, ALICE.0, "COMPLETED", "0:0"));
    site.round().await;
    assert_eq!(target("paper"), None);
    let log = fs::read_to_string(site.test.directory.path().join("decisions.jsonl")).unwrap();
    let is_noted = |call: &str, note: &str| log.lines().any(|line| line.contains(call) && line.contains(note));
    assert!(
        is_noted("jobs.submitted", "public links paper\"") && is_noted("links.unbind", "public links paper of job")
    );
}
