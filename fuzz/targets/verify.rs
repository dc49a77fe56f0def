//! The whole verification. A request that its user signed is changed in any way that needs no key
//! of the user's. If the result is accepted, it must mean what the user signed; otherwise this is a
//! vulnerability.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../../keys/tests/support/judging.rs"]
#[allow(dead_code)]
mod judging;

#[path = "edit.rs"]
mod edit;

use arbitrary::Arbitrary;
use countersign_keys::keyring::Algorithm;
use countersign_portal::core::{Deed, Flavour};
use countersign_portal::signer::{BrowserKey, Intent};
use edit::Edit;
use judging::{AUDIENCE, NOW, Site, USER};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// A change by an attacker without the user's key.
#[derive(Arbitrary, Debug)]
enum Change {
    Intent(Edit),
    Body(Edit),
    Token(Edit),
    Call(u8),
    Username(String),
    /// Signed again, by the attacker's key under the user's key id.
    Forged,
    /// Verified this many seconds later.
    Late(u8),
    /// The same request a second time.
    Again,
}

const CALLS: [&str; 6] =
    ["files.move", "files.copy", "files.trash", "files.createFolder", "files.browse", "files.transfer"];

fn deed() -> Deed {
    Deed::Move(vec![("/home/a".to_owned(), "/home/b".to_owned()), ("/home/c".to_owned(), "/home/d".to_owned())])
}

/// The members of a body that matter, read by serde_json, which is not part of the verification.
fn meaning(body: &[u8]) -> Vec<[Option<Value>; 3]> {
    let body: Value = serde_json::from_slice(body).expect("what was accepted is JSON");
    let items = body["items"].as_array().expect("what was accepted has items").clone();
    items.iter().map(|item| ["oldId", "newId", "conflictPolicy"].map(|name| item.get(name).cloned())).collect()
}

thread_local! {
    static SITE: Site = Site::new(Algorithm::Es256);
    static THIEF: BrowserKey = BrowserKey::make(countersign_portal::signer::Algorithm::Es256).unwrap();
}

fuzz_target!(|changes: Vec<Change>| {
    SITE.with(|site| {
        site.log.0.replace(countersign_keys::replay::UsedIntents::new(site.policy.terms.window, 1000, judging::at(0)));
        let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
        let signed = intent.sign(&site.key).unwrap();
        let original = deed().body(USER, "hpc", Flavour::Core2).unwrap().to_vec();
        let token = site.token();
        let (mut text, mut body, mut bearer) = (signed.clone(), original.clone(), token.clone());
        let (mut call, mut username, mut late, mut times) = ("files.move", USER.to_owned(), 0, 1);
        for change in &changes {
            match change {
                Change::Intent(edit) => text = String::from_utf8_lossy(&edit.apply(text.as_bytes())).into_owned(),
                Change::Body(edit) => body = edit.apply(&body),
                Change::Token(edit) => {
                    let secret = bearer.strip_prefix("Bearer ").unwrap_or_default().as_bytes();
                    bearer = format!("Bearer {}", String::from_utf8_lossy(&edit.apply(secret)));
                }
                Change::Call(at) => call = CALLS[usize::from(*at) % CALLS.len()],
                Change::Username(other) => username.clone_from(other),
                Change::Forged => THIEF.with(|thief| {
                    let mut thief = thief.clone();
                    thief.set_kid(site.key.kid());
                    text = intent.sign(&thief).unwrap();
                }),
                Change::Late(seconds) => late = i64::from(*seconds),
                Change::Again => times = 2,
            }
        }
        let judge = || site.judge_at(call, &body, Some(&text), &bearer, &username, NOW + late, NOW + late);
        let accepted = (0..times).filter(|_| judge().is_ok()).count();
        assert!(accepted <= 1, "accepted {accepted} times");
        if accepted == 1 {
            assert!(text == signed && bearer == token && username == USER && call == "files.move", "{changes:?}");
            assert!(late <= 60, "accepted {late} s late");
            let meant = meaning(&original);
            assert!(meaning(&body).iter().all(|item| meant.contains(item)), "{}", String::from_utf8_lossy(&body));
        } else if changes.iter().all(|change| matches!(change, Change::Again)) {
            panic!("what the user signed was refused");
        }
    });
});
