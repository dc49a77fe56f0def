//! Tests of a real centre's audit log: read, proven, and verified by Countersign and by another
//! implementation (P8, P9).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::test_site::{Part, Person, TestSite, said};
use countersign_ipc::alarm::Alarm;
use countersign_portal::{Answer, Deed};
use nix::unistd::{User, chown};
use serde_json::Value;

/// More than one tile of records.
const REQUESTS: usize = 300;

/// Requests while the disk is full: many more than fit in one page.
const FULL: usize = 60;

/// Runs a command of `countersign` as the service's account, which owns the logs.
async fn ours(centre: &TestSite, arguments: &[&str]) -> Output {
    centre.run_as("ucloud", arguments).await
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", said(output)))
}

/// The reports on both logs, once all records are signed.
async fn verified(centre: &TestSite) -> Value {
    let report = async || json(&ours(centre, &["audit", "verify", "--json"]).await);
    centre
        .until("everything is signed", async || {
            report().await.as_array().unwrap().iter().all(|log| log["unsigned"] == 0)
        })
        .await;
    report().await
}

async fn folder(centre: &TestSite, alice: &Person, name: &str) -> Answer {
    centre.perform(alice, &Deed::create_folder(&format!("/home/{name}"))).await
}

/// golang.org/x/mod/sumdb checks every record's path, the checkpoints' consistency, and one proof.
fn checked_by_another(log: &Path, proof: &Path) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop-audit");
    assert!(program.exists(), "the other implementation is not built; ./test does it, with tests/interop/install");
    let output = Command::new(program).args([log, proof]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v60_another_implementation_agrees_about_a_real_log() {
    let witness = tempfile::tempdir().unwrap();
    fs::set_permissions(witness.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let kept = witness.path().join("checkpoints");
    // Several files, each with its own checkpoint, and copies of checkpoints elsewhere.
    let audit = format!("[audit]\nsegment_max = \"16 KiB\"\nwitness_every_s = 1\nwitness_file = {kept:?}\n");
    let centre = TestSite::open_with(&audit).await;
    let alice = centre.connect("alice").await;
    for number in 0..REQUESTS {
        assert!(centre.browse(&alice, "/home").await.is_ok(), "{number}: {}", centre.last_words());
    }
    let replayed = centre.signed(&alice, &Deed::browse("/home"));
    assert!(centre.core.invoke(&replayed).await.unwrap().is_ok());
    let refused = centre.core.send(&replayed).await.unwrap();
    assert_eq!(refused.error_code(), "INTENT_REPLAYED");
    let id = refused.header("x-request-id").to_owned();
    centre.kill(Part::Gateway); // whose log continues afterwards
    centre.until("the gateway serves", async || centre.serves().await).await;

    let reports = verified(&centre).await;
    let gateway = &reports[0];
    assert_eq!((gateway["log"].as_str(), reports[1]["log"].as_str()), (Some("gateway"), Some("server")));
    assert!(gateway["records"].as_u64().unwrap() > REQUESTS as u64, "{gateway}");
    assert_eq!(gateway["records"].as_u64().unwrap() as usize, centre.decisions().len());

    // The record that is shown, the record that is proven, and the key.
    let shown = ours(&centre, &["audit", "show", "--request", &id, "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_else(|why| panic!("{why}: {}", said(&shown)));
    assert_eq!((shown["decision"].as_str(), shown["username"].as_str()), (Some("refuse"), Some("alice#1234")));
    let keys = ours(&centre, &["audit", "key"]).await;
    let keys: Vec<String> = String::from_utf8(keys.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(keys.len(), 2);
    let proof = ours(&centre, &["audit", "prove", &id]).await;
    assert!(proof.status.success(), "{}", said(&proof));
    let file = centre.config.with_file_name("refusal.tlog-proof");
    fs::write(&file, &proof.stdout).unwrap();
    let path = file.to_str().unwrap();
    let checked = json(&centre.run_as("bob", &["audit", "verify", path, "--key", &keys[0], "--json"]).await);
    assert_eq!((&checked["record"], checked["good"].as_bool()), (&shown, Some(true)));
    let other_key = centre.run_as("bob", &["audit", "verify", path, "--key", &keys[1]]).await;
    assert_eq!(other_key.status.code(), Some(2), "{}", said(&other_key));

    // The other implementation reports the same about the whole log.
    let said_by_another = checked_by_another(&centre.state.join("audit/gateway"), &file);
    assert!(said_by_another.starts_with(&format!("{} records", centre.decisions().len())), "{said_by_another}");

    assert!(!said_by_another.contains(" 0 earlier"), "{said_by_another}");
    let with_copies = ["audit", "verify", "--against", kept.to_str().unwrap(), "--key", &keys[0], "--key", &keys[1]];
    let against = ours(&centre, &with_copies).await;
    assert!(
        against.status.success() && said(&against).contains("checkpoints kept elsewhere agree"),
        "{}",
        said(&against)
    );

    // No other account may read it, and both implementations reject an altered log.
    let denied = centre.run_as("bob", &["audit", "verify"]).await;
    assert_eq!(denied.status.code(), Some(1), "{}", said(&denied));
    let entries = fs::read_dir(centre.state.join("audit/gateway/entries")).unwrap().flatten();
    let newest = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some()).max().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, text.replacen("\"gateway\"", "\"server\"", 1)).unwrap();
    let tampered = ours(&centre, &["audit", "verify"]).await;
    assert_eq!(tampered.status.code(), Some(6), "{}", said(&tampered));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop-audit");
    let output = Command::new(program).args([centre.state.join("audit/gateway"), file]).output().unwrap();
    assert!(!output.status.success());
    #[allow(clippy::print_stdout, reason = "what it did")]
    {
        println!("by golang.org/x/mod/sumdb: {}", said_by_another.trim());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v41_with_a_full_disk_nothing_is_forwarded() {
    let owner = User::from_name("ucloud").unwrap().unwrap();
    let state = Path::new("/var/lib/countersign");
    fs::create_dir_all(state).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"]).arg(state).status();
    assert!(mounted.unwrap().success());
    chown(state, Some(owner.uid), Some(owner.gid)).unwrap();
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    assert!(folder(&centre, &alice, "before").await.is_ok(), "{}", centre.last_words());
    let recorded = verified(&centre).await[0]["records"].as_u64().unwrap();

    let ballast = state.join("ballast");
    fill(&ballast);
    let mut done = 0;
    for number in 0..FULL {
        // Sent once: Core would repeat it after 503, and its intent is used.
        let request = centre.signed(&alice, &Deed::create_folder(&format!("/home/full-{number}")));
        let answer = centre.core.send(&request).await.unwrap();
        // The last page of the newest file has room for some records: recorded requests may pass.
        if answer.is_ok() && done == number {
            done += 1;
            continue;
        }
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "UNAVAILABLE"), "{answer:?}");
    }
    assert!(done < FULL / 2, "the disk was not full");
    let made = (0..FULL).filter(|number| alice.home.join(format!("full-{number}")).exists()).count();
    assert_eq!(made, done);
    let full = json(&ours(&centre, &["audit", "verify", "--json"]).await);
    assert!(full[0]["records"].as_u64().unwrap() >= recorded + done as u64);

    // Both processes say so, and a load balancer sees it.
    centre.until("the alarm", async || centre.raised(Alarm::DiskFull) == 2).await;
    assert_eq!(centre.health("/readyz").await, "503");
    assert_eq!(centre.health("/healthz").await, "200");

    fs::remove_file(ballast).unwrap();
    centre.until("the gateway is ready", async || centre.health("/readyz").await == "200").await;
    centre.until("users are served", async || folder(&centre, &alice, "after").await.is_ok()).await;
    assert!(alice.home.join("after").exists());
    verified(&centre).await;
}

/// Writes until the disk is full, to the last byte.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 4096, 64, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}
