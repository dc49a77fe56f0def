//! This crate accepts what the browser's modules (web/js) sign, with a sample from
//! tests/web/sample.mjs.

use std::sync::Arc;

use countersign_keys::bind::Items;
use countersign_keys::call::CallTable;
use countersign_keys::enrolment::{Challenge, EnrolmentRejection, Ticket};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{KeyId, Origin, ProviderId, Username};
use countersign_keys::intent::{IntentRejection, PresentedIntent, Terms, Version1};
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::request::INTENT_MAX;
use countersign_keys::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Sample {
    alg: Algorithm,
    origin: Origin,
    username: Username,
    now: i64,
    kid: KeyId,
    ticket: String,
    nonce: String,
    items: Vec<Value>,
    jwk: Value,
    intent: String,
    proof: String,
}

/// One sample for each algorithm of the browser's keys.
fn samples() -> Vec<Sample> {
    let samples: Vec<Sample> = serde_json::from_str(include_str!("vectors/browser.json")).unwrap();
    let algorithms: Vec<Algorithm> = samples.iter().map(|sample| sample.alg).collect();
    assert_eq!(algorithms, [Algorithm::EdDsa, Algorithm::Es256]);
    samples
}

fn key(sample: &Sample) -> VerificationKey {
    VerificationKey::from_jwk(sample.jwk.to_string().as_bytes(), sample.alg).unwrap()
}

#[test]
fn the_browsers_intent_covers_its_items_and_no_others() {
    samples().iter().for_each(covers_its_items);
}

fn covers_its_items(sample: &Sample) {
    let now = Timestamp::from_seconds(sample.now);
    let (owner, kid, key) = (sample.username.clone(), sample.kid, key(sample));
    let record = KeyRecord::new(owner, kid, &key, Protocol::V2, (now, now.plus(60)), "browser".to_owned());
    let keys = [Arc::new(EnrolledKey::from_record(&record).unwrap())];
    let window = Window { lifetime_max_s: 60, future_skew_s: 5 };
    let terms = Terms { audience: sample.origin.clone(), window, version_1: Version1::Refused };
    let verified = |at: Timestamp| {
        PresentedIntent::parse(&sample.intent, INTENT_MAX, Version1::Refused)?.verify(
            &sample.username,
            &keys,
            &terms,
            at,
        )
    };
    let intent = verified(now).unwrap();
    assert_eq!(intent.call().as_str(), "files.trash");
    assert!(matches!(verified(now.plus(31)), Err(IntentRejection::Times(_))), "it lives for 30 s");

    let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
    let row = table.row("files.trash").unwrap();
    let covers = |items: &[Value]| {
        let body = json!({"items": items}).to_string();
        intent.covers(Items::read(row, body.as_bytes()).unwrap().digests())
    };
    assert!(covers(&sample.items));
    assert!(covers(&sample.items[1..]));
    assert!(!covers(&[json!({"id": "/1/another"})]));
}

#[test]
fn the_browsers_proof_is_for_one_ticket() {
    samples().iter().for_each(is_for_one_ticket);
}

fn is_for_one_ticket(sample: &Sample) {
    let key = key(sample);
    let proved = |ticket: &Ticket, nonce: &str| {
        let ticket = ticket.hash();
        Challenge { origin: &sample.origin, ticket: &ticket, username: &sample.username, nonce }
            .verify(&sample.proof, &key)
    };
    let ticket = Ticket::parse(&sample.ticket).unwrap();
    assert_eq!(proved(&ticket, &sample.nonce), Ok(()));
    assert_eq!(proved(&ticket, "another"), Err(EnrolmentRejection::ProofClaims));
    assert_eq!(proved(&Ticket::from_bytes([8; 32]), &sample.nonce), Err(EnrolmentRejection::ProofClaims));
}
