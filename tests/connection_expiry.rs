//! Tests of expiry and maintenance in a real installation. Connections expire and are approved
//! again, and maintenance starts and ends while all processes run.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;

use crate::support::test_site::{Part, Person, TestSite};
use countersign_portal::core::{ControlCall, Outage};
use countersign_portal::{Answer, Deed};
use nix::sys::signal::{Signal, kill};

/// The answer that Core gets for one try, without `init`.
async fn once(centre: &TestSite, person: &Person) -> (u16, String) {
    let answer: Answer = centre.core.send(&centre.signed(person, &Deed::browse("/home"))).await.unwrap();
    (answer.status, answer.error_code())
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_connection_ends_is_told_to_a_core_that_was_away_and_is_approved_anew() {
    let centre = TestSite::open_with("[connection]\nexpires_after = \"6 s\"\n").await;
    assert!(centre.core.retrieve_manifest().await.unwrap().json()["expireAfterMs"].is_null());
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok());
    centre.control.wait_for(&ControlCall::Approved("alice#1234".to_owned())).await;
    assert!(centre.pid(Part::Instance("alice")).is_some());

    // The server dies before the connection expires, and Core is down when it expires.
    centre.control.set_outage(Outage::Down);
    centre.kill(Part::Server);
    centre.until("the server is back", async || centre.serves().await).await;
    let refused = (482, "INTENT_INVALID".to_owned());
    centre.until("the key is over", async || once(&centre, &alice).await == refused).await;
    centre.until("the instance has stopped", async || centre.pid(Part::Instance("alice")).is_none()).await;
    let init = centre.core.init("alice#1234").await.unwrap();
    assert_eq!(init.status, 400);
    assert!(init.text("why").contains("connect to it again"), "{init:?}");
    assert_eq!(centre.pid(Part::Instance("alice")), None);
    // Exactly one clearing always precedes the approval.
    let cleared = ControlCall::Cleared("alice#1234".to_owned());
    let clearings = || centre.control.calls().iter().filter(|call| **call == cleared).count();
    assert_eq!(clearings(), 1);
    centre.control.set_outage(Outage::None);
    centre.until("Core is told of the end", async || clearings() == 2).await;

    // After another browser is approved at the centre, the first one's key works again as well.
    let again = centre.connect("alice").await;
    assert!(centre.browse(&again, "/home").await.is_ok(), "{}", centre.last_words());
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn maintenance_begins_and_ends_while_everything_runs() {
    let centre = TestSite::open_with("[maintenance]\nenabled = false\nallow = [\"bob#5678\"]\n").await;
    let alice = centre.connect("alice").await;
    let bob = centre.connect("bob").await;
    for person in [&alice, &bob] {
        assert!(centre.browse(person, "/home").await.is_ok());
    }
    let text = fs::read_to_string(&centre.config).unwrap();
    let put = |text: &str| {
        fs::write(&centre.config, text).unwrap();
        kill(centre.pid(Part::Server).unwrap(), Signal::SIGHUP).unwrap();
    };
    let pids = || [Part::Server, Part::Gateway, Part::Instance("alice")].map(|part| centre.pid(part));
    let before = pids();
    put(&text.replace("enabled = false", "enabled = true"));
    let turned_away = (404, "MAINTENANCE".to_owned());
    centre.until("alice is turned away", async || once(&centre, &alice).await == turned_away).await;
    assert!(centre.browse(&bob, "/home").await.is_ok());
    assert!(centre.serves().await, "Core's own calls go on");
    assert_eq!(pids(), before, "nothing was ended");
    let init = async || centre.core.init("alice#1234").await.unwrap().error_code();
    centre.until("her instance is not launched", async || init().await == "MAINTENANCE").await;

    put("[provider]\n");
    put(&text);
    centre.until("alice is served again", async || once(&centre, &alice).await.0 == 200).await;
    assert_eq!(pids(), before);
}
