//! Checklist for the direct channel. Each case has one alteration and a correct
//! signature by the user's own key, so that only the tested rule can refuse it.

use std::sync::Arc;

use crate::support::judging::{self, AUDIENCE, NOW, Site, USER};
use countersign_keys::call::{Destination, Method, Route, Sender};
use countersign_keys::identity::Username;
use countersign_keys::intent::{IntentRejection, PresentedIntent, Version1};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyState};
use countersign_keys::request::{INTENT_MAX, PresentedDirect};
use countersign_keys::verify::Class;
use countersign_portal::core::{Deed, username_header};
use countersign_portal::malicious::{Altered, intents};
use countersign_portal::signer::{self, BrowserKey, Intent, Projection};

const CALL: &str = "keys.list";

fn intent() -> Intent {
    Intent::new(AUDIENCE, USER, CALL, &[Projection::default()], NOW).unwrap()
}

fn class(site: &Site, intent: &str) -> Result<String, Class> {
    let outcome = site.judge_direct(CALL, b"{}", &[("UCloud-Signed-Intent", intent)]);
    outcome.map(|username| username.as_str().to_owned()).map_err(|rejection| rejection.class())
}

#[test]
fn every_alteration_of_an_intent_is_refused_here_too() {
    let site = Site::new(Algorithm::Es256);
    let altered = intents::all(&intent(), &site.key, NOW).unwrap();
    assert!(altered.len() > 60, "only {} cases", altered.len());
    for Altered { name, it } in &altered {
        class(&site, it).expect_err(name);
    }
    assert_eq!(class(&site, &intent().sign(&site.key).unwrap()), Ok(USER.to_owned()), "the unaltered intent passes");
}

#[test]
fn v01_nothing_of_cores_opens_this_lane_and_nothing_of_this_lane_opens_cores() {
    let site = Site::new(Algorithm::Es256);
    let good = intent().sign(&site.key).unwrap();
    let signed = ("UCloud-Signed-Intent", good.as_str());
    let (token, username) = (site.token(), username_header(USER));
    let check = |headers: &[(&str, &str)], want: Class| {
        assert_eq!(site.judge_direct(CALL, b"{}", headers).unwrap_err().class(), want, "{headers:?}");
    };
    check(&[], Class::IntentRequired);
    check(&[("Authorization", &token)], Class::Malformed);
    check(&[signed, ("Authorization", &token)], Class::Malformed);
    check(&[signed, ("authorization", "Bearer x.y.z")], Class::Malformed);
    check(&[signed, ("Ucloud-Username", &username)], Class::Malformed);
    check(&[signed, signed], Class::Malformed);
    check(&[signed, ("Connection", "UCloud-Signed-Intent")], Class::Malformed);
    // A complete request of Core for this call is still not a request of Core.
    let through_core = site.judge_raw(CALL, b"{}", Some(&good), &token, USER);
    assert_eq!(through_core.unwrap_err().class(), Class::NotFound);
    // The user's intent alone is not sufficient for a call that Core sends.
    let deed = Deed::move_("/home/a", "/home/b");
    let moved = Intent::of(AUDIENCE, USER, &deed, NOW).unwrap().sign(&site.key).unwrap();
    let own = site.judge_direct(
        deed.call(),
        &deed.body(USER, "hpc", countersign_portal::Flavour::Core2).unwrap(),
        &[("UCloud-Signed-Intent", &moved)],
    );
    assert_eq!(own.unwrap_err().class(), Class::NotFound);
    site.judge_direct(CALL, b"{}", &[signed]).unwrap();
}

#[test]
fn v17_who_asks_is_who_signed() {
    let mut site = Site::new(Algorithm::Es256);
    let by = |key: &BrowserKey, username: &str| {
        Intent::new(AUDIENCE, username, CALL, &[Projection::default()], NOW).unwrap().sign(key).unwrap()
    };
    assert_eq!(class(&site, &by(&site.key, "bob#1")), Err(Class::IntentInvalid));
    let stranger = BrowserKey::make(signer::Algorithm::Es256).unwrap();
    assert_eq!(class(&site, &by(&stranger, USER)), Err(Class::IntentInvalid));
    let second = site.enrol_another();
    assert_eq!(class(&site, &by(&second, USER)), Ok(USER.to_owned()));
}

#[test]
fn v18_a_revoked_or_expired_key_asks_nothing() {
    let mut site = Site::new(Algorithm::Es256);
    site.records[0].state = KeyState::Revoked;
    assert_eq!(class(&site, &intent().sign(&site.key).unwrap()), Err(Class::IntentInvalid));
    site.records[0].state = KeyState::Active;
    site.records[0].expires = judging::at(NOW);
    assert_eq!(class(&site, &intent().sign(&site.key).unwrap()), Err(Class::IntentInvalid));
    site.records[0].expires = judging::at(NOW + 1);
    class(&site, &intent().sign(&site.key).unwrap()).unwrap();
}

#[test]
fn v26_the_body_is_what_was_signed_and_nothing_more() {
    let site = Site::new(Algorithm::Es256);
    let good = intent().sign(&site.key).unwrap();
    let with = |body: &[u8]| {
        site.judge_direct(CALL, body, &[("UCloud-Signed-Intent", &good)]).map(drop).map_err(|refused| refused.class())
    };
    assert_eq!(with(br#"{"kid":"x"}"#), Err(Class::IntentInvalid));
    assert_eq!(with(br#"{"items":[]}"#), Err(Class::IntentInvalid));
    assert_eq!(with(b"[]"), Err(Class::Malformed));
    assert_eq!(with(b"null"), Err(Class::Malformed));
    assert_eq!(with(b"{}"), Ok(()));
}

#[test]
fn v35_an_intent_is_used_once() {
    let site = Site::new(Algorithm::Es256);
    let good = intent().sign(&site.key).unwrap();
    assert!(class(&site, &good).is_ok());
    assert_eq!(class(&site, &good), Err(Class::IntentReplayed));
}

#[test]
fn an_intent_of_version_1_is_none_here_whatever_a_site_accepts() {
    let mut site = Site::new(Algorithm::Es256);
    let key = site.enrol_version_1();
    site.policy.terms.version_1 = Version1::Accepted;
    let text = signer::intent_version_1(USER, None, CALL, NOW).sign(&key).unwrap();
    assert_eq!(class(&site, &text), Err(Class::IntentInvalid));
    // It is not parsed. Even if another caller verifies it, it joins no request.
    let Some(Route::Direct(row)) = site.calls.route(Method::Post, "/ucloud/hpc/keys/list") else {
        panic!("a direct row")
    };
    let presented = || PresentedDirect::parse(row, [("ucloud-signed-intent", text.as_bytes())]).unwrap();
    assert_eq!(presented().intent().unwrap_err(), IntentRejection::Version1);
    let username = Username::parse(USER).unwrap();
    let keys: Vec<_> = site.records.iter().map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect();
    let read = PresentedIntent::parse(&text, INTENT_MAX, Version1::Accepted).unwrap();
    let verified = read.verify(&username, &keys, &site.policy.terms, judging::at(NOW)).unwrap();
    assert_eq!(presented().intend(verified).unwrap_err(), IntentRejection::Version1);
}

#[test]
fn core_adds_nothing_to_what_the_user_sends() {
    let site = Site::new(Algorithm::Es256);
    let own: Vec<_> = site.calls.rows().iter().filter(|row| row.sender() == Sender::User).collect();
    assert!(own.iter().any(|row| row.spec().to == Some(Destination::Instance)));
    for row in own {
        assert!(row.spec().adds.is_empty(), "{}", row.call());
    }
}
