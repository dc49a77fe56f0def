//! The script that a user signs with a job (protocol, section 12). No request of Core has its
//! digest, so the intent carries it, and nothing but the signed one fits.

use crate::support::judging::{AUDIENCE, NOW, Site, USER};
use countersign_keys::bind::{BindRejection, Items};
use countersign_keys::intent::{PresentedIntent, ScriptDigest, Version1};
use countersign_keys::json::Json;
use countersign_keys::keyring::{Algorithm, EnrolledKey};
use countersign_keys::request::INTENT_MAX;
use countersign_keys::verify::Rejection;
use countersign_portal::core::{Deed, Flavour};
use countersign_portal::signer::Intent;
use serde_json::{Value, json};
use std::sync::Arc;

fn specification() -> Value {
    json!({
        "application": {"name": "sleep", "version": "1"}, "replicas": 1, "name": "n",
        "product": {"id": "c1", "category": "c", "provider": "hpc"}, "parameters": {"s": {"type": "integer", "value": 3}},
    })
}

fn job(script: Option<&str>) -> Deed {
    let script = script.map(|shown| ScriptDigest::of(shown).as_str().to_owned());
    Deed::StartJob { number: "7".to_owned(), specification: specification(), script }
}

fn intent(deed: &Deed) -> Intent {
    Intent::of(AUDIENCE, USER, deed, NOW).unwrap()
}

const REFUSED: Result<(), Rejection> = Err(Rejection::Bind(BindRejection::Parameters));

#[test]
fn j01_a_job_is_started_with_the_script_that_was_signed_or_without_one() {
    let site = Site::new(Algorithm::Es256);
    for deed in [job(None), job(Some("#!/bin/sh\nsleep 3\n"))] {
        let signed = intent(&deed);
        assert_eq!(site.judge(&deed, Some(&signed.sign(&site.key).unwrap())), Ok(()));
    }
}

#[test]
fn j01_no_party_in_between_can_add_take_or_change_the_script() {
    let site = Site::new(Algorithm::Es256);
    let with = intent(&job(Some("#!/bin/sh\nsleep 3\n")));
    let other = ScriptDigest::of("#!/bin/sh\nrm -rf ~\n").as_str().to_owned();
    // All of these are signed by the user's key, so that only the digest of the item refuses them.
    for script in [None, Some(other.clone())] {
        let altered = Intent { script, ..with.clone() };
        assert_eq!(site.judge(&job(None), Some(&altered.sign(&site.key).unwrap())), REFUSED);
    }
    let added = Intent { script: Some(other), ..intent(&job(None)) };
    assert_eq!(site.judge(&job(None), Some(&added.sign(&site.key).unwrap())), REFUSED);
}

#[test]
fn j01_core_may_repeat_the_script_only_where_the_intent_does_not() {
    let site = Site::new(Algorithm::Es256);
    let deed = job(Some("#!/bin/sh\n"));
    let signed = intent(&deed);
    let script = signed.script.clone().unwrap();
    let mut body: Value = serde_json::from_slice(&deed.body(USER, "hpc", Flavour::Core2).unwrap()).unwrap();
    body["items"][0]["script"] = json!(script);
    let body = body.to_string();
    let judge = |intent: &Intent| {
        let intent = intent.sign(&site.key).unwrap();
        site.judge_raw(deed.call(), body.as_bytes(), Some(&intent), &site.token(), USER)
    };
    assert_eq!(judge(&signed), Err(Rejection::Bind(BindRejection::Ambiguous("script".to_owned()))));
    assert_eq!(judge(&Intent { script: None, ..signed.clone() }), Ok(()));
    assert_eq!(judge(&intent(&job(None))), REFUSED);
}

/// A deposit waits for the request that it fits: the same rule, before the request is judged.
#[test]
fn j01_a_deposit_with_a_script_fits_its_request_alone() {
    let site = Site::new(Algorithm::Es256);
    let (deed, row) = (job(Some("#!/bin/sh\n")), site.calls.row("jobs.create").unwrap());
    let keys = [Arc::new(EnrolledKey::from_record(&site.records[0]).unwrap())];
    let check = |intent: &Intent, deed: &Deed, want: bool| {
        let text = intent.sign(&site.key).unwrap();
        let presented = PresentedIntent::parse(&text, INTENT_MAX, Version1::Refused).unwrap();
        let verified = presented.verify(
            keys[0].owner(),
            &keys,
            &site.policy.terms,
            countersign_keys::time::Timestamp::from_seconds(NOW),
        );
        let body = deed.body(USER, "hpc", Flavour::Core2).unwrap();
        let items = Items::read(row, &body).unwrap();
        assert_eq!(verified.unwrap().fits(row, &items), want);
    };
    check(&intent(&deed), &deed, true);
    check(&intent(&job(None)), &deed, true);
    check(&Intent { script: None, ..intent(&deed) }, &deed, false);
    let other = Deed::StartJob { number: "7".to_owned(), specification: json!({"replicas": 2}), script: None };
    check(&intent(&deed), &other, false);
}

#[test]
fn j01_the_object_that_is_signed_has_the_script_beside_the_specification() {
    let site = Site::new(Algorithm::Es256);
    let row = site.calls.row("jobs.create").unwrap();
    let body = br#"{"items":[{"id":"7","specification":{"name":"n"},"script":"x"}]}"#;
    let items = Items::read(row, body).unwrap();
    let [item] = items.projections() else { unreachable!("one item") };
    assert_eq!(item.parameter("script").as_str(), Some("x"));
    assert_eq!(item.canonical(), br#"{"script":"x","specification":{"name":"n"}}"#);
    let items = Items::read(row, br#"{"items":[{"specification":{"name":"n"},"script":null}]}"#).unwrap();
    assert_eq!(items.projections()[0].canonical(), br#"{"specification":{"name":"n"}}"#);
    assert_eq!(*items.projections()[0].parameter("script"), Json::Null);
}
