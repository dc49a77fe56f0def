//! All cases of Project Wycheproof for JWS and JWK, against the envelope, the key import and the
//! signature check. This profile is narrower than the standard, so a valid case may be refused
//! here; an invalid case never passes. For the four accepted algorithms the results must agree. The
//! tallies are asserted, so that no case is skipped silently.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt;

use countersign_keys::intent::{PresentedIntent, Version1};
use countersign_keys::jws::{Algorithm, CompactJws, JwsRejection};
use countersign_keys::keyring::{KeyRejection, VerificationKey};
use countersign_keys::request::INTENT_MAX;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    /// Present alone for a symmetric algorithm.
    private: Value,
    public: Option<Value>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    comment: String,
    jws: String,
    result: String,
}

impl Case {
    fn is_valid(&self) -> bool {
        assert!(["valid", "invalid"].contains(&self.result.as_str()), "{self}: {}", self.result);
        self.result == "valid"
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {} ({})", self.tc_id, self.comment)
    }
}

/// The result of a case.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    /// No accepted algorithm fits the case's key.
    KeyRefused,
    /// Not three parts of canonical base64url with a JSON header.
    EnvelopeRefused,
    /// The header's algorithm is not the key's.
    AlgorithmDiffers,
    /// The signature check failed.
    SignatureRefused,
    /// Every check that does not concern claims passed.
    Passed,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

fn file(name: &str) -> File {
    let path = format!("{}/tests/vectors/wycheproof/{name}", env!("CARGO_MANIFEST_DIR"));
    let file: File = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file.test_groups.iter().map(|group| group.tests.len()).sum::<usize>(), file.number_of_tests);
    file
}

/// The algorithm in the header.
fn named(jws: &str) -> Option<String> {
    Some(CompactJws::parse(jws, INTENT_MAX).ok()?.header::<Header>().ok()?.alg)
}

/// The JWK's own algorithm or, if it names none, the header's: the one that enrolment would use.
fn algorithm(jwk: &Value, jws: &str) -> Option<Algorithm> {
    let named = jwk.get("alg").cloned().or_else(|| named(jws).map(Value::String));
    serde_json::from_value(named?).ok()
}

fn import(jwk: &Value, jws: &str) -> Result<VerificationKey, Option<KeyRejection>> {
    let algorithm = algorithm(jwk, jws).ok_or(None)?;
    VerificationKey::from_jwk(jwk.to_string().as_bytes(), algorithm).map_err(Some)
}

fn judge(key: &VerificationKey, jws: &str) -> Verdict {
    let Ok(jws) = CompactJws::parse(jws, INTENT_MAX) else { return Verdict::EnvelopeRefused };
    let Ok(header) = jws.header::<Header>() else { return Verdict::EnvelopeRefused };
    // The payloads are not JSON objects, so only their encoding can be checked.
    if jws.claims::<Value>() == Err(JwsRejection::Form) {
        return Verdict::EnvelopeRefused;
    }
    if header.alg != key.algorithm().as_str() {
        return Verdict::AlgorithmDiffers;
    }
    if jws.verify(key.signature_key()) { Verdict::Passed } else { Verdict::SignatureRefused }
}

#[test]
fn v04_v10_v15_every_jws_case_agrees_or_is_refused() {
    let mut tally = BTreeMap::new();
    for group in file("json_web_signature_test.json").test_groups {
        let jwk = group.public.as_ref().unwrap_or(&group.private);
        for case in group.tests {
            let verdict = match import(jwk, &case.jws) {
                Ok(key) => judge(&key, &case.jws),
                Err(_) => Verdict::KeyRefused,
            };
            assert!(case.is_valid() || verdict != Verdict::Passed, "{case} passes");
            *tally.entry((verdict, case.is_valid())).or_insert(0) += 1;
            // The complete profile requires a `typ` that none of these has.
            let presented = PresentedIntent::parse(&case.jws, INTENT_MAX, Version1::Accepted);
            assert!(presented.is_err(), "{case} is read as an intent");
        }
    }
    let want = BTreeMap::from([
        // Keys for HMAC, SHA-384, SHA-512 and P-521.
        ((Verdict::KeyRefused, true), 28),
        // The same, and four keys that say they are for encryption.
        ((Verdict::KeyRefused, false), 51),
        // Two payloads are empty, and an intent's never is.
        ((Verdict::EnvelopeRefused, true), 2),
        ((Verdict::EnvelopeRefused, false), 18),
        // Two headers name PS384 where the key names PS256.
        ((Verdict::AlgorithmDiffers, true), 2),
        ((Verdict::AlgorithmDiffers, false), 1),
        ((Verdict::SignatureRefused, false), 285),
        ((Verdict::Passed, true), 14),
    ]);
    assert_eq!(tally, want);
    assert_eq!(tally.values().sum::<i32>(), 401);
}

#[test]
fn v15_the_signature_check_by_itself_agrees_with_every_case_of_an_algorithm_that_we_take() {
    let mut tally = BTreeMap::new();
    for group in file("json_web_signature_test.json").test_groups {
        let jwk = group.public.as_ref().unwrap_or(&group.private);
        for case in group.tests {
            let Ok(key) = import(jwk, &case.jws) else { continue };
            // A JWS that is not compact has no signing input. PS384 is refused, whatever the key
            // says.
            let Some((signing_input, signature)) = case.jws.rsplit_once('.') else { continue };
            if named(&case.jws).as_deref() == Some("PS384") {
                continue;
            }
            let good = key.signature_key().verify(signing_input.as_bytes(), signature);
            assert_eq!(good, case.is_valid(), "{case}");
            *tally.entry((key.algorithm().as_str(), good)).or_insert(0) += 1;
        }
    }
    let want = BTreeMap::from([
        (("ES256", false), 35),
        (("ES256", true), 2),
        (("PS256", false), 42),
        (("PS256", true), 6),
        (("RS256", false), 223),
        (("RS256", true), 8),
    ]);
    assert_eq!(tally, want);
}

#[test]
fn v13_v14_every_jwk_case_agrees_or_is_refused() {
    let mut tally = BTreeMap::new();
    for group in file("json_web_key_test.json").test_groups {
        let keys = group.public.as_ref().unwrap_or(&group.private);
        let keys = keys.get("keys").map_or_else(|| vec![keys.clone()], |keys| keys.as_array().unwrap().clone());
        for case in group.tests {
            let verdicts = keys.iter().map(|jwk| match import(jwk, &case.jws) {
                Ok(key) => judge(&key, &case.jws),
                Err(_) => Verdict::KeyRefused,
            });
            // A set of keys passes a case if any of its keys does.
            let verdict = verdicts.max().unwrap();
            assert!(case.is_valid() || verdict != Verdict::Passed, "{case} passes");
            *tally.entry((verdict, case.is_valid())).or_insert(0) += 1;
        }
    }
    let want = BTreeMap::from([
        // Symmetric keys, which count as private here.
        ((Verdict::KeyRefused, true), 4),
        // The same, and keys that are weak, malformed, mislabelled or for another use.
        ((Verdict::KeyRefused, false), 20),
        // A set of a symmetric key and a P-256 key; the header selects the first.
        ((Verdict::AlgorithmDiffers, false), 1),
        ((Verdict::Passed, true), 1),
    ]);
    assert_eq!(tally, want);
    assert_eq!(tally.values().sum::<i32>(), 26);
}
