//! Tests of a real installation that loses a resource (R10): it recovers or reports what is
//! missing.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;

use crate::support::test_site::{Part, TestSite, said};
use nix::sys::signal::{Signal, kill};

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn r10_a_removed_socket_is_made_again() {
    let centre = TestSite::open().await;
    fs::remove_file(centre.ipc.join("ucloud.sock")).unwrap();
    let asks = async || centre.run_as("alice", &["connect", "list"]).await.status.success();
    centre.until("the socket is there again", asks).await;
    assert!(centre.last_words().contains("recreated the socket"), "{}", centre.last_words());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn r10_a_missing_home_is_named_to_the_operator_and_the_user_gets_a_sentence() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    if let Some(pid) = centre.pid(Part::Instance("alice")) {
        kill(pid, Signal::SIGTERM).unwrap();
        centre.until("the instance has ended", async || centre.pid(Part::Instance("alice")).is_none()).await;
    }
    fs::rename("/home/alice", "/home/elsewhere").unwrap();
    let answer = centre.browse(&alice, "/home").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "ACCOUNT_REFUSED"), "{answer:?}");
    assert!(answer.text("why").contains("the provider's staff"), "{answer:?}");
    assert!(centre.last_words().contains("the home directory /home/alice does not exist"), "{}", centre.last_words());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn r10_a_missing_run_directory_is_named_with_its_remedy() {
    let centre = TestSite::furnish("").await;
    fs::remove_dir("/run/ucloud").unwrap();
    let output = centre.run_as("ucloud", &["server"]).await;
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("systemd-tmpfiles --create countersign.conf"), "{}", said(&output));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn r10_after_a_refused_reload_nobody_says_that_it_was_taken_up() {
    let centre = TestSite::open().await;
    let good = fs::read_to_string(&centre.config).unwrap();
    let reload = || kill(centre.pid(Part::Server).unwrap(), Signal::SIGHUP).unwrap();
    fs::write(&centre.config, format!("{good}\n[maintenance]\nenabled = 7\n")).unwrap();
    reload();
    let refused = async || centre.last_words().contains("what was in force stays");
    centre.until("the server says that it is refused", refused).await;
    assert!(!centre.last_words().contains("applied configuration"), "{}", centre.last_words());
    // A valid one is applied and logged, so the missing line was not merely late.
    fs::write(&centre.config, format!("{good}\n[maintenance]\nenabled = true\n")).unwrap();
    reload();
    let taken_up = async || centre.last_words().contains("applied configuration");
    centre.until("the gateway says that it is taken up", taken_up).await;
    assert_eq!(centre.last_words().matches("applied configuration").count(), 1, "{}", centre.last_words());
}
