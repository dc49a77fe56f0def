//! Tests of the service manager's signals: `SIGTERM` lets running work finish, and `SIGHUP` ends
//! nothing.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::test_site::{PROVIDER, Part, Person, TestSite, said};
use countersign_portal::{Deed, Endpoint, Request, TestCertificate};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{User, chown};

fn tell(centre: &TestSite, part: Part, signal: Signal) {
    kill(centre.pid(part).unwrap(), signal).unwrap();
}

async fn with_much_to_copy() -> (TestSite, Person) {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let script =
        "mkdir from to; cd from; for i in $(seq 200); do mkdir $i; for j in $(seq 50); do : > $i/$j; done; done";
    let made = centre.shell_as("alice", &format!("cd {}; {script}", alice.home.display())).await;
    assert!(made.status.success(), "{}", said(&made));
    (centre, alice)
}

/// The request for a copy that was answered although that process was told to stop meanwhile.
async fn copied_while(centre: &TestSite, alice: &Person, part: Part) -> Request {
    let to = alice.home.join("to");
    let request = centre.signed(alice, &Deed::copy("/home/from", "/home/to/copy"));
    let stopping = async {
        centre.until("the copy is under way", async || fs::read_dir(&to).unwrap().count() > 0).await;
        assert!(!to.join("copy").exists());
        tell(centre, part, Signal::SIGTERM);
    };
    let (answer, ()) = tokio::join!(centre.core.send(&request), stopping);
    let answer = answer.unwrap_or_else(|fault| panic!("{fault:?}\n{}", centre.last_words()));
    assert_eq!(answer.status, 200, "{answer:?}\n{}", centre.last_words());
    request
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_gateway_that_is_told_to_stop_by_itself_finishes_too() {
    let (centre, alice) = with_much_to_copy().await;
    let before = centre.pid(Part::Gateway);
    copied_while(&centre, &alice, Part::Gateway).await;
    centre.until("its successor serves", async || centre.serves().await).await;
    assert_ne!(centre.pid(Part::Gateway), before);
    assert_eq!(centre.starts(), 1);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn told_to_stop_they_finish_what_is_under_way_and_end() {
    let (centre, alice) = with_much_to_copy().await;
    let to = alice.home.join("to");
    let before = [Part::Server, Part::Gateway, Part::Instance("alice")].map(|part| centre.pid(part).unwrap());
    let request = copied_while(&centre, &alice, Part::Server).await;
    centre.until("the copy is complete", async || to.join("copy/200/50").exists() || to.join("copy").exists()).await;
    assert_eq!(fs::read_dir(to.join("copy")).unwrap().count(), 200);
    let is_gone = |pid| kill(pid, None).is_err();
    centre.until("all of them have ended", async || before.into_iter().all(is_gone)).await;
    centre.until("the service manager has started another", async || centre.serves().await).await;
    assert_eq!(centre.starts(), 2);
    assert!(centre.browse(&alice, "/home").await.is_ok());
    assert_eq!(centre.core.send(&request).await.unwrap().error_code(), "INTENT_REPLAYED");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn told_to_read_again_they_go_on() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let pids = || [Part::Server, Part::Gateway, Part::Instance("alice")].map(|part| centre.pid(part));
    let before = pids();
    for part in [Part::Server, Part::Gateway, Part::Instance("alice"), Part::Server] {
        tell(&centre, part, Signal::SIGHUP);
        for _ in 0..5 {
            assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
        }
    }
    assert_eq!(pids(), before);
    assert_eq!(centre.starts(), 1);
}

/// Replaces the certificate files, as a renewal does.
fn put_certificate(centre: &TestSite, name: &str) -> String {
    let TestCertificate { authority_pem, certificate_pem, key_pem } = TestCertificate::make("localhost").unwrap();
    let etc = centre.config.parent().unwrap();
    let ucloud = User::from_name("ucloud").unwrap().unwrap();
    for (file, text, mode) in [("fullchain.pem", certificate_pem, 0o644), ("key.pem", key_pem, 0o600)] {
        let aside = etc.join("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(mode)).unwrap();
        chown(&aside, Some(ucloud.uid), Some(ucloud.gid)).unwrap();
        fs::rename(aside, etc.join(file)).unwrap();
    }
    let authority = format!("/run/tmp/{name}.pem");
    fs::write(&authority, authority_pem).unwrap();
    authority
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_certificate_that_was_renewed_is_taken_up() {
    let tls = "tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }";
    let centre = TestSite::furnish_at(Endpoint::plain, tls, "").await;
    let first = put_certificate(&centre, "first");
    centre.supervise();
    let address = centre.origin().replace("http://127.0.0.1", "https://localhost");
    let is_believed = async |authority: &str| {
        let page = format!("{address}/ucloud/{PROVIDER}/connect");
        let script = format!("curl --silent --show-error --output /dev/null --cacert {authority} {page}");
        centre.shell_as("root", &script).await.status.success()
    };
    centre.until("the gateway serves", async || is_believed(&first).await).await;
    let gateway = centre.pid(Part::Gateway);

    let second = put_certificate(&centre, "second");
    assert!(!is_believed(&second).await, "nobody has told it");
    tell(&centre, Part::Server, Signal::SIGHUP);
    centre.until("the second certificate is in use", async || is_believed(&second).await).await;
    assert!(!is_believed(&first).await);

    // A certificate that does not match its key changes nothing.
    let keeps = fs::read(centre.config.with_file_name("key.pem")).unwrap();
    put_certificate(&centre, "third");
    fs::write(centre.config.with_file_name("key.pem"), keeps).unwrap();
    tell(&centre, Part::Server, Signal::SIGHUP);
    let refusal = "gateway.tls.key: the key does not fit the certificate";
    centre.until("the third is refused", async || centre.last_words().contains(refusal)).await;
    assert!(is_believed(&second).await);
    assert_eq!(centre.pid(Part::Gateway), gateway);
}
