//! Proofs of possession for a new key: every member counts, and nothing else passes for a proof.
//! Over HTTP: `tests/enrolment.rs`.

use countersign_keys::enrolment::{Challenge, EnrolmentRejection, PROOF_MAX, Renewal, TICKET_LIFETIME_S, Ticket};
use countersign_keys::identity::{KeyId, Origin, Username};
use countersign_keys::keyring::{Algorithm, VerificationKey};
use countersign_portal::signer::{self, enrolment_proof, renewal_proof};
use countersign_portal::{BrowserKey, Draft};
use serde_json::json;

const ORIGIN: &str = "https://hpc.example.org";
const NONCE: &str = "cXVpY2tseQ";

struct Offer {
    key: BrowserKey,
    origin: Origin,
    username: Username,
    ticket: Ticket,
}

impl Offer {
    fn new() -> Self {
        Self {
            key: BrowserKey::make(signer::Algorithm::Es256).unwrap(),
            origin: Origin::parse(ORIGIN).unwrap(),
            username: Username::parse("alice#1234").unwrap(),
            ticket: Ticket::from_bytes([7; 32]),
        }
    }

    fn proof(&self, nonce: &str) -> Draft {
        enrolment_proof(&self.key, ORIGIN, self.ticket.to_secret_text().expose(), self.username.as_str(), nonce)
    }

    fn verification_key(&self) -> VerificationKey {
        let jwk = self.key.public_jwk().to_string();
        VerificationKey::from_jwk(jwk.as_bytes(), Algorithm::Es256).unwrap()
    }

    fn verify(&self, proof: &str, nonce: &str) -> Result<(), EnrolmentRejection> {
        let challenge =
            Challenge { origin: &self.origin, ticket: &self.ticket.hash(), username: &self.username, nonce };
        challenge.verify(proof, &self.verification_key())
    }
}

#[test]
fn v46_each_member_of_a_proof_counts() {
    let offer = Offer::new();
    let verify = |draft: Draft| offer.verify(&draft.sign(&offer.key).unwrap(), NONCE);
    assert_eq!(verify(offer.proof(NONCE)), Ok(()));
    for (claim, value) in [
        ("aud", "https://other.example.org"),
        ("ticket", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("username", "mallory#6666"),
        ("nonce", "b3RoZXI"),
    ] {
        let altered = offer.proof(NONCE).with_claim(claim, json!(value));
        assert_eq!(verify(altered), Err(EnrolmentRejection::ProofClaims), "{claim}");
    }
    let stranger = BrowserKey::make(signer::Algorithm::Es256).unwrap();
    let by_a_stranger = offer.proof(NONCE).sign(&stranger).unwrap();
    assert_eq!(offer.verify(&by_a_stranger, NONCE), Err(EnrolmentRejection::ProofSignature));
    let of_another_algorithm = offer.proof(NONCE).with_header("alg", json!("EdDSA"));
    assert_eq!(verify(of_another_algorithm), Err(EnrolmentRejection::ProofSignature));
}

#[test]
fn v20_only_its_own_type_passes_for_a_proof() {
    let offer = Offer::new();
    for typ in ["ucloud-intent+jwt", "ucloud-renew+jwt", "ucloud-enrol+jwt "] {
        let proof = offer.proof(NONCE).with_header("typ", json!(typ)).sign(&offer.key).unwrap();
        assert!(matches!(offer.verify(&proof, NONCE), Err(EnrolmentRejection::ProofForm(_))), "{typ}");
    }
}

#[test]
fn v20_each_member_of_a_renewals_proof_counts() {
    let offer = Offer::new();
    let old = KeyId::from_bytes([3; 16]);
    let verify = |draft: Draft| {
        let renewal = Renewal { origin: &offer.origin, username: &offer.username, old };
        renewal.verify(&draft.sign(&offer.key).unwrap(), &offer.verification_key())
    };
    let proof = || renewal_proof(&offer.key, ORIGIN, offer.username.as_str(), &old.to_string());
    assert_eq!(verify(proof()), Ok(()));
    for (claim, value) in [
        ("aud", "https://other.example.org".to_owned()),
        ("username", "mallory#6666".to_owned()),
        ("kid", KeyId::from_bytes([4; 16]).to_string()),
    ] {
        let altered = proof().with_claim(claim, json!(value));
        assert_eq!(verify(altered), Err(EnrolmentRejection::ProofClaims), "{claim}");
    }
}

/// A nonce has any length that the provider chooses, so it makes a proof of any length here.
#[test]
fn a_proof_has_4_kib_at_most() {
    let offer = Offer::new();
    let (mut longest_taken, mut shortest_refused) = (0, usize::MAX);
    for length in 2_700..3_000 {
        let nonce = "n".repeat(length);
        let proof = offer.proof(&nonce).sign(&offer.key).unwrap();
        match offer.verify(&proof, &nonce) {
            Ok(()) => longest_taken = longest_taken.max(proof.len()),
            Err(EnrolmentRejection::ProofForm(_)) => shortest_refused = shortest_refused.min(proof.len()),
            Err(other) => panic!("{length}: {other}"),
        }
    }
    // No base64url text has a remainder of one character.
    assert!((4_095..=4_096).contains(&longest_taken), "{longest_taken}");
    assert!((4_097..=4_098).contains(&shortest_refused), "{shortest_refused}");
    assert_eq!(PROOF_MAX, 4_096);
}

/// Protocol, section 6, step 1.
#[test]
fn v45_a_ticket_lives_for_fifteen_minutes() {
    assert_eq!(TICKET_LIFETIME_S, 900);
}
