//! Tokens have the claims that UCloud's have, and signatures are what the algorithm's name says.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use countersign_portal::malicious::{intents, offers, tokens};
use countersign_portal::signer::{Projection, enrolment_proof, intent_version_1, ticket_hash, tree};
use countersign_portal::{Algorithm, BrowserKey, CoreKeys, Deed, Intent, jws};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ORIGIN: &str = "https://hpc.example.org";

fn holds(algorithm: &'static dyn VerificationAlgorithm, spki: &[u8], compact: &str) -> bool {
    let (input, signature) = compact.rsplit_once('.').unwrap();
    let Ok(signature) = jws::from_base64url(signature) else {
        return false;
    };
    UnparsedPublicKey::new(algorithm, spki).verify(input.as_bytes(), &signature).is_ok()
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
    }
}

#[test]
fn tokens_have_ucloud_s_shape() {
    let keys = CoreKeys::generate("k8").unwrap();
    let check = |token: String, want: Value| {
        let spki = base64_standard(&keys.public_base64().unwrap());
        assert!(holds(&signature::RSA_PKCS1_2048_8192_SHA256, &spki, &token));
        let (header, claims) = jws::read(&token).unwrap();
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
        assert_eq!(claims, want);
    };
    check(
        keys.core2_token(NOW).unwrap(),
        json!({"iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
            "aud": ["all:write"], "iat": NOW, "exp": NOW + 600}),
    );
    check(
        keys.core1_token(NOW).unwrap(),
        json!({"iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
            "aud": "all:write", "iat": NOW, "exp": NOW + 900, "uid": 42, "extendedByChain": []}),
    );
    check(
        keys.provider_token(NOW).unwrap(),
        json!({"iss": "cloud.sdu.dk", "sub": "#P_k8", "role": "PROVIDER", "principalType": "provider",
            "aud": ["all:write"], "iat": NOW, "exp": NOW + 600}),
    );
}

fn base64_standard(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn core_keys_survive_saving_and_loading() {
    let keys = CoreKeys::generate("k8").unwrap();
    let loaded = CoreKeys::from_pkcs8("k8", &keys.to_pkcs8().unwrap()).unwrap();
    assert_eq!(loaded.public_base64().unwrap(), keys.public_base64().unwrap());
    let pem = keys.public_pem().unwrap();
    assert!(pem.lines().all(|line| line.len() <= 64));
    let bare: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(bare, keys.public_base64().unwrap());
}

#[test]
fn every_algorithm_signs_what_its_name_says() {
    for algorithm in Algorithm::ALL {
        let key = BrowserKey::make(algorithm).unwrap();
        let intent = Intent::of(ORIGIN, "alice#1", &Deed::browse("/home"), NOW).unwrap();
        let compact = intent.sign(&key).unwrap();
        let spki = key.public_spki().unwrap();
        assert!(holds(verification(algorithm), &spki, &compact), "{algorithm:?}");
        let (header, claims) = jws::read(&compact).unwrap();
        let want = json!({"alg": algorithm.name(), "kid": key.kid(), "typ": "ucloud-intent+jwt"});
        assert_eq!(header, want);
        let members: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        let want = ["aud", "call", "exp", "iat", "jti", "params", "project", "username"];
        assert_eq!(members, want);
    }
}

#[test]
fn an_exported_key_is_the_key() {
    let key = BrowserKey::make(Algorithm::Es256).unwrap();
    let jwk = key.public_jwk();
    let spki = key.public_spki().unwrap();
    for half in ["x", "y"] {
        let bytes = jws::from_base64url(jwk[half].as_str().unwrap()).unwrap();
        assert_eq!(bytes.len(), 32);
        assert!(spki.windows(32).any(|window| window == bytes));
    }
    let key = BrowserKey::make(Algorithm::Rs256).unwrap();
    let jwk = key.public_jwk();
    assert_eq!(jws::from_base64url(jwk["n"].as_str().unwrap()).unwrap().len(), 256);
    assert_eq!(jwk["e"], "AQAB");
}

#[test]
fn digests_are_of_canonical_json() {
    // RFC 8785: members sorted, no space, the shortest escapes.
    let canonical = r#"{"a":null,"b":[1,"\u20ac"],"c":{"x":true,"y":"\u000f"}}"#;
    let canonical = canonical.replace("\\u20ac", "€");
    let item = Projection::new([("c", json!({"y": "\u{f}", "x": true})), ("b", json!([1, "€"])), ("a", Value::Null)]);
    assert_eq!(item.digest().unwrap(), jws::base64url(&jws::sha256(canonical.as_bytes())));
    // SHA-256 of "{}".
    let empty = "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o";
    assert_eq!(Projection::default().digest().unwrap(), empty);
}

#[test]
fn trees_lose_what_go_cannot_tell_from_absence() {
    let check = |given: Value, want: Value| assert_eq!(tree(given), want);
    check(json!({"a": 0, "b": "", "c": [], "d": {}, "e": null, "f": false}), Value::Null);
    check(json!({"a": {"b": {"c": 0}}, "d": 1}), json!({"d": 1}));
    check(json!([{"a": 0, "b": 1}, {}]), json!([{"b": 1}, {}]));
    check(json!(""), Value::Null);
    check(json!("x"), json!("x"));
}

#[test]
fn a_proof_names_alg_and_typ_only() {
    let key = BrowserKey::make(Algorithm::EdDsa).unwrap();
    let ticket = jws::base64url(&[7; 32]);
    let draft = enrolment_proof(&key, ORIGIN, &ticket, "alice#1", "n");
    assert_eq!(draft.header, json!({"alg": "EdDSA", "typ": "ucloud-enrol+jwt"}));
    let want = json!({"aud": ORIGIN, "ticket": ticket_hash(&ticket), "username": "alice#1", "nonce": "n"});
    assert_eq!(draft.claims, want);
}

#[test]
fn version_1_is_what_the_old_frontend_signed() {
    let draft = intent_version_1("user", None, "files.browse", NOW);
    assert_eq!(draft.header, json!({"typ": "JWT", "alg": "RS256"}));
    let want = json!({"iat": NOW, "exp": NOW + 30, "call": "files.browse", "username": "user", "project": null});
    assert_eq!(draft.claims, want);
}

#[test]
fn every_altered_intent_has_its_own_name_and_differs_from_the_honest_one() {
    for algorithm in Algorithm::ALL {
        let key = BrowserKey::make(algorithm).unwrap();
        let intent = Intent::of(ORIGIN, "alice#1", &Deed::move_("/home/a", "/home/b"), NOW).unwrap();
        let all = intents::all(&intent, &key, NOW).unwrap();
        let names: BTreeSet<_> = all.iter().map(|one| one.name.clone()).collect();
        assert_eq!(names.len(), all.len());
        let honest = intent.draft(&key);
        for one in &all {
            let same_words =
                jws::read(&one.it).is_ok_and(|read| read == (honest.header.clone(), honest.claims.clone()));
            let stands = same_words && holds(verification(algorithm), &key.public_spki().unwrap(), &one.it);
            // Text-level alterations parse to the same values in a lenient reader and are correctly
            // signed.
            let lenient = ["v04_", "v05_", "v33_exp_with_"].iter().any(|group| one.name.starts_with(group));
            assert!(!stands || lenient, "{}", one.name);
        }
    }
}

#[test]
fn the_twin_of_a_signature_is_as_good() {
    let key = BrowserKey::make(Algorithm::Es256).unwrap();
    let intent = Intent::of(ORIGIN, "alice#1", &Deed::browse("/home"), NOW).unwrap();
    let compact = intent.sign(&key).unwrap();
    let twin = intents::twin(&compact, Algorithm::Es256).unwrap().unwrap();
    assert_ne!(twin, compact);
    let spki = key.public_spki().unwrap();
    assert!(holds(&signature::ECDSA_P256_SHA256_FIXED, &spki, &twin));
    assert_eq!(intents::twin(&compact, Algorithm::EdDsa).unwrap(), None);
}

#[test]
fn altered_tokens_and_offers_can_be_made() {
    let keys = CoreKeys::generate("k8").unwrap();
    let all = tokens::all(&keys, NOW).unwrap();
    let names: BTreeSet<_> = all.iter().map(|one| one.name.clone()).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.iter().all(|one| one.it != keys.core2_token(NOW).unwrap()));
    let all = offers::all().unwrap();
    let names: BTreeSet<_> = all.iter().map(|one| one.name.clone()).collect();
    assert_eq!(names.len(), all.len());
}
