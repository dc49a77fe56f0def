//! Everything that verification must refuse, line by line of the checklist, through all stages.
//!
//! The test portal signs; it shares no code with this crate. Nearly every case has a *correct*
//! signature by the user's own key, so that only the tested rule can refuse it. The same request
//! without the alteration passes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::judging::{self, AUDIENCE, NOW, Site, USER, portal_algorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::call::{Destination, Sender};
use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::intent::{Consent, Fingerprint, IntentRejection, PresentedIntent, Version1};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRejection, KeyState, VerificationKey};
use countersign_keys::policy::StepUpNeed;
use countersign_keys::verify::Class;
use countersign_portal::core::Deed;
use countersign_portal::malicious::{Altered, intents, offers, tokens};
use countersign_portal::signer::{self, BrowserKey, Intent, Projection};
use countersign_portal::{CoreKeys, jws};
use serde_json::{Value, json};

fn deed() -> Deed {
    Deed::move_("/home/a", "/home/b")
}

/// Every alteration for this checklist line is refused with the only class that the sender may
/// learn, and consumes nothing.
fn check_line(line: &str, cases_min: usize) {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256] {
        let site = Site::new(algorithm);
        let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
        let altered = intents::all(&intent, &site.key, NOW).unwrap();
        let of_line: Vec<_> = altered.iter().filter(|altered| altered.name.starts_with(line)).collect();
        assert!(of_line.len() >= cases_min || algorithm != Algorithm::Es256, "{line}: only {} cases", of_line.len());
        for Altered { name, it } in of_line {
            let class = site.judge(&deed(), Some(it)).expect_err(name).class();
            let want = match name.split_once('_').unwrap().0 {
                "v34" => Class::IntentStale,
                _ if it.len() > 16 * 1024 => Class::HeadTooLong,
                _ if it.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) => Class::Malformed,
                _ => Class::IntentInvalid,
            };
            assert_eq!(class, want, "{name} with {algorithm:?}");
        }
        site.judge(&deed(), Some(&intent.sign(&site.key).unwrap())).expect("the unaltered intent passes");
    }
}

#[test]
fn v01_a_user_call_without_intent_is_refused() {
    let site = Site::new(Algorithm::Es256);
    assert_eq!(site.judge(&deed(), None).unwrap_err().class(), Class::IntentRequired);
    for row in site.calls.rows() {
        if row.spec().to == Some(Destination::Session) {
            continue; // no request of its own: tests/sessions.rs
        }
        let refused = match row.sender() {
            Sender::Core => site.judge_raw(row.call().as_str(), b"{}", None, &site.token(), USER).unwrap_err(),
            Sender::User => site.judge_direct(row.call().as_str(), b"{}", &[]).unwrap_err(),
        };
        assert_eq!(refused.class(), Class::IntentRequired, "{}", row.call());
    }
}

#[test]
fn v04_an_envelope_of_another_form_is_refused() {
    check_line("v04", 16);
}

#[test]
fn v05_a_member_that_stands_twice_is_refused() {
    check_line("v05", 11);
}

#[test]
fn v06_a_header_with_other_members_is_refused() {
    check_line("v06", 7);
}

#[test]
fn v07_what_is_too_long_or_too_deep_is_refused() {
    check_line("v07", 4);
}

#[test]
fn v10_none_and_symmetric_algorithms_are_refused() {
    check_line("v10", 5);
}

#[test]
fn v11_another_algorithm_than_the_keys_is_refused() {
    check_line("v11", 1);
    // The same RSA key, which could verify both.
    let site = Site::new(Algorithm::Rs256);
    let twin = site.key.clone().with_algorithm(portal_algorithm(Algorithm::Ps256));
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&twin).unwrap();
    assert_eq!(site.judge(&deed(), Some(&intent)).unwrap_err().class(), Class::IntentInvalid);
}

#[test]
fn v12_a_key_that_comes_along_is_not_used() {
    check_line("v12", 5);
}

#[test]
fn v13_weak_and_malformed_keys_are_refused_at_enrolment() {
    check_offers("v13", 14);
    check_offers("v11", 4);
}

#[test]
fn v14_private_keys_are_refused_at_enrolment() {
    check_offers("v14", 5);
}

fn check_offers(line: &str, cases_min: usize) {
    let offered = offers::all().unwrap();
    let of_line: Vec<_> = offered.iter().filter(|offer| offer.name.starts_with(line)).collect();
    assert!(of_line.len() >= cases_min, "{line}: only {} cases", of_line.len());
    for Altered { name, it } in of_line {
        let Ok(algorithm) = serde_json::from_value::<Algorithm>(json!(it.alg)) else { continue };
        let refused = VerificationKey::from_jwk(it.jwk.to_string().as_bytes(), algorithm);
        let rejection = refused.expect_err(name);
        assert_eq!(rejection == KeyRejection::Private, line == "v14", "{name}: {rejection}");
    }
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256] {
        let key = judging::key(algorithm);
        let taken = VerificationKey::from_jwk(key.public_jwk().to_string().as_bytes(), algorithm).unwrap();
        assert_eq!(taken.spki_der(), key.public_spki().unwrap(), "{algorithm:?}");
        assert_eq!(VerificationKey::from_spki_der(taken.spki_der(), algorithm), Ok(taken));
    }
}

#[test]
fn v15_a_signature_of_another_form_is_refused() {
    check_line("v15", 9);
}

#[test]
fn v16_a_key_is_found_by_user_and_id_alone() {
    check_line("v16", 5);
    // Another key of the same user, under an id that is not its own, is not tried.
    let mut site = Site::new(Algorithm::Es256);
    let second = site.enrol_another();
    let mut misnamed = second.clone();
    misnamed.set_kid(site.key.kid());
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    assert_eq!(site.judge(&deed(), Some(&intent.sign(&misnamed).unwrap())).unwrap_err().class(), Class::IntentInvalid);
    site.judge(&deed(), Some(&intent.sign(&second).unwrap())).unwrap();
}

#[test]
fn v17_a_key_verifies_for_its_owner_alone() {
    check_line("v17", 1);
    let site = Site::new(Algorithm::Es256);
    let intent = Intent::of(AUDIENCE, "bob#1", &deed(), NOW).unwrap().sign(&site.key).unwrap();
    for username in ["bob#1", USER] {
        let body = deed().body(username, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
        let refused = site.judge_raw("files.move", &body, Some(&intent), &site.token(), username).unwrap_err();
        assert_eq!(refused.class(), Class::IntentInvalid, "{username}");
    }
}

#[test]
fn v16_v17_a_store_that_hands_out_other_keys_as_well_changes_nothing() {
    let mut site = Site::new(Algorithm::Es256);
    let second = site.enrol_another();
    let username = Username::parse(USER).unwrap();
    let verify = |site: &Site, text: &str| {
        let keys: Vec<_> =
            site.records.iter().map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect();
        let presented = PresentedIntent::parse(text, 16 * 1024, Version1::Refused).unwrap();
        presented.verify(&username, &keys, &site.policy.terms, judging::at(NOW)).map(|verified| verified.kid())
    };
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    for key in [&site.key, &second] {
        let kid = KeyId::parse(key.kid()).unwrap();
        assert_eq!(verify(&site, &intent.sign(key).unwrap()), Ok(kid));
    }
    for record in &mut site.records {
        record.owner = Username::parse("bob#1").unwrap();
    }
    assert_eq!(verify(&site, &intent.sign(&second).unwrap()), Err(IntentRejection::UnknownKey), "they are bob's");
}

#[test]
fn v18_a_revoked_or_expired_key_verifies_nothing() {
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    let check = |change: fn(&mut countersign_keys::keyring::KeyRecord)| {
        let mut site = Site::new(Algorithm::Es256);
        change(&mut site.records[0]);
        let refused = site.judge(&deed(), Some(&intent.sign(&site.key).unwrap()));
        refused.map_err(|rejection| rejection.class())
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|record| record.state = KeyState::Revoked), Err(Class::IntentInvalid));
    assert_eq!(check(|record| record.expires = judging::at(NOW)), Err(Class::IntentInvalid));
    assert_eq!(check(|record| record.expires = judging::at(NOW + 1)), Ok(()));
}

#[test]
fn v20_a_proof_is_no_intent_and_an_intent_no_proof() {
    check_line("v20", 2);
}

#[test]
fn v21_the_type_is_exact() {
    check_line("v21", 5);
}

#[test]
fn v22_the_audience_is_this_provider() {
    check_line("v22", 7);
}

#[test]
fn v23_the_username_is_the_owners_and_the_requests() {
    check_line("v23", 5);
    let site = Site::new(Algorithm::Es256);
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&site.key).unwrap();
    let body = deed().body(USER, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
    let refused = site.judge_raw("files.move", &body, Some(&intent), &site.token(), "bob#1").unwrap_err();
    assert_eq!(refused.class(), Class::IntentInvalid);
}

#[test]
fn v24_absent_empty_and_null_projects_differ() {
    check_line("v24", 2);
    let site = Site::new(Algorithm::Es256);
    // The project of the claim, the project of the request (`None`: absent), and whether they
    // agree.
    let check = |claim: Option<&str>, shown: Option<Value>, want: bool| {
        let mut intent = Intent::of(AUDIENCE, USER, &Deed::trash("/home/a"), NOW).unwrap();
        intent.project = claim.map(str::to_owned);
        let mut drive = json!({"owner": {}});
        if let Some(shown) = &shown {
            drive["owner"]["project"] = shown.clone();
        }
        let body = json!({"items": [{"id": "/home/a", "resolvedCollection": drive}]}).to_string();
        let intent = intent.sign(&site.key).unwrap();
        let outcome = site.judge_raw("files.trash", body.as_bytes(), Some(&intent), &site.token(), USER);
        assert_eq!(outcome.is_ok(), want, "{claim:?} {shown:?}: {outcome:?}");
    };
    check(None, Some(Value::Null), true);
    check(None, None, true);
    check(Some("p1"), Some(json!("p1")), true);
    check(Some("p1"), None, true);
    check(Some("p1"), Some(json!("p2")), false);
    check(Some("p1"), Some(Value::Null), false);
    check(None, Some(json!("p1")), false);
    check(None, Some(json!("")), false);
    check(Some(""), Some(json!("")), false);
    check(None, Some(json!(0)), false);
}

#[test]
fn v25_the_call_is_the_tables() {
    check_line("v25", 5);
}

#[test]
fn v26_what_is_bound_is_what_was_signed_and_nothing_else_comes_along() {
    check_line("v26", 6);
    let site = Site::new(Algorithm::Es256);
    let check = |deed: &Deed, alter: &dyn Fn(&mut Value), want: bool| {
        let intent = Intent::of(AUDIENCE, USER, deed, NOW).unwrap().sign(&site.key).unwrap();
        let body = deed.body(USER, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        alter(&mut body);
        let call = deed.call();
        let outcome = site.judge_raw(call, body.to_string().as_bytes(), Some(&intent), &site.token(), USER);
        assert_eq!(outcome.is_ok(), want, "{call} {body}: {outcome:?}");
    };
    let move_ = deed();
    check(&move_, &|_| (), true);
    check(&move_, &|body| body["items"][0]["newId"] = json!("/home/c"), false);
    check(&move_, &|body| body["items"][0]["oldId"] = json!("/home/A"), false);
    check(&move_, &|body| body["items"][0]["newId"] = Value::Null, false);
    check(&move_, &|body| body["items"][0]["newId"] = json!(["/home/b"]), false);
    check(&move_, &|body| body["items"][0]["conflictPolicy"] = json!("REPLACE"), false);
    check(&move_, &|body| body["items"][0]["conflictPolicy"] = json!(""), false);
    check(&move_, &|body| body["items"][0]["resolvedOldCollection"] = json!({"id": "whatever"}), true);
    check(&move_, &|body| body["items"][0]["force"] = json!(false), false);
    check(&move_, &|body| body["recursive"] = json!(true), false);
    let browse = Deed::browse("/home/docs");
    check(&browse, &|_| (), true);
    check(&browse, &|body| body["Browse"]["flags"]["path"] = json!("/home"), false);
    check(&browse, &|body| body["browse"] = body["Browse"].clone(), false);
    check(&browse, &|body| body["path"] = json!("/home"), false);
    check(&browse, &|body| body["Browse"]["sortBy"] = json!("SIZE"), true);
}

#[test]
fn v27_every_item_is_covered_and_none_is_added() {
    check_line("v27", 1);
    let site = Site::new(Algorithm::Es256);
    let signed = Deed::Trash(["/home/a", "/home/b", "/home/c"].map(str::to_owned).to_vec());
    let check = |received: &[&str], want: bool| {
        let intent = Intent::of(AUDIENCE, USER, &signed, NOW).unwrap().sign(&site.key).unwrap();
        let received = Deed::Trash(received.iter().map(|&path| path.to_owned()).collect());
        let outcome = site.judge(&received, Some(&intent));
        assert_eq!(outcome.is_ok(), want, "{received:?}: {outcome:?}");
    };
    check(&["/home/a", "/home/b", "/home/c"], true);
    check(&["/home/c", "/home/a"], true);
    check(&["/home/b"], true);
    check(&["/home/a", "/home/b", "/home/c", "/home/d"], false);
    check(&["/home/a", "/home/a"], false);
    check(&["/home/d"], false);
    check(&[], false);
}

#[test]
fn v32_both_times_are_there_and_the_lifetime_is_bounded() {
    check_line("v32", 7);
}

#[test]
fn v33_times_are_integers_of_seconds() {
    check_line("v33", 14);
}

#[test]
fn v34_expiry_has_no_tolerance_and_the_future_five_seconds() {
    check_line("v34", 4);
}

#[test]
fn v35_an_intent_passes_once() {
    check_line("v35", 6);
    let site = Site::new(Algorithm::Es256);
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&site.key).unwrap();
    site.judge(&deed(), Some(&intent)).unwrap();
    assert_eq!(site.judge(&deed(), Some(&intent)).unwrap_err().class(), Class::IntentReplayed);
}

#[test]
fn v36_the_replay_log_tells_users_and_keys_apart() {
    let mut site = Site::new(Algorithm::Es256);
    let second = site.enrol_another();
    let mut intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    intent.jti = jws::base64url(&[7; 16]);
    site.judge(&deed(), Some(&intent.sign(&site.key).unwrap())).unwrap();
    // The same token id under another key is another intent. Under the same key it is the same
    // intent, whatever else it says.
    site.judge(&deed(), Some(&intent.sign(&second).unwrap())).unwrap();
    intent.exp -= 1;
    let again = site.judge(&deed(), Some(&intent.sign(&site.key).unwrap()));
    assert_eq!(again.unwrap_err().class(), Class::IntentReplayed);
}

#[test]
fn v37_a_refused_request_burns_no_intent() {
    let site = Site::new(Algorithm::Es256);
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    let good = intent.sign(&site.key).unwrap();
    let stranger = BrowserKey::make(portal_algorithm(Algorithm::Es256)).unwrap();
    let mut forged = stranger.clone();
    forged.set_kid(site.key.kid());
    // A stranger with the same claims, an attacker with other parameters, and a forged token of
    // Core.
    site.judge(&deed(), Some(&intent.sign(&forged).unwrap())).unwrap_err();
    site.judge(&Deed::move_("/home/a", "/home/elsewhere"), Some(&good)).unwrap_err();
    let body = deed().body(USER, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
    site.judge_raw("files.move", &body, Some(&good), "Bearer a.b.c", USER).unwrap_err();
    site.judge(&deed(), Some(&good)).unwrap();
}

#[test]
fn v42_freshness_is_looked_at_again_at_the_last_step() {
    let site = Site::new(Algorithm::Es256);
    let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap();
    let lifetime = intent.exp - NOW;
    let late = |by: i64| {
        let intent = Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&site.key).unwrap();
        site.judge_until(&deed(), &intent, by).map_err(|rejection| rejection.class())
    };
    assert_eq!(late(lifetime), Ok(()));
    assert_eq!(late(lifetime + 1), Err(Class::IntentStale));
}

#[test]
fn v61_unknown_user_unknown_key_and_bad_signature_are_one_answer() {
    let site = Site::new(Algorithm::Es256);
    let stranger = BrowserKey::make(portal_algorithm(Algorithm::Es256)).unwrap();
    let mut forged = stranger.clone();
    forged.set_kid(site.key.kid());
    let check = |username: &str, key: &BrowserKey| {
        let intent = Intent::of(AUDIENCE, username, &deed(), NOW).unwrap().sign(key).unwrap();
        let body = deed().body(username, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
        let refused = site.judge_raw("files.move", &body, Some(&intent), &site.token(), username).unwrap_err();
        assert_eq!(refused.class(), Class::IntentInvalid, "{username}");
    };
    check("nobody#1", &stranger); // unknown user
    check(USER, &stranger); // unknown key
    check(USER, &forged); // bad signature
}

#[test]
fn core_tokens_that_are_not_quite_cores_are_refused() {
    let site = Site::new(Algorithm::Es256);
    let altered = tokens::all(site.core, NOW).unwrap();
    assert!(altered.len() >= 25, "only {} cases", altered.len());
    let intent = || Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&site.key).unwrap();
    let body = deed().body(USER, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
    let judge = |token: &str| site.judge_raw("files.move", &body, Some(&intent()), &format!("Bearer {token}"), USER);
    for Altered { name, it } in &altered {
        let class = judge(it).expect_err(name).class();
        assert_eq!(class, Class::Unauthorised, "{name}");
    }
    let stranger = CoreKeys::generate("hpc").unwrap();
    assert_eq!(judge(&stranger.core2_token(NOW).unwrap()).unwrap_err().class(), Class::Unauthorised);
    judge(&site.core.core2_token(NOW).unwrap()).unwrap();
    judge(&site.core.core1_token(NOW).unwrap()).unwrap();
}

#[test]
fn a_remembered_token_ends_when_it_says() {
    let site = Site::new(Algorithm::Es256);
    let token = format!("Bearer {}", site.core.core2_token(NOW).unwrap());
    let at = |moment: i64| {
        let intent = Intent::of(AUDIENCE, USER, &deed(), moment).unwrap().sign(&site.key).unwrap();
        let body = deed().body(USER, "hpc", countersign_portal::core::Flavour::Core2).unwrap();
        site.judge_at("files.move", &body, Some(&intent), &token, USER, moment, moment)
            .map_err(|rejection| rejection.class())
    };
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(at(NOW + 599), Ok(()));
    assert_eq!(at(NOW + 600), Err(Class::Unauthorised));
}

#[test]
fn version_1_binds_the_name_alone_and_starts_nothing_dangerous() {
    let mut site = Site::new(Algorithm::Es256);
    let key = site.enrol_version_1();
    let sign = |call: &str| signer::intent_version_1(USER, None, call, NOW).sign(&key).unwrap();
    let browse = Deed::browse("/home");
    assert_eq!(site.judge(&browse, Some(&sign("files.browse"))).unwrap_err().class(), Class::IntentInvalid);
    site.policy.terms.version_1 = Version1::Accepted;
    let intent = sign("files.browse");
    site.judge(&browse, Some(&intent)).unwrap();
    assert_eq!(site.judge(&browse, Some(&intent)).unwrap_err().class(), Class::IntentReplayed);
    let refused = |deed: &Deed, intent: &str| site.judge(deed, Some(intent)).unwrap_err().class();
    assert_eq!(refused(&browse, &sign("files.copy")), Class::IntentInvalid);
    assert_eq!(refused(&Deed::trash("/home/a"), &sign("files.trash")), Class::IntentInvalid);
    let long = signer::intent_version_1(USER, None, "files.browse", NOW).with_claim("exp", json!(NOW + 31));
    assert_eq!(refused(&browse, &long.sign(&key).unwrap()), Class::IntentInvalid);
    let other = signer::intent_version_1("bob#1", None, "files.browse", NOW).sign(&key).unwrap();
    assert_eq!(refused(&browse, &other), Class::IntentInvalid);
    let audience = signer::intent_version_1(USER, None, "files.browse", NOW).with_claim("aud", json!(AUDIENCE));
    assert_eq!(refused(&browse, &audience.sign(&key).unwrap()), Class::IntentInvalid);
    // A version 1 key signs no version 2 intent, and a version 2 key no version 1 intent.
    let crossed = Intent::of(AUDIENCE, USER, &browse, NOW).unwrap().sign(&key).unwrap();
    assert_eq!(refused(&browse, &crossed), Class::IntentInvalid);
}

#[test]
fn a_call_that_needs_a_passkey_is_refused_without() {
    let mut site = Site::new(Algorithm::Es256);
    site.policy.step_up.calls = BTreeSet::from([CallName::parse("files.trash").unwrap()]);
    let check = |deed: &Deed| {
        let intent = Intent::of(AUDIENCE, USER, deed, NOW).unwrap().sign(&site.key).unwrap();
        site.judge(deed, Some(&intent)).map_err(|rejection| rejection.class())
    };
    assert_eq!(check(&Deed::trash("/home/a")), Err(Class::IntentStepUp));
    assert_eq!(check(&deed()), Ok(()));
}

#[test]
fn v44_a_passkeys_assertion_serves_its_own_intent_and_no_other() {
    let mut site = Site::new(Algorithm::Es256);
    site.policy.step_up.calls = BTreeSet::from([CallName::parse("files.trash").unwrap()]);
    let deed = Deed::trash("/home/a");
    let sign = |site: &Site| Intent::of(AUDIENCE, USER, &deed, NOW).unwrap().sign(&site.key).unwrap();
    let fingerprint = |jws: &str| {
        let digest = URL_SAFE_NO_PAD.encode(countersign_keys::jws::sha256(&[jws.as_bytes()]));
        Some(Fingerprint::try_from(digest).unwrap())
    };
    let (asserted, other) = (sign(&site), sign(&site));
    let class = |site: &Site, jws: &str| site.judge(&deed, Some(jws)).map_err(|rejection| rejection.class());
    site.asserted = fingerprint(&asserted);
    assert_eq!(class(&site, &other), Err(Class::IntentStepUp), "another intent for the very same thing");
    assert_eq!(class(&site, &asserted), Ok(()));
    assert_eq!(class(&site, &asserted), Err(Class::IntentReplayed), "an assertion is no second use");
    for text in ["", "A", "AAAA", &"A".repeat(44)] {
        assert!(Fingerprint::try_from(text.to_owned()).is_err(), "{text}");
    }
}

#[test]
fn what_passkeys_there_are_is_changed_with_a_passkey_where_calls_need_one() {
    let mut site = Site::new(Algorithm::Es256);
    let need = |site: &Site, call: &str| site.policy.step_up_of(site.calls.row(call).unwrap(), Consent::Asked);
    assert_eq!(need(&site, "passkeys.begin"), StepUpNeed::Never);
    site.policy.step_up.calls = BTreeSet::from([CallName::parse("files.trash").unwrap()]);
    for (call, want) in [
        ("files.trash", StepUpNeed::Always),
        ("files.browse", StepUpNeed::Never),
        ("passkeys.begin", StepUpNeed::WhereThereIsOne),
        ("passkeys.remove", StepUpNeed::WhereThereIsOne),
        ("passkeys.finish", StepUpNeed::Never),
        ("passkeys.list", StepUpNeed::Never),
    ] {
        assert_eq!(need(&site, call), want, "{call}");
    }
    site.policy.step_up.calls.insert(CallName::parse("passkeys.begin").unwrap());
    assert_eq!(need(&site, "passkeys.begin"), StepUpNeed::WhereThereIsOne, "or nobody could have a first one");
}

#[test]
fn requests_of_the_real_core_pass_as_they_were_captured() {
    let captured = include_str!("vectors/core2-requests.txt");
    let site = Site::new(Algorithm::Es256);
    let mut judged = 0;
    let mut path = "";
    for line in captured.lines() {
        let line = line.trim();
        if let Some((method, rest)) = line.split_once(' ')
            && matches!(method, "POST" | "DELETE")
        {
            path = rest;
        }
        let Some(body) = line.strip_prefix("body: ") else { continue };
        let Some(row) = site.calls.rows().iter().find(|row| row.path().replace("/hpc/", "/k8/") == path) else {
            assert!(path.contains("/integration/"), "{path} is in no table");
            continue;
        };
        let items =
            countersign_keys::bind::Items::read(row, body.as_bytes()).unwrap_or_else(|why| panic!("{path}: {why}"));
        let projections: Vec<Projection> = items
            .projections()
            .iter()
            .map(|projection| serde_json::to_value(projection).unwrap())
            .map(|object| Projection(object.as_object().unwrap().clone().into_iter().collect()))
            .collect();
        let intent =
            Intent::new(AUDIENCE, USER, row.call().as_str(), &projections, NOW).unwrap().sign(&site.key).unwrap();
        site.judge_raw(row.call().as_str(), body.as_bytes(), Some(&intent), &site.token(), USER)
            .unwrap_or_else(|why| panic!("{path}: {why}"));
        judged += 1;
    }
    assert_eq!(judged, 12, "the captured requests on the user lane");
}
