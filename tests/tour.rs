//! Performs every action of two users at a centre through UCloud, from connecting to disconnecting,
//! as UCloud's current Core triggers them. One run uses TLS and deposits, the other plain HTTP and
//! intents in a header. In the middle of each part the test kills the server with all that belongs
//! to it, then restarts it in systemd's place.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::time::Duration;

use crate::support::stream::{Terminal, message, rpc};
use crate::support::test_site::{Offered, PROVIDER, Part, Person, TestSite, said};
use crate::support::transfer::{download, send, token};
use countersign_portal::core::ControlCall;
use countersign_portal::session::{CONTINUE, OPEN, Piece};
use countersign_portal::signer::Projection;
use countersign_portal::{Algorithm, Deed, Intent};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

const ALICE: &str = "alice#1234";
/// The user of Bob's account has a name that is not ASCII.
const BOB: &str = "Ælice#0042";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB alice@laptop";
const MORE: &str = "[ssh]\nkeys = true\n[maintenance]\nenabled = false\nallow = []\n\
    [[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\
    [[products]]\nname = \"own\"\ncategory = \"own\"\ntype = \"storage\"\n\
    [[drives]]\nid = \"own-{name}\"\npath = \"~/Drives/{name}\"\ntitle = \"{name}\"\nproduct = \"own\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn the_whole_tour_over_http_1() {
    tour(TestSite::open_with(MORE).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn the_whole_tour_over_tls_with_deposits() {
    tour(TestSite::open_over_tls(MORE).await).await;
}

async fn tour(centre: TestSite) {
    let alice = connect(&centre, "alice", ALICE).await;
    let bob = connect(&centre, "bob", BOB).await;
    drives(&centre, &alice, &bob).await;
    files(&centre, &alice).await;
    transfers(&centre, &alice).await;
    search(&centre, &alice).await;
    tasks(&centre, &alice).await;
    terminal(&centre, &alice).await;
    ssh_keys(&centre, &alice).await;
    project(&centre, &alice).await;
    maintenance(&centre, &alice, &bob).await;
    disconnecting(&centre, alice, &bob).await;
    let verified = centre.run_as("ucloud", &["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", said(&verified));
}

/// Kills the server, and with it gateway and instances, and waits for their successors.
async fn restart(centre: &TestSite) {
    let gateway = centre.pid(Part::Gateway).unwrap();
    centre.kill(Part::Server);
    // A gateway whose server is gone may answer a last time.
    centre.until("the gateway has ended", async || kill(gateway, None).is_err()).await;
    centre.until("others serve", async || centre.serves().await).await;
}

/// Performs the deed, repeated as Core does while the instance starts, and expects success.
async fn does(centre: &TestSite, person: &Person, deed: &Deed) -> serde_json::Value {
    let answer = centre.perform(person, deed).await;
    assert!(answer.is_ok(), "{}: {answer:?}\n{}", deed.call(), centre.last_words());
    answer.json()
}

async fn connect(centre: &TestSite, account: &'static str, username: &str) -> Person {
    let Offered { page, key, code } = centre.offer(username, Algorithm::Es256).await;
    restart(centre).await;
    let approved = centre.run_as(account, &["connect", "approve", &code, "--yes"]).await;
    assert!(approved.status.success(), "{}\n{}", said(&approved), centre.last_words());
    let probe = page.probe(&key, username).await.unwrap();
    assert!(probe.is_ok(), "{probe:?}");
    centre.control.wait_for(&ControlCall::Approved(username.to_owned())).await;
    Person { username: username.to_owned(), account, home: centre.home(account), key }
}

/// Both have a home and make drives of the same title. The ids at Core differ, and each user opens
/// their own.
async fn drives(centre: &TestSite, alice: &Person, bob: &Person) {
    let make = |number: &str| Deed::CreateDrive {
        title: "Photos".to_owned(),
        product: "own".to_owned(),
        provider: PROVIDER.to_owned(),
        number: number.to_owned(),
    };
    let id = |answer: serde_json::Value| answer["responses"][0]["id"].as_str().unwrap().to_owned();
    let first = id(does(centre, alice, &make("9001")).await);
    restart(centre).await;
    let second = id(does(centre, bob, &make("9002")).await);
    assert_ne!(first, second);
    let homes = || {
        let drives = centre.control.drives();
        let homes = drives.into_iter().filter(|drive| drive.provider_generated_id.starts_with("h-"));
        homes.map(|drive| drive.created_by).collect::<std::collections::BTreeSet<_>>()
    };
    centre.until("both have a home at Core", async || homes().len() == 2).await;
    does(centre, bob, &Deed::create_folder("/9002/of-bob")).await;
    assert!(bob.home.join("Drives/Photos/of-bob").is_dir());
    assert_eq!(centre.perform(alice, &Deed::browse("/9002")).await.status, 404, "another user's");
    does(centre, alice, &Deed::RenameDrive("9001".into(), "Pictures".into())).await;
    does(centre, alice, &Deed::DeleteDrives(vec!["9001".into()])).await;
    assert!(!alice.home.join("Drives/Photos").exists());
}

async fn files(centre: &TestSite, alice: &Person) {
    does(centre, alice, &Deed::create_folder("/home/blåbær")).await;
    restart(centre).await;
    does(centre, alice, &Deed::copy("/home/blåbær", "/home/copy")).await;
    does(centre, alice, &Deed::move_("/home/copy", "/home/moved")).await;
    let listed = does(centre, alice, &Deed::browse("/home")).await;
    let has = |id: &str| listed["items"].as_array().unwrap().iter().any(|item| item["id"] == id);
    assert!(has("/home/blåbær") && has("/home/moved") && !has("/home/copy"), "{listed}");
    assert_eq!(does(centre, alice, &Deed::retrieve("/home/moved")).await["id"], "/home/moved");
    let missing = centre.perform(alice, &Deed::retrieve("/home/copy")).await;
    assert_eq!((missing.status, missing.error_code().as_str()), (404, "NOT_FOUND"), "{missing:?}");
    does(centre, alice, &Deed::Trash(vec!["/home/blåbær".into(), "/home/moved".into()])).await;
    does(centre, alice, &Deed::EmptyTrash(vec!["/home/Trash".into()])).await;
    assert_eq!(fs::read_dir(alice.home.join("Trash")).map_or(0, Iterator::count), 0);
}

async fn transfers(centre: &TestSite, alice: &Person) {
    let content: Vec<u8> = (0..900_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    let halves = content.split_at(500_000);
    let total = i64::try_from(content.len()).unwrap();
    let first = Piece { offset: 0, bytes: halves.0, total };
    let second = Piece { offset: i64::try_from(halves.0.len()).unwrap(), bytes: halves.1, total };

    // An upload does not outlive its instance: no part of it is left, and its user starts it again.
    let deed = Deed::upload("/home/f.bin", "RENAME");
    let lost = token(&centre.perform(alice, &deed).await);
    assert!(send(centre, alice, OPEN, &lost, &first).await.is_ok());
    restart(centre).await;
    assert!(!send(centre, alice, CONTINUE, &lost, &second).await.is_ok());
    let again = token(&centre.perform(alice, &deed).await);
    assert!(!alice.home.join("f.bin").exists());
    for (call, piece) in [(OPEN, &first), (CONTINUE, &second)] {
        let answer = send(centre, alice, call, &again, piece).await;
        assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    }
    assert!(fs::read(alice.home.join("f.bin")).unwrap() == content);
    let fetched = download(centre, alice, "/home/f.bin", &[]).await;
    assert!(fetched.status == 200 && fetched.bytes == content);
}

async fn search(centre: &TestSite, alice: &Person) {
    for number in 0..30 {
        centre.write(alice, &format!("Needle-{number}"), b"");
    }
    restart(centre).await;
    let item = Projection::new([("query", json!("needle")), ("currentFolder", json!("/home"))]);
    let payload = json!({"query": "needle", "currentFolder": "/home"});
    let call = format!("files.provider.{PROVIDER}.streamingSearch");
    // Core opens the socket whether an instance runs or not.
    let mut socket = rpc(centre, alice, &format!("/ucloud/{PROVIDER}/files")).await;
    socket.say(message(centre, alice, ("files.streamingSearch", &call), &item, &payload)).await;
    let (mut found, mut last) = (0, serde_json::Value::Null);
    while let Some(heard) = socket.hear_json().await {
        found += heard["payload"]["batch"].as_array().map_or(0, Vec::len);
        last = heard;
    }
    assert_eq!((found, &last["payload"]["type"]), (30, &json!("end_of_results")), "{last}\n{}", centre.last_words());
}

/// A copy stays paused as long as its user likes, resumes, and fails with its instance. Here the
/// provider is silent for six minutes of Core's time, since its own clock does not move. Core takes
/// the task out of the list and still knows it. (`c07_…` shows that the provider is not silent for
/// so long by its own clock.)
async fn tasks(centre: &TestSite, alice: &Person) {
    let folders =
        "mkdir from; cd from; for i in $(seq 100); do mkdir $i; seq 100 | while read j; do : > $i/$j; done; done";
    let made = centre.shell_as("alice", &format!("cd {}; {folders}", alice.home.display())).await;
    assert!(made.status.success(), "{}", said(&made));
    does(centre, alice, &Deed::browse("/home")).await;
    let copies = (0..200).map(|n| ("/home/from".to_owned(), format!("/home/copy{n}"))).collect();
    does(centre, alice, &Deed::Copy(copies)).await;
    centre.until("the task is shown", async || !centre.control.tasks().is_empty()).await;
    let task = centre.control.tasks().remove(0);
    assert_eq!(task.user, ALICE);
    let state = || centre.control.tasks()[0].states.last().cloned().unwrap_or_default();
    let say = async |state: &str| centre.perform(alice, &Deed::PauseOrCancel(task.id, state.to_owned())).await.status;
    centre.until("it rests", async || say("SUSPENDED").await == 200).await;
    centre.until("Core shows that it rests", async || state() == "SUSPENDED").await;
    assert_eq!(centre.control.listed_tasks().len(), 1);
    centre.control.let_pass(Duration::from_secs(6 * 60));
    assert!(centre.control.listed_tasks().is_empty(), "{:?}", centre.control.tasks());
    assert_eq!(state(), "SUSPENDED");
    assert_eq!(say("RUNNING").await, 200);
    centre.until("Core shows that it goes on", async || state() == "RUNNING").await;
    assert_eq!(centre.control.listed_tasks().len(), 1, "what is heard of again is listed again");
    restart(centre).await;
    centre.until("Core shows that it failed", async || state() == "FAILURE").await;
}

async fn terminal(centre: &TestSite, alice: &Person) {
    let mut first = Terminal::open(centre, alice).await;
    assert_eq!(first.run("id -un").await, "alice\n");
    restart(centre).await;
    while first.browser.hear().await.is_some() {}
    let mut second = Terminal::open(centre, alice).await;
    assert_eq!(second.run("printf 'gr\\303\\270d\\n'").await, "grød\n");
}

async fn ssh_keys(centre: &TestSite, alice: &Person) {
    let installed = || fs::read_to_string(alice.home.join(".ssh/authorized_keys")).unwrap_or_default();
    does(centre, alice, &Deed::UploadKeys(vec![KEY.to_owned()])).await;
    assert_eq!(installed(), format!("{KEY} ucloud-integration\n"));
    restart(centre).await;
    does(centre, alice, &Deed::UploadKeys(Vec::new())).await;
    assert_eq!(installed(), "");
}

/// A user who acts in a project signs for their own home without it: the project is the folder
/// owner's.
async fn project(centre: &TestSite, alice: &Person) {
    let deed = Deed::create_folder("/home/in-a-project");
    let intent = Intent { project: Some("b5a1".to_owned()), ..centre.intent(alice, &deed) };
    let refused = centre.perform_signed(alice, &deed, &intent).await;
    assert_eq!(refused.status, 482, "{refused:?}");
    assert!(!alice.home.join("in-a-project").exists());
    restart(centre).await;
    does(centre, alice, &deed).await;
    assert!(alice.home.join("in-a-project").is_dir());
}

async fn maintenance(centre: &TestSite, alice: &Person, bob: &Person) {
    let text = fs::read_to_string(&centre.config).unwrap();
    fs::write(&centre.config, text.replace("enabled = false", "enabled = true")).unwrap();
    kill(centre.pid(Part::Server).unwrap(), Signal::SIGHUP).unwrap();
    let is_turned_away =
        async |person: &Person| centre.perform(person, &Deed::browse("/home")).await.error_code() == "MAINTENANCE";
    centre.until("alice is turned away", async || is_turned_away(alice).await).await;
    restart(centre).await;
    assert!(is_turned_away(bob).await && centre.serves().await);
    fs::write(&centre.config, text).unwrap();
    kill(centre.pid(Part::Server).unwrap(), Signal::SIGHUP).unwrap();
    centre.until("alice is served", async || centre.browse(alice, "/home").await.is_ok()).await;
}

/// Alice leaves from UCloud's side, bob from the centre's; alice connects again.
async fn disconnecting(centre: &TestSite, alice: Person, bob: &Person) {
    assert!(centre.core.unlinked(ALICE).await.unwrap().is_ok());
    assert_ne!(centre.browse(&alice, "/home").await.status, 200);
    restart(centre).await;
    assert_ne!(centre.browse(&alice, "/home").await.status, 200);
    let removed = centre.run_as("bob", &["connect", "remove", "--yes"]).await;
    assert!(removed.status.success(), "{}", said(&removed));
    centre.control.wait_for(&ControlCall::Cleared(BOB.to_owned())).await;
    assert_ne!(centre.browse(bob, "/home").await.status, 200);
    let alice = connect(centre, "alice", ALICE).await;
    does(centre, &alice, &Deed::browse("/home")).await;
}
