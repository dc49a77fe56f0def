//! Tests of the connection to Core's events, against the stand-in Core.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::Ordering;

use countersign_keys::identity::ProjectId;
use countersign_portal::core::Control;
use countersign_portal::core::events::{Event as Pushed, Owner, Wallet};
use countersign_portal::{CoreKeys, now};
use serde_json::{Value, json};

use super::*;
use crate::test_server::TestServer;

const FAST: Pace = Pace {
    ping: Duration::from_millis(10),
    silence: Duration::from_secs(60),
    quiet: Duration::from_millis(20),
    retry: (Duration::from_millis(10), Duration::from_millis(20)),
};

const CONFIG: &str = "[projects]\n[[products]]\nname = \"node\"\ncategory = \"u1\"\ntype = \"compute\"\n";

struct Centre {
    test: TestServer,
    control: Control,
    core: CoreCalls,
}

impl Centre {
    async fn open() -> Self {
        let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
        let control = Control::start(Arc::clone(&keys)).await.unwrap();
        let test = TestServer::with_core(&control.origin(), &keys, Some(control.refresh_token()), CONFIG);
        let config = &test.server.config.core;
        let core = CoreCalls::new(config.origin.clone(), config.refresh_token.clone().unwrap(), &config.ca).unwrap();
        test.now.store(now(), Ordering::SeqCst);
        Self { test, control, core }
    }

    /// Listens until the condition holds.
    async fn listen_until(&self, is_so: impl Fn() -> bool) {
        let listening = run_at(&self.test.server, &self.core, FAST);
        let seen = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            () = listening => panic!("it listens for ever"),
            seen = tokio::time::timeout(Duration::from_secs(30), seen) => seen.expect("in time"),
        }
    }

    fn has(&self, number: usize) -> bool {
        self.test.server.projects.lock().contains_key(&ProjectId::parse(&id(number)).unwrap())
    }

    fn moments(&self) -> EventMoments {
        self.test.server.records.event_moments().unwrap()
    }
}

fn id(number: usize) -> String {
    format!("0b5bd6d5-2b8a-4d3c-9f5e-{number:012}")
}

fn project(number: usize) -> Value {
    json!({
        "id": id(number), "createdAt": 1, "modifiedAt": now() * 1_000,
        "specification": {"parent": null, "title": "T", "canConsumeResources": true},
        "status": {"archived": false, "members": [{"username": "alice#1", "role": "PI"}], "groups": []},
    })
}

#[tokio::test]
async fn ev01_events_are_taken_up_also_those_that_came_while_the_server_was_away() {
    let centre = Centre::open().await;
    centre.control.push(Pushed::Project(project(1))).await;
    let wallet = Wallet {
        owner: Owner::Project(project(2)),
        category: json!({"name": "u1", "provider": "hpc"}),
        quota: 1_000,
        used: 7,
        is_locked: false,
    };
    centre.control.push(Pushed::Wallet(wallet)).await;
    // One that cannot be used, which ends nothing.
    centre.control.push(Pushed::Project(json!({"id": "../3", "modifiedAt": 1}))).await;
    centre.control.push(Pushed::Project(project(4))).await;
    centre.listen_until(|| centre.has(4) && centre.moments().handled != Timestamp::from_seconds(0)).await;
    assert!(centre.has(1) && centre.has(2));
    assert_eq!((centre.test.server.projects.lock().len(), centre.test.server.wallets.count()), (3, 1));
    let first = centre.moments();
    centre.control.push(Pushed::Project(project(5))).await;
    centre.listen_until(|| centre.has(5)).await;
    assert_eq!(centre.moments().replayed, first.replayed, "not all events again");
}

#[tokio::test]
async fn ev02_all_events_are_asked_for_once_a_day() {
    let centre = Centre::open().await;
    centre.control.push(Pushed::Project(project(1))).await;
    let begun = now();
    centre.listen_until(|| centre.moments().replayed.seconds() >= begun).await;
    let replayed = centre.moments().replayed;
    let later = centre.test.now.fetch_add(3_000, Ordering::SeqCst) + 3_000;
    centre.listen_until(|| centre.moments().handled.seconds() >= later).await;
    // An event that Core dropped.
    centre.test.server.projects.lock().clear();
    let waited = tokio::time::timeout(Duration::from_millis(300), centre.listen_until(|| centre.has(1))).await;
    assert!(waited.is_err(), "only the last minutes are replayed");
    centre.test.now.fetch_add(REPLAY_EVERY_S, Ordering::SeqCst);
    centre.listen_until(|| centre.has(1)).await;
    centre.listen_until(|| centre.moments().replayed > replayed).await;
    // Also in the middle of a connection.
    let mut link = Link::new(&centre.test.server, FAST);
    let listening = async {
        let ended = link.listen(&centre.core).await;
        assert!(ended.is_ok(), "{ended:?}");
    };
    let passing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        centre.test.now.fetch_add(REPLAY_EVERY_S, Ordering::SeqCst);
    };
    tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(listening, passing) }).await.unwrap();
}

#[tokio::test]
async fn ev03_an_unusable_frame_or_a_silent_core_ends_the_connection_alone() {
    let centre = Centre::open().await;
    let mut link = Link::new(&centre.test.server, FAST);
    for frame in [&b"\x09"[..], b"\x01", b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"] {
        assert!(matches!(link.handle(frame).await, Err(Ended::Frame(_))), "{frame:?}");
    }
    let pace = Pace { silence: Duration::from_millis(1), ping: Duration::from_millis(100), ..FAST };
    let ended = Link::new(&centre.test.server, pace).listen(&centre.core).await;
    assert!(matches!(ended, Err(Ended::Silent(_))), "{ended:?}");
    // Without an event the moment is recorded once, and the next connection begins there.
    centre.listen_until(|| centre.moments().handled.seconds() != 0).await;
}
