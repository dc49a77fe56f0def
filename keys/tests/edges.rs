//! The last accepted and the first refused value, where the checklist alters by more; and a
//! remembered token.

use std::sync::Arc;

use crate::support::judging::{self, AUDIENCE, NOW, Site, USER};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use countersign_keys::core_token::{CoreKey, CoreTokenRejection, CoreTokens};
use countersign_keys::identity::Username;
use countersign_keys::intent::{Fingerprint, ITEMS_MAX, IntentRejection, PresentedIntent, Terms, Version1};
use countersign_keys::jws::{JwsRejection, sha256};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRecord};
use countersign_keys::request::{DEPOSIT_MAX, Presented};
use countersign_portal::core::{core2_claims, token_header};
use countersign_portal::signer::{self, Intent};
use serde_json::{Value, json};

#[test]
fn cores_key_is_compared_by_the_hash_of_all_of_it() {
    let base64 = Site::new(Algorithm::Es256).core.public_base64().unwrap();
    let hash = STANDARD_NO_PAD.encode(sha256(&[&STANDARD.decode(&base64).unwrap()]));
    assert_eq!(CoreKey::parse(&base64).unwrap().fingerprint(), format!("SHA256:{hash}"));
}

/// Authenticates Core's token with these changed claims at each of these moments, with one memory.
fn authenticate(claims: &[(&str, i64)], moments: &[i64]) -> Vec<Result<(), CoreTokenRejection>> {
    let site = Site::new(Algorithm::Es256);
    let mut all = core2_claims(NOW);
    for (name, value) in claims {
        all[*name] = json!(value);
    }
    let header = format!("Bearer {}", site.core.token(&token_header(), &all).unwrap());
    let mut tokens = CoreTokens::new(CoreKey::parse(&site.core.public_base64().unwrap()).unwrap());
    let row = site.calls.core_row("files.browse").unwrap();
    let mut once = |moment: &i64| {
        let username = Username::parse(USER).unwrap();
        let token = header.strip_prefix("Bearer ").unwrap();
        let presented = Presented::of_message(&row, token, username, None, DEPOSIT_MAX).unwrap();
        tokens.authenticate(presented, judging::at(*moment)).map(drop)
    };
    moments.iter().map(&mut once).collect()
}

#[test]
fn cores_token_is_taken_until_its_last_second_remembered_or_not() {
    let expired = || Err(CoreTokenRejection::Expired);
    let of = |moments: &[i64]| authenticate(&[("exp", NOW + 60)], moments);
    assert_eq!(of(&[NOW + 59]), [Ok(())]);
    assert_eq!(of(&[NOW + 60]), [expired()]);
    assert_eq!(of(&[NOW, NOW + 59, NOW + 60, NOW + 61]), [Ok(()), Ok(()), expired(), expired()]);
    assert_eq!(of(&[NOW, NOW + 60]), [Ok(()), expired()]);
    assert_eq!(of(&[NOW, NOW + 61]), [Ok(()), expired()], "remembered, and not looked at since");
}

#[test]
fn cores_token_may_be_five_seconds_ahead_and_an_hour_long() {
    let of = |claims: &[(&str, i64)]| authenticate(claims, &[NOW]).remove(0);
    assert_eq!(of(&[("iat", NOW + 5), ("exp", NOW + 60)]), Ok(()));
    assert_eq!(of(&[("iat", NOW + 6), ("exp", NOW + 60)]), Err(CoreTokenRejection::FromTheFuture));
    assert_eq!(of(&[("nbf", NOW + 5), ("exp", NOW + 60)]), Ok(()));
    assert_eq!(of(&[("nbf", NOW + 6), ("exp", NOW + 60)]), Err(CoreTokenRejection::FromTheFuture));
    assert_eq!(of(&[("exp", NOW + 3600)]), Ok(()));
    assert_eq!(of(&[("exp", NOW + 3601)]), Err(CoreTokenRejection::Lifetime));
    assert_eq!(of(&[("iat", NOW + 5), ("exp", NOW + 5)]), Err(CoreTokenRejection::Lifetime), "it ends as it begins");
}

fn verify(site: &Site, records: &[KeyRecord], text: &str, version_1: Version1) -> Result<Fingerprint, IntentRejection> {
    let keys: Vec<_> = records.iter().map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect();
    let username = Username::parse(USER).unwrap();
    let terms = Terms { version_1, ..site.policy.terms.clone() };
    let presented = PresentedIntent::parse(text, DEPOSIT_MAX, version_1)?;
    presented.verify(&username, &keys, &terms, judging::at(NOW)).map(|verified| verified.fingerprint())
}

#[test]
fn an_intent_has_one_to_a_thousand_digests() {
    let site = Site::new(Algorithm::Es256);
    let with = |count: usize| {
        let mut intent = Intent::new(AUDIENCE, USER, "files.trash", &[], NOW).unwrap();
        intent.params = vec!["A".repeat(43); count];
        verify(&site, &site.records, &intent.sign(&site.key).unwrap(), Version1::Refused).map(drop)
    };
    let refused = Err(IntentRejection::Claim("params"));
    assert_eq!(with(0), refused);
    assert_eq!(with(1), Ok(()));
    assert_eq!(with(ITEMS_MAX), Ok(()));
    assert_eq!(with(ITEMS_MAX + 1), refused);
}

#[test]
fn an_intent_is_as_long_as_it_may_be_and_no_longer() {
    let site = Site::new(Algorithm::Es256);
    let text = Intent::new(AUDIENCE, USER, "files.trash", &[], NOW).unwrap().sign(&site.key).unwrap();
    assert!(PresentedIntent::parse(&text, text.len(), Version1::Refused).is_ok());
    let refused = PresentedIntent::parse(&text, text.len() - 1, Version1::Refused).unwrap_err();
    assert_eq!(refused, IntentRejection::Form(JwsRejection::TooLong));
}

#[test]
fn version_1_takes_its_own_header_and_keys_of_its_own_user() {
    let mut site = Site::new(Algorithm::Rs256);
    let key = site.enrol_version_1();
    let [two, one] = site.records.clone().try_into().unwrap();
    let text = |typ: &str| {
        let draft = signer::intent_version_1(USER, None, "files.browse", NOW).with_header("typ", json!(typ));
        draft.sign(&key).unwrap()
    };
    let of = |record: &KeyRecord, text: &str| verify(&site, std::slice::from_ref(record), text, Version1::Accepted);
    let taken = of(&one, &text("JWT")).unwrap();
    assert_eq!(Value::from(String::from(taken)), serde_json::to_value(taken).unwrap());
    assert_ne!(String::from(taken), "");
    assert!(matches!(of(&one, &text("JOSE")), Err(IntentRejection::Form(_))));
    assert_eq!(of(&two, &text("JWT")), Err(IntentRejection::UnknownKey), "the same key, enrolled for version 2");
    let bobs = KeyRecord { owner: Username::parse("bob#1").unwrap(), ..one };
    assert_eq!(of(&bobs, &text("JWT")), Err(IntentRejection::UnknownKey));
}
