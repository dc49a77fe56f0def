//! Tests of a compromised `ucloud` account, gateway included. It holds Core's token, sees every
//! intent and sends any bytes to the instances' sockets. The user's own process still refuses (P3,
//! V57).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::socket::SEND;
use crate::support::test_site::{PROVIDER, Person, TestSite, said};
use countersign_portal::core::{Flavour, username_header};
use countersign_portal::malicious::intents;
use countersign_portal::{Algorithm, BrowserKey, Deed, Intent, now};

/// The socket of alice's instance.
fn socket(centre: &TestSite) -> PathBuf {
    let mut sockets = fs::read_dir(centre.state.join("instances")).unwrap().map(|entry| entry.unwrap().path());
    sockets.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("1101-")).expect("alice's socket")
}

/// A request as the gateway would write it, sent by that account. Returns the first line of the
/// answer and its body.
async fn send_as(centre: &TestSite, account: &str, deed: &Deed, token: &str, intent: Option<&str>) -> String {
    let body = deed.body("alice#1234", PROVIDER, Flavour::Core2).unwrap();
    let intent = intent.map(|intent| format!("ucloud-signed-intent: {intent}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /ucloud/{PROVIDER}/{} HTTP/1.1\r\nhost: instance\r\nauthorization: Bearer {token}\r\n\
         ucloud-username: {}\r\n{intent}content-length: {}\r\n\r\n",
        deed.operation(),
        username_header("alice#1234"),
        body.len(),
    );
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("request");
    fs::write(&file, [head.as_bytes(), &body].concat()).unwrap();
    let output = centre.shell_as(account, &format!("{SEND} {} {}", socket(centre).display(), file.display())).await;
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output))
}

fn sign(centre: &TestSite, key: &BrowserKey, deed: &Deed) -> String {
    Intent::of(&centre.origin(), "alice#1234", deed, now()).unwrap().sign(key).unwrap()
}

async fn with_instance(centre: &TestSite) -> Person {
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    alice
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v57_whoever_has_the_gateways_account_cannot_act_as_a_user() {
    let centre = TestSite::open().await;
    let alice = with_instance(&centre).await;
    let token = centre.keys.core2_token(now()).unwrap();
    let folder = Deed::create_folder("/home/by-ucloud");
    let check = async |what: &str, deed: &Deed, token: &str, intent: Option<&str>, want: &str| {
        let answer = send_as(&centre, "ucloud", deed, token, intent).await;
        assert!(answer.contains(want), "{what}: {answer}");
    };
    check("no intent", &folder, &token, None, "INTENT_REQUIRED").await;
    let mut forged = BrowserKey::make(Algorithm::Es256).unwrap();
    check("a key of one's own", &folder, &token, Some(&sign(&centre, &forged, &folder)), "INTENT_INVALID").await;
    forged.set_kid(alice.key.kid());
    check("under alice's key id", &folder, &token, Some(&sign(&centre, &forged, &folder)), "INTENT_INVALID").await;
    let listing = sign(&centre, &alice.key, &Deed::browse("/home"));
    check("her intent for something else", &folder, &token, Some(&listing), "INTENT_INVALID").await;
    let other = sign(&centre, &alice.key, &Deed::create_folder("/home/elsewhere"));
    check("her intent for another folder", &folder, &token, Some(&other), "INTENT_INVALID").await;
    let provider = centre.keys.provider_token(now()).unwrap();
    let hers = sign(&centre, &alice.key, &folder);
    check("the provider's own token", &folder, &provider, Some(&hers), "UNAUTHORIZED").await;
    assert!(!alice.home.join("by-ucloud").exists(), "a refused request made a folder");

    // The path itself is open: a request that alice did sign is done, and done once.
    check("what alice signed", &folder, &token, Some(&hers), "200 OK").await;
    assert!(alice.home.join("by-ucloud").is_dir());
    check("the same again", &folder, &token, Some(&hers), "INTENT_REPLAYED").await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v57_every_altered_intent_is_refused_by_the_instance_itself() {
    let centre = TestSite::open().await;
    let alice = with_instance(&centre).await;
    let token = centre.keys.core2_token(now()).unwrap();
    let folder = Deed::create_folder("/home/by-ucloud");
    let intent = Intent::of(&centre.origin(), "alice#1234", &folder, now()).unwrap();
    for altered in intents::all(&intent, &alice.key, now()).unwrap() {
        let answer = send_as(&centre, "ucloud", &folder, &token, Some(&altered.it)).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{}: {answer}", altered.name);
    }
    assert!(!alice.home.join("by-ucloud").exists());
}

/// A signer that asks no user, or an old one: its signatures allow no change to an item from which
/// a program starts.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v66_s02_what_nobody_was_asked_about_is_refused_by_gateway_and_instance() {
    let centre = TestSite::open().await;
    let alice = with_instance(&centre).await;
    let token = centre.keys.core2_token(now()).unwrap();
    let unasked = |deed: &Deed| {
        let mut intent = Intent::of(&centre.origin(), "alice#1234", deed, now()).unwrap();
        intent.asked = false;
        intent.sign(&alice.key).unwrap()
    };
    let through_core = async |deed: &Deed| {
        let request = centre.core.request(&alice.username, deed, Some(&unasked(deed))).unwrap();
        centre.core.send(&request).await.unwrap()
    };
    let harmless = Deed::create_folder("/home/harmless");
    assert!(through_core(&harmless).await.is_ok());
    for deed in [
        Deed::create_folder("/home/.config/autostart/x"),
        Deed::create_folder("/home/bin"),
        Deed::move_("/home/harmless", "/home/.local"),
        Deed::copy("/home/harmless", "/home/.x"),
        Deed::upload("/home/.bash_login", "RENAME"),
        Deed::upload("/home/harmless", "REPLACE"),
    ] {
        let answer = through_core(&deed).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"), "{deed:?}");
        let answer = send_as(&centre, "ucloud", &deed, &token, Some(&unasked(&deed))).await;
        assert!(answer.contains("INTENT_INVALID"), "{deed:?}: {answer}");
    }
    // Only the instance can know where a link leads.
    let linked = centre.shell_as("alice", "mkdir -p ~/bin && ln -s bin ~/scripts").await;
    assert!(linked.status.success(), "{}", said(&linked));
    let deed = Deed::create_folder("/home/scripts/x");
    let answer = through_core(&deed).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(!alice.home.join("bin/x").exists());
    assert!(centre.perform(&alice, &deed).await.is_ok(), "asked, it is done");
    assert!(alice.home.join("bin/x").is_dir());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v57_a_key_that_only_the_server_knows_opens_nothing() {
    let centre = TestSite::open().await;
    let alice = with_instance(&centre).await;
    // The owner of the server's store can put a key there. Alice's own file is out of reach, so the
    // test removes her key from it instead.
    let pins = alice.home.join(".config/countersign/authorized_keys");
    fs::write(&pins, "").unwrap();
    let answer = centre.browse(&alice, "/home").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v56_a_stranger_at_an_instances_socket_is_not_heard() {
    let centre = TestSite::open().await;
    let alice = with_instance(&centre).await;
    let token = centre.keys.core2_token(now()).unwrap();
    let folder = Deed::create_folder("/home/by-a-stranger");
    let intent = sign(&centre, &alice.key, &folder);
    // The directory keeps other accounts away. If it is left open by mistake, the instance
    // itself still asks the kernel for the peer's account.
    let knock = async |account: &str| send_as(&centre, account, &folder, &token, Some(&intent)).await;
    assert!(knock("mallory").await.contains("PermissionError"));
    for directory in [centre.state.clone(), centre.state.join("instances")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(socket(&centre), fs::Permissions::from_mode(0o666)).unwrap();
    for account in ["mallory", "alice"] {
        let answer = knock(account).await;
        assert!(!answer.contains("HTTP/1.1"), "{account}: {answer}");
    }
    assert!(!alice.home.join("by-a-stranger").exists());
    assert!(knock("ucloud").await.contains("200 OK"));
}
