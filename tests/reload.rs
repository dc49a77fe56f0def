//! Tests of a reload: what is new is in force, what is under way continues, and what needs a
//! restart keeps its value.

use std::fs;
use std::time::{Duration, Instant};

use countersign_portal::Deed;
use nix::sys::signal::{Signal, kill};

use crate::support::stream::Terminal;
use crate::support::test_site::{Part, TestSite};

/// A drive, no terminals, and a key that needs a restart.
const EDITED: &str = "[[drives]]\nid = \"more\"\npath = \"~/more\"\n[terminals]\noffered = false\n\
                      [audit]\nsegment_max = \"8 MiB\"\n";

impl TestSite {
    /// Writes the configuration of the start and these lines.
    fn edit(&self, start: &str, more: &str) {
        // At once, as an administrator should.
        let copy = self.config.with_extension("new");
        fs::write(&copy, format!("{start}\n{more}")).unwrap();
        fs::rename(&copy, &self.config).unwrap();
    }

    fn reload(&self) {
        kill(self.pid(Part::Server).unwrap(), Signal::SIGHUP).unwrap();
    }

    async fn until_said(&self, words: &str) {
        self.until(words, async || self.last_words().contains(words)).await;
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_reload_is_in_force_at_once_and_interrupts_nothing() {
    let centre = TestSite::open().await;
    let start = fs::read_to_string(&centre.config).unwrap();
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    for person in [&alice, &bob] {
        let made = centre.shell_as(person.account, &format!("mkdir {}/more", person.home.display())).await;
        assert!(made.status.success(), "{made:?}");
        assert!(centre.browse(person, "/home").await.is_ok(), "{}", centre.last_words());
        assert_eq!(centre.browse(person, "/more").await.status, 404);
    }
    let mut terminal = Terminal::open(&centre, &alice).await;
    let of = |part: Part| centre.pid(part);
    let (server, gateway) = (of(Part::Server), of(Part::Gateway));
    let (of_alice, of_bob) = (of(Part::Instance("alice")), of(Part::Instance("bob")));
    assert!(of_alice.is_some() && of_bob.is_some());

    centre.edit(&start, EDITED);
    centre.reload();
    // Bob has nothing open: his next request meets an instance with the new drive.
    centre.until("bob has the new drive", async || centre.browse(&bob, "/more").await.is_ok()).await;
    assert_ne!(of(Part::Instance("bob")), of_bob);
    assert_eq!(centre.perform(&bob, &Deed::Terminal("/home".to_owned())).await.status, 404);
    // Alice's terminal continues, in the instance with the old values.
    assert_eq!(terminal.run("echo still here").await, "still here\n");
    assert_eq!(of(Part::Instance("alice")), of_alice);
    assert_eq!(centre.browse(&alice, "/more").await.status, 404);
    // The key that needs a restart is named, and no process but the instances is another.
    assert!(centre.last_words().contains("audit.segment_max"), "{}", centre.last_words());
    assert_eq!((of(Part::Server), of(Part::Gateway)), (server, gateway));
    drop(terminal);
    centre.until("alice has the new drive", async || centre.browse(&alice, "/more").await.is_ok()).await;
    assert_ne!(of(Part::Instance("alice")), of_alice);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn s01_a_gateway_that_starts_after_an_edit_judges_by_what_is_in_force() {
    let centre = TestSite::open().await;
    let start = fs::read_to_string(&centre.config).unwrap();
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    // There was no reload, and the gateway reads the file when it starts.
    centre.edit(&start, "[maintenance]\nenabled = true\n");
    centre.kill(Part::Gateway);
    centre.until_said("applied configuration").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "the edit is not in force: {}", centre.last_words());
    centre.reload();
    let is_turned_away = async || centre.browse(&alice, "/home").await.error_code() == "MAINTENANCE";
    centre.until("now it is", is_turned_away).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn requests_go_on_while_everything_is_reloaded_again_and_again() {
    let centre = TestSite::open().await;
    let start = fs::read_to_string(&centre.config).unwrap();
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    for turn in 0..5 {
        let before = centre.pid(Part::Instance("alice"));
        centre.edit(&start, if turn % 2 == 0 { EDITED } else { "" });
        centre.reload();
        centre
            .until("the instance is another", async || {
                let answer = centre.browse(&alice, "/home").await;
                assert!(answer.is_ok(), "in turn {turn}: {answer:?}\n{}", centre.last_words());
                let now = centre.pid(Part::Instance("alice"));
                now.is_some() && now != before
            })
            .await;
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn an_instance_ends_after_the_new_idle_time_and_the_next_request_starts_another() {
    let centre = TestSite::open().await;
    let start = fs::read_to_string(&centre.config).unwrap();
    let alice = centre.connect("alice").await;
    centre.edit(&start.replace("launch = \"sudo\"", "launch = \"sudo\"\nidle_stop_s = 10"), "");
    centre.reload();
    centre.until_said("instances.idle_stop_s").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let first = centre.pid(Part::Instance("alice"));
    centre.until("it is idle, and ends", async || centre.pid(Part::Instance("alice")).is_none()).await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let next = centre.pid(Part::Instance("alice"));
    assert!(next.is_some() && next != first);
}

/// Keys that the gateway has cached expire with their connection.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p6_connections_that_a_reload_lets_expire_are_over_at_once() {
    let centre = TestSite::open().await;
    let start = fs::read_to_string(&centre.config).unwrap();
    let alice = centre.connect("alice").await;
    let connected = Instant::now();
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    centre.until("a second has passed", async || connected.elapsed() > Duration::from_secs(2)).await;
    centre.edit(&start, "[connection]\nexpires_after = \"1 s\"\n");
    centre.reload();
    centre.until_said("applied configuration").await;
    let answer = centre.browse(&alice, "/home").await;
    assert!(!answer.is_ok(), "{answer:?}");
    centre.until("her instance ends", async || centre.pid(Part::Instance("alice")).is_none()).await;
}
