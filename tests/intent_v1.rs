//! Tests of intents of version 1, as UCloud's own, older frontends sign them. They are accepted
//! only where the site enables them, for the least harmful calls (protocol, section 5).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;

use crate::support::test_site::{Person, TestSite, said};
use countersign_portal::signer::intent_version_1;
use countersign_portal::{Algorithm, BrowserKey, Deed, Draft, now};
use serde_json::json;

/// Adds a key of the older frontend's, as its owner would; returns the command's output.
async fn add(centre: &TestSite, alice: &Person, key: &BrowserKey) -> std::process::Output {
    let file = alice.home.join("old.jwk");
    fs::write(&file, key.public_jwk().to_string()).unwrap();
    let file = file.display().to_string();
    centre.run_as("alice", &["keys", "add", &file, "--v1", "--algorithm", "RS256", "--yes"]).await
}

/// The answer to this deed under that signature.
async fn answer(centre: &TestSite, alice: &Person, deed: &Deed, jws: &str) -> (u16, String) {
    let request = centre.core.request(&alice.username, deed, Some(jws)).unwrap();
    let answer = centre.core.invoke(&request).await.unwrap();
    (answer.status, answer.error_code())
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v32_v35_version_1_reads_and_writes_once_and_does_nothing_dangerous() {
    let centre = TestSite::open_with("[intent]\naccept_v1 = true\n").await;
    let alice = centre.connect("alice").await;
    let key = BrowserKey::make(Algorithm::Rs256).unwrap();
    let added = add(&centre, &alice, &key).await;
    assert!(added.status.success(), "{}", said(&added));
    fs::write(alice.home.join("kept"), "x").unwrap();

    let draft = |call: &str| intent_version_1(&alice.username, None, call, now());
    let sign = |draft: Draft| draft.sign(&key).unwrap();
    let refused = |code: &str| (482, code.to_owned());
    let browse = Deed::browse("/home");
    let good = sign(draft("files.browse"));
    assert_eq!(answer(&centre, &alice, &browse, &good).await, (200, String::new()), "{}", centre.last_words());
    // The intent contains nothing of the request, so it is valid once, for any request.
    assert_eq!(answer(&centre, &alice, &browse, &good).await, refused("INTENT_REPLAYED"));
    assert_eq!(answer(&centre, &alice, &Deed::browse("/home/x"), &good).await, refused("INTENT_REPLAYED"));
    let made = sign(draft("files.createFolder"));
    assert_eq!(answer(&centre, &alice, &Deed::create_folder("/home/made"), &made).await.0, 200);
    assert!(alice.home.join("made").is_dir());

    let trash = sign(draft("files.trash"));
    assert_eq!(answer(&centre, &alice, &Deed::trash("/home/kept"), &trash).await, refused("INTENT_INVALID"));
    assert!(alice.home.join("kept").exists(), "what is dangerous needs its parameters signed");

    let stranger = BrowserKey::make(Algorithm::Rs256).unwrap();
    let (at, to) = (now(), |seconds: i64| json!(now() + seconds));
    for (what, jws, code) in [
        ("another call", sign(draft("files.move")), "INTENT_INVALID"),
        ("another user", sign(intent_version_1("bob#5678", None, "files.browse", at)), "INTENT_INVALID"),
        ("a stranger's key", draft("files.browse").sign(&stranger).unwrap(), "INTENT_INVALID"),
        ("the key of version 2", draft("files.browse").sign(&alice.key).unwrap(), "INTENT_INVALID"),
        ("longer than 30 s", sign(draft("files.browse").with_claim("exp", to(31))), "INTENT_INVALID"),
        ("over", sign(draft("files.browse").with_claim("iat", to(-20)).with_claim("exp", to(-1))), "INTENT_STALE"),
        ("not yet", sign(draft("files.browse").with_claim("iat", to(60)).with_claim("exp", to(80))), "INTENT_STALE"),
        ("no end", sign(draft("files.browse").without_claim("exp")), "INTENT_INVALID"),
        ("no beginning", sign(draft("files.browse").without_claim("iat")), "INTENT_INVALID"),
        ("not signed", sign(draft("files.browse")).rsplit_once('.').unwrap().0.to_owned() + ".", "INTENT_INVALID"),
    ] {
        assert_eq!(answer(&centre, &alice, &browse, &jws).await, refused(code), "{what}");
    }
    // Intents of the new version work beside it.
    assert!(centre.browse(&alice, "/home").await.is_ok());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn version_1_is_off_unless_the_site_turns_it_on() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let key = BrowserKey::make(Algorithm::Rs256).unwrap();
    let added = add(&centre, &alice, &key).await;
    assert_eq!(added.status.code(), Some(3), "{}", said(&added));
    let jws = intent_version_1(&alice.username, None, "files.browse", now()).sign(&key).unwrap();
    let refused = (482, "INTENT_INVALID".to_owned());
    assert_eq!(answer(&centre, &alice, &Deed::browse("/home"), &jws).await, refused);
}
