//! Sealed sessions: RFC 9180's vectors, which openings are sealed, and the stand-in browser's half
//! of the protocol against this crate's.
#![allow(clippy::disallowed_methods, reason = "a test reads vectors")]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::call::SessionEndpoint;
use countersign_keys::call::names::{SESSION_CONTINUE, SESSION_OPEN};
use countersign_keys::keyring::{Algorithm, EnrolledKey};
use countersign_keys::seal::{
    EncapsulatedKey, Kind, MessageReader, PieceReader, Received, RecordRejection, SealClaim, SealKey, SealedSession,
    Sealer,
};
use countersign_keys::session::{
    Opening, Piece, PresentedSession, ProofNeed, SealNeed, SealedOpening, SessionPermit, SessionRejection, TokenHash,
};
use countersign_keys::verify::Rejection;
use countersign_portal::SealingKey;
use countersign_portal::seal::{END, FIRST, MESSAGE, PART};
use countersign_portal::session::projection;
use countersign_portal::signer::Intent;
use serde_json::{Value, json};

use crate::interop::{Language, ask};
use crate::sessions::Instance;
use crate::support::judging::{AUDIENCE, NOW, Site, USER, at};

fn vector() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/hpke.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The library's context, from the recipient's key material, and this crate's public key from the
/// same.
#[test]
fn rfc_9180_s_vectors_of_this_suite_pass() {
    use hpke::aead::AesGcm256;
    use hpke::kdf::HkdfSha256;
    use hpke::kem::DhP256HkdfSha256;
    use hpke::{Deserializable as _, Kem, OpModeR, Serializable as _};

    let vector = vector();
    assert_eq!((&vector["mode"], &vector["kem_id"]), (&json!(0), &json!(16)));
    assert_eq!((&vector["kdf_id"], &vector["aead_id"]), (&json!(1), &json!(2)));
    let (private, public) = DhP256HkdfSha256::derive_keypair(&hex(&vector["ikmR"]));
    assert_eq!(private.to_bytes().to_vec(), hex(&vector["skRm"]));
    assert_eq!(public.to_bytes().to_vec(), hex(&vector["pkRm"]));
    let own = SealKey::derive(hex(&vector["ikmR"]).try_into().unwrap()).claim();
    assert_eq!(own, SealClaim::of(&hex(&vector["pkRm"]).try_into().unwrap()));

    let enc = <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(&hex(&vector["enc"])).unwrap();
    let set_up = hpke::setup_receiver::<AesGcm256, HkdfSha256, DhP256HkdfSha256>;
    let context = set_up(&OpModeR::Base, &private, &enc, &hex(&vector["info"])).unwrap();
    let browser = SealingKey::set_up_with(&hex(&vector["skEm"]), &hex(&vector["pkRm"]), &hex(&vector["info"])).unwrap();
    assert_eq!(browser.enc(), URL_SAFE_NO_PAD.encode(hex(&vector["enc"])));
    let exports = vector["exports"].as_array().unwrap();
    assert_eq!(exports.len(), 3);
    for export in exports {
        let mut value = vec![0; 32];
        context.export(&hex(&export["exporter_context"]), &mut value).unwrap();
        assert_eq!(value, hex(&export["exported_value"]));
        assert_eq!(browser.export(&hex(&export["exporter_context"])), value);
    }
}

/// Judges the opening of a download with this encapsulated key in the request and in the intent.
struct Asked<'a> {
    token: &'a str,
    call: &'a str,
    signed: Option<&'a str>,
    sent: Option<&'a str>,
    seal: SealNeed,
}

impl Asked<'_> {
    fn judge<T>(
        &self,
        site: &Site,
        instance: &Instance,
        then: impl FnOnce(&SessionPermit<'_>, &str) -> T,
    ) -> Result<T, Rejection> {
        let proof = Intent::new(AUDIENCE, USER, self.call, &[projection(self.token, None, self.signed)], NOW).unwrap();
        let proof = proof.sign(&site.key).unwrap();
        let piece = Piece::without_bytes(self.sent.map(|enc| EncapsulatedKey::parse(enc).unwrap()));
        let presented = PresentedSession::parse(SessionEndpoint::Download, self.token, Some(&proof), piece)?;
        let keys: Vec<_> =
            site.records.iter().map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect();
        let verified = presented.verify(Some(&instance.public_half()), &keys, &site.policy.terms, at(NOW))?;
        let authorised = verified.authorise(&site.calls, ProofNeed::Required, self.seal, &site.policy)?;
        let permit = authorised.consume(&site.policy, &site.log, at(NOW))?;
        Ok(then(&permit, &proof))
    }

    fn outcome(&self) -> Result<Option<bool>, Rejection> {
        let (instance, site) = (sealing_instance().0, Site::new(Algorithm::Es256));
        let token = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW);
        Asked { token: &token, ..*self }.judge(&site, &instance, |permit, _| permit.is_sealed())
    }
}

fn sealing_instance() -> (Instance, SealKey) {
    let key = SealKey::derive([4; 32]);
    let mut instance = Instance::new();
    instance.seal = Some(key.claim());
    (instance, key)
}

fn enc() -> String {
    SealingKey::set_up_with(&[7; 32], &hex(&vector()["pkRm"]), b"").unwrap().enc()
}

#[test]
fn p3_the_signed_intent_decides_whether_a_session_is_sealed() {
    let enc = enc();
    let other = SealingKey::set_up_with(&[8; 32], &hex(&vector()["pkRm"]), b"").unwrap().enc();
    let check =
        |call: &str, signed: Option<&str>, sent: Option<&str>, seal: SealNeed, want: Result<Option<bool>, &str>| {
            let outcome = Asked { token: "", call, signed, sent, seal }.outcome();
            let outcome = outcome.map_err(|rejection| rejection.to_string());
            assert_eq!(outcome, want.map_err(str::to_owned), "{signed:?} {sent:?} {seal:?}");
        };
    let parameters = "the parameters are not those that the user signed";
    for seal in [SealNeed::Required, SealNeed::Preferred] {
        check(SESSION_OPEN, Some(&enc), Some(&enc), seal, Ok(Some(true)));
        // What a gateway may do: strip the seal, add one, or put in its own.
        check(SESSION_OPEN, None, Some(&enc), seal, Err(parameters));
        check(SESSION_OPEN, Some(&enc), Some(&other), seal, Err(parameters));
    }
    check(SESSION_OPEN, Some(&enc), None, SealNeed::Preferred, Err(parameters));
    check(SESSION_OPEN, None, None, SealNeed::Preferred, Ok(Some(false)));
    check(SESSION_OPEN, None, None, SealNeed::Off, Ok(Some(false)));
    let required = "an opening without a seal, which this provider requires";
    check(SESSION_OPEN, None, None, SealNeed::Required, Err(required));
    check(SESSION_CONTINUE, None, None, SealNeed::Required, Ok(None));
    let outcome =
        Asked { token: "", call: SESSION_CONTINUE, signed: Some(&enc), sent: Some(&enc), seal: SealNeed::Preferred };
    assert!(matches!(outcome.outcome(), Err(Rejection::Bind(_))), "only an opening seals");
}

#[test]
fn p3_a_token_without_a_seal_cannot_be_opened_with_one() {
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW);
    assert!(SealingKey::agree(&token).unwrap().is_none(), "an honest browser sees that");
    let enc = enc();
    let (signed, sent) = (Some(enc.as_str()), Some(enc.as_str()));
    let asked = Asked { token: &token, call: SESSION_OPEN, signed, sent, seal: SealNeed::Off };
    let refused = asked.judge(&site, &instance, |_, _| ()).unwrap_err();
    assert_eq!(refused, Rejection::Session(SessionRejection::NoSeal));
}

#[test]
fn p3_an_encapsulated_key_that_nobody_signed_seals_nothing() {
    let (site, (instance, _)) = (Site::new(Algorithm::Es256), sealing_instance());
    let token = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW);
    let piece = Piece::without_bytes(EncapsulatedKey::parse(&enc()));
    let presented = PresentedSession::parse(SessionEndpoint::Download, &token, None, piece).unwrap();
    let verified = presented.verify(Some(&instance.public_half()), &[], &site.policy.terms, at(NOW)).unwrap();
    let refused = verified.authorise(&site.calls, ProofNeed::Off, SealNeed::Preferred, &site.policy).unwrap_err();
    assert_eq!(refused, Rejection::Session(SessionRejection::NoProof));
}

#[test]
fn a_token_s_seal_is_of_the_one_suite_or_the_token_is_malformed() {
    let instance = countersign_portal::session::InstanceKey::make().unwrap();
    let check = |seal: Value, want: bool| {
        let alter = |_: &mut Value, claims: &mut Value| claims["seal"] = seal.clone();
        let token = instance.token(AUDIENCE, USER, "files.createDownload", NOW, alter).unwrap();
        let parsed = PresentedSession::parse(SessionEndpoint::Download, &token, None, Piece::default());
        assert_eq!(parsed.is_ok(), want, "{seal}");
    };
    let (kem, pk) = ("DHKEM(P-256, HKDF-SHA256)", enc());
    check(json!({"kem": kem, "pk": pk}), true);
    check(json!({"kem": "DHKEM(X25519, HKDF-SHA256)", "pk": pk}), false);
    check(json!({"kem": kem, "pk": &pk[1..]}), false);
    check(json!({"kem": kem}), false);
    check(json!({"kem": kem, "pk": pk, "aead": "none"}), false);
    check(json!("off"), false);
}

/// Another implementation of HPKE and of the records, written from the protocol's text.
#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn a_piece_that_pypi_pyhpke_sealed_is_read_here() {
    #[derive(serde::Deserialize)]
    struct Sealed {
        enc: String,
        body: Value,
        answer: Value,
    }
    let (site, (instance, key)) = (Site::new(Algorithm::Es256), sealing_instance());
    let token = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW);
    let job = json!({"token": token, "offset": 5, "total": 300, "content": "æ of alice"});
    let [Sealed { enc, body, answer }] =
        <[_; 1]>::try_from(ask::<Sealed>(Language::Python, "seal.py", &job)).ok().unwrap();
    let (signed, sent) = (Some(enc.as_str()), Some(enc.as_str()));
    let asked = Asked { token: &token, call: SESSION_OPEN, signed, sent, seal: SealNeed::Required };
    let accept = |permit: &SessionPermit<'_>, _: &str| {
        let Some(Opening::Sealed(opening)) = permit.opening() else { panic!("not sealed") };
        opening.accept(key).unwrap()
    };
    let session = Arc::new(asked.judge(&site, &instance, accept).unwrap());
    let mut reader = PieceReader::new(session, 5, 300);
    let body = hex(&body);
    let mut bytes = body.as_slice();
    assert!(reader.read(&mut bytes).unwrap());
    assert_eq!(reader.plaintext(), "æ of alice".as_bytes());
    assert_eq!(reader.answer().unwrap_err(), RecordRejection::Order, "not before its end");
    assert!(!reader.read(&mut bytes).unwrap() && reader.is_ended());
    assert_eq!(reader.answer().unwrap(), hex(&answer));
}

/// Opens a sealed session with the stand-in's browser, and returns both ends.
fn opened() -> (SealedSession, SealingKey, String) {
    let (site, (instance, key)) = (Site::new(Algorithm::Es256), sealing_instance());
    let token = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW);
    let browser = SealingKey::agree(&token).unwrap().expect("a seal");
    let enc = browser.enc();
    let asked =
        Asked { token: &token, call: SESSION_OPEN, signed: Some(&enc), sent: Some(&enc), seal: SealNeed::Required };
    let accept = |permit: &SessionPermit<'_>, proof: &str| {
        let Some(Opening::Sealed(opening)) = permit.opening() else { panic!("not sealed") };
        (SealedOpening::accept(opening, key).unwrap(), proof.to_owned())
    };
    let (session, proof) = asked.judge(&site, &instance, accept).unwrap();
    assert_eq!(TokenHash::of(&token).to_base64url().len(), 43);
    (session, browser, proof)
}

#[test]
fn the_stand_in_s_browser_and_this_crate_open_each_other_s_records() {
    let (session, browser, proof) = opened();
    let (opener, mut sealer) = session.into_socket().unwrap();
    let (mut up, mut down) = browser.session(&proof).unwrap();
    let mut reader = MessageReader::new(opener, 1000);
    let mut hear = |kind: u8, text: &[u8]| reader.take(up.seal(kind, text).unwrap());
    assert_eq!(hear(FIRST, b""), Ok(Received::Confirmed));
    assert_eq!(hear(PART, b"ab"), Ok(Received::Part));
    assert_eq!(hear(MESSAGE, b"c"), Ok(Received::Message(b"abc".to_vec())));
    assert_eq!(hear(END, b"bye"), Ok(Received::End(b"bye".to_vec())));
    let mut say = |kind: Kind, text: &[u8]| down.open(&sealer.record(kind, text).unwrap()).unwrap();
    assert_eq!(say(Kind::First, b""), (FIRST, vec![]));
    assert_eq!(say(Kind::Message, b"xyz"), (MESSAGE, b"xyz".to_vec()));
    assert_eq!(say(Kind::End, b""), (END, vec![]));
}

#[test]
fn p3_the_two_directions_and_two_intents_share_no_key() {
    let (session, browser, proof) = opened();
    let (_, mut sealer) = session.into_socket().unwrap();
    let first = sealer.record(Kind::First, b"").unwrap();
    let (mut up, _) = browser.session(&proof).unwrap();
    assert_ne!(up.seal(FIRST, b"").unwrap(), first, "reflected");
    let (_, mut of_another) = browser.session("another intent").unwrap();
    assert!(of_another.open(&first).is_err());
    let (_, mut down) = browser.session(&proof).unwrap();
    assert!(down.open(&first).is_ok());
}

#[test]
fn the_stand_in_s_pieces_are_read_here() {
    let (session, browser, _) = opened();
    let session = Arc::new(session);
    for length in [0, 1, 65_536, 200_000] {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let body = browser.piece([1; 16], 5, 300_000, &content).unwrap();
        assert_eq!(countersign_keys::seal::plaintext_of(body.len() as u64), Some(length));
        let mut reader = PieceReader::new(Arc::clone(&session), 5, 300_000);
        let (mut bytes, mut read) = (body.as_slice(), Vec::new());
        while reader.read(&mut bytes).unwrap() {
            read.extend_from_slice(reader.plaintext());
        }
        assert!(reader.is_ended() && read == content);
    }
}

#[test]
fn p3_the_answer_to_a_piece_is_of_that_piece_alone() {
    let (session, browser, _) = opened();
    let body = browser.piece([1; 16], 5, 300_000, b"content").unwrap();
    let mut reader = PieceReader::new(Arc::new(session), 5, 300_000);
    let mut bytes = body.as_slice();
    while reader.read(&mut bytes).unwrap() {}
    let answer = reader.answer().unwrap();
    assert_eq!(answer.len(), 42);
    let check = |salt: u8, offset: i64, total: i64, answer: &[u8], want: bool| {
        assert_eq!(browser.is_answer([salt; 16], offset, total, answer).unwrap(), want, "{salt} {offset} {total}");
    };
    check(1, 5, 300_000, &answer, true);
    check(2, 5, 300_000, &answer, false);
    check(1, 6, 300_000, &answer, false);
    check(1, 5, 300_001, &answer, false);
    // What a gateway could send: nothing, the piece itself, the answer cut short or with more.
    check(1, 5, 300_000, b"", false);
    check(1, 5, 300_000, &body[16..], false);
    check(1, 5, 300_000, &answer[..21], false);
    check(1, 5, 300_000, &[answer.as_slice(), b"x"].concat(), false);
    let (other, _, _) = opened();
    let mut unread = PieceReader::new(Arc::new(other), 5, 300_000);
    assert_eq!(unread.answer().unwrap_err(), RecordRejection::Order, "not of a piece that has not ended");
    assert!(unread.read(&mut body.as_slice()).is_err());
    assert_eq!(unread.answer().unwrap_err(), RecordRejection::Order);
}

/// A sealer belongs to one session; it cannot be made without one.
const _: fn(SealedSession) -> Result<Sealer, countersign_keys::seal::SealFailure> = SealedSession::into_download;
