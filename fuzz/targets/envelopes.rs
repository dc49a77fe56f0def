//! Signed inputs: compact JWS, intents of both versions, proofs of enrolment, Core's tokens. None
//! verifies, because the fuzzer has no key; and each accepted text has only one spelling.
#![no_main]

use countersign_keys::call::SessionEndpoint;
use countersign_keys::core_token::{CoreKey, CoreTokens};
use countersign_keys::enrolment::{Challenge, Code, Ticket};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{Origin, Username};
use countersign_keys::intent::{PresentedIntent, Terms, Version1};
use countersign_keys::jws::{Algorithm, CompactJws};
use countersign_keys::keyring::VerificationKey;
use countersign_keys::request::DEPOSIT_MAX;
use countersign_keys::session::{ContentDigest, Piece, PresentedSession};
use countersign_keys::time::Timestamp;
use countersign_portal::CoreKeys;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;

/// The example key of RFC 7517, appendix A.1.
const JWK: &[u8] = br#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

struct Site {
    key: VerificationKey,
    terms: Terms,
    username: Username,
    core: String,
}

static SITE: LazyLock<Site> = LazyLock::new(|| Site {
    key: VerificationKey::from_jwk(JWK, Algorithm::Es256).expect("a key"),
    terms: Terms {
        audience: Origin::parse("https://hpc.example.org").expect("an origin"),
        window: Window { lifetime_max_s: 60, future_skew_s: 5 },
        version_1: Version1::Accepted,
    },
    username: Username::parse("alice#1234").expect("a name"),
    core: CoreKeys::generate("hpc").expect("a key").public_base64().expect("its public half"),
});

fuzz_target!(|text: &str| {
    let site = &*SITE;
    if let Ok(jws) = CompactJws::parse(text, DEPOSIT_MAX) {
        assert_eq!(jws.as_str(), text);
        let _ = jws.header::<Value>();
        let _ = jws.claims::<Value>();
        assert!(!jws.verify(site.key.signature_key()), "a signature that nobody made");
    }
    for version_1 in [Version1::Refused, Version1::Accepted] {
        if let Ok(intent) = PresentedIntent::parse(text, DEPOSIT_MAX, version_1) {
            let _ = intent.claimed_username();
            let now = Timestamp::from_seconds(1_800_000_000);
            assert!(intent.verify(&site.username, &[], &site.terms, now).is_err());
        }
    }
    let ticket = Ticket::from_bytes([7; 32]).hash();
    let challenge =
        Challenge { origin: &site.terms.audience, ticket: &ticket, username: &site.username, nonce: "nonce" };
    assert!(challenge.verify(text, &site.key).is_err());
    for (endpoint, _, _) in SessionEndpoint::ALL {
        if let Ok(presented) = PresentedSession::parse(endpoint, text, Some(text), Piece::default()) {
            let now = Timestamp::from_seconds(1_800_000_000);
            assert!(presented.verify(Some(&site.key), &[], &site.terms, now).is_err(), "a token that nobody made");
        }
    }
    if let Ok(digest) = ContentDigest::parse(text) {
        assert_eq!(digest.to_header(), text);
    }
    if let Ok(code) = Code::parse(text) {
        assert_eq!(Code::parse(code.as_str()).expect("it reads back"), code);
    }
    if let Ok(ticket) = Ticket::parse(text) {
        assert_eq!(ticket.to_secret_text().expose(), text);
    }
    let _ = CoreKey::parse(text);
    let _ = CoreTokens::new(CoreKey::parse(&site.core).expect("Core's key"));
});
