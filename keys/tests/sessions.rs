//! One-time tokens and the user's proof. Each case has one alteration, so that only the tested rule
//! can refuse it.

use std::sync::Arc;

use crate::support::judging::{AUDIENCE, NOW, Site, USER, at};
use countersign_keys::call::SessionEndpoint;
use countersign_keys::call::names::{SESSION_CONTINUE, SESSION_OPEN};
use countersign_keys::identity::{CallName, Origin, Username};
use countersign_keys::keyring::{Algorithm, EnrolledKey, VerificationKey};
use countersign_keys::seal::SealClaim;
use countersign_keys::session::{
    ContentDigest, Grant, INTERFACE_LIFETIME_S, InterfaceClaim, InterfaceKind, Piece, PresentedSession, ProofNeed,
    SESSION_MAX_S, SealNeed, SessionRejection, TOKEN_LIFETIME_S, TOKEN_MAX, TokenHash, Turn,
};
use countersign_keys::verify::{Class, Rejection};
use countersign_portal::signer::{self, BrowserKey, Intent, Projection};
use serde_json::{Value, json};

const ITEM: [u8; 32] = [7; 32];

/// A user's instance, which makes tokens with its own key.
pub(crate) struct Instance {
    key: BrowserKey,
    /// The key to which its tokens' sessions can be sealed.
    pub(crate) seal: Option<SealClaim>,
    /// The interface that its tokens open, and how long.
    interface: Option<(InterfaceClaim, i64)>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self { key: BrowserKey::make(signer::Algorithm::Es256).unwrap(), seal: None, interface: None }
    }

    pub(crate) fn public_half(&self) -> VerificationKey {
        VerificationKey::from_jwk(self.key.public_jwk().to_string().as_bytes(), Algorithm::Es256).unwrap()
    }

    pub(crate) fn token_for(&self, audience: &str, username: &str, call: &str, made: i64) -> String {
        let (audience, username) = (Origin::parse(audience).unwrap(), Username::parse(username).unwrap());
        let call = CallName::parse(call).unwrap();
        let (now, item) = (at(made), ITEM);
        let (audience, username, call, seal) = (&audience, &username, &call, self.seal.as_ref());
        let interface = self.interface.as_ref().map(|(claim, _)| claim);
        let lifetime_s = self.interface.as_ref().map_or(60, |(_, lifetime_s)| *lifetime_s);
        let grant = Grant { audience, username, call, item, now, lifetime_s, seal, interface };
        self.sign(&grant.signing_input([3; 16]).unwrap())
    }

    fn token(&self) -> String {
        self.token_for(AUDIENCE, USER, "files.createDownload", NOW)
    }

    fn sign(&self, input: &str) -> String {
        format!("{input}.{}", countersign_portal::jws::base64url(&self.key.sign(input.as_bytes()).unwrap()))
    }
}

/// The object that the user's browser signs for a token and the bytes of a request.
fn projection(token: &str, piece: &Piece) -> Projection {
    let digest = piece.digest.map(|digest| countersign_portal::jws::base64url(&digest.0));
    let number = |number: Option<i64>| number.map_or(Value::Null, Value::from);
    Projection::new([
        ("token", json!(TokenHash::of(token).to_base64url())),
        ("offset", number(piece.offset)),
        ("size", number(piece.size)),
        ("total", number(piece.total)),
        ("digest", json!(digest)),
    ])
}

fn proof_at(site: &Site, call: &str, token: &str, piece: &Piece, now: i64) -> String {
    Intent::new(AUDIENCE, USER, call, &[projection(token, piece)], now).unwrap().sign(&site.key).unwrap()
}

fn proof(site: &Site, call: &str, token: &str) -> String {
    proof_at(site, call, token, &Piece::default(), NOW)
}

struct Asked<'a> {
    endpoint: SessionEndpoint,
    token: &'a str,
    proof: Option<&'a str>,
    piece: Piece,
    need: ProofNeed,
    now: i64,
}

impl<'a> Asked<'a> {
    fn download(token: &'a str, proof: &'a str) -> Self {
        let (endpoint, need) = (SessionEndpoint::Download, ProofNeed::Required);
        Self { endpoint, token, proof: Some(proof), piece: Piece::default(), need, now: NOW }
    }

    fn judge(&self, site: &Site, instance: &Instance) -> Result<Turn, Rejection> {
        let presented = PresentedSession::parse(self.endpoint, self.token, self.proof, self.piece.clone())?;
        assert_eq!(presented.key_wanted().is_some(), self.proof.is_some());
        let keys: Vec<_> =
            site.records.iter().map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect();
        let now = at(self.now);
        let verified = presented.verify(Some(&instance.public_half()), &keys, &site.policy.terms, now)?;
        let authorised = verified.authorise(&site.calls, self.need, SealNeed::Preferred, &site.policy)?;
        let signer = self.proof.map(|_| site.records[0].kid);
        assert_eq!(authorised.kid(), signer);
        let permit = authorised.consume(&site.policy, &site.log, now)?;
        assert_eq!((permit.token(), permit.proof(), permit.kid()), (self.token, self.proof, signer));
        assert_eq!(permit.session().item(), &ITEM);
        Ok(permit.turn())
    }

    fn class(&self, site: &Site, instance: &Instance) -> Result<Turn, Class> {
        self.judge(site, instance).map_err(|rejection| rejection.class())
    }
}

#[test]
fn v52_a_token_opens_one_session_for_its_user_who_signs_it() {
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token();
    let [first, second] = [proof(&site, SESSION_OPEN, &token), proof(&site, SESSION_OPEN, &token)];
    assert_eq!(Asked::download(&token, &first).class(&site, &instance), Ok(Turn::Open));
    assert_eq!(Asked::download(&token, &first).class(&site, &instance), Err(Class::IntentReplayed));
    let again = Asked::download(&token, &second).judge(&site, &instance).unwrap_err();
    assert!(matches!(again, Rejection::Session(SessionRejection::Replay(_))), "{again:?}");
    let later = proof(&site, SESSION_CONTINUE, &token);
    assert_eq!(Asked::download(&token, &later).class(&site, &instance), Ok(Turn::Continue));
    assert_eq!(Asked::download(&token, &later).class(&site, &instance), Err(Class::IntentReplayed), "once, too");
}

#[test]
fn v52_a_token_that_core_saw_opens_nothing_without_the_users_proof() {
    let (mut site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token();
    let other = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW - 1);
    let thief = BrowserKey::make(signer::Algorithm::Es256).unwrap();
    let check = |site: &Site, proof: Option<&str>, want: Class| {
        let asked = Asked { proof, ..Asked::download(&token, "") };
        assert_eq!(asked.class(site, &instance), Err(want), "{proof:?}");
    };
    check(&site, None, Class::IntentRequired);
    check(&site, Some(&proof(&site, SESSION_OPEN, &other)), Class::IntentInvalid);
    check(&site, Some(&proof(&site, "keys.list", &token)), Class::IntentInvalid);
    check(&site, Some(&proof(&site, "files.createDownload", &token)), Class::IntentInvalid);
    let stolen = Intent::new(AUDIENCE, USER, SESSION_OPEN, &[projection(&token, &Piece::default())], NOW).unwrap();
    check(&site, Some(&stolen.sign(&thief).unwrap()), Class::IntentInvalid);
    check(&site, Some(&proof_at(&site, SESSION_OPEN, &token, &Piece::default(), NOW - 61)), Class::IntentStale);
    check(&site, Some("x.y.z"), Class::IntentInvalid);
    let stepped = CallName::parse(SESSION_OPEN).unwrap();
    site.policy.step_up.calls.insert(stepped.clone());
    check(&site, Some(&proof(&site, SESSION_OPEN, &token)), Class::IntentStepUp);
    site.policy.step_up.calls.remove(&stepped);
    assert_eq!(Asked::download(&token, &proof(&site, SESSION_OPEN, &token)).class(&site, &instance), Ok(Turn::Open));
}

#[test]
fn v52_another_users_proof_opens_nothing() {
    let (mut site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token_for(AUDIENCE, "bob#1", "files.createDownload", NOW);
    // The proof is valid for its signer, but the token is bob's.
    let proof = proof(&site, SESSION_OPEN, &token);
    assert_eq!(Asked::download(&token, &proof).class(&site, &instance), Err(Class::IntentInvalid));
    // Even if bob owns the key with that id, the claim names the signer.
    site.records[0].owner = Username::parse("bob#1").unwrap();
    assert_eq!(Asked::download(&token, &proof).class(&site, &instance), Err(Class::IntentInvalid));
}

#[test]
fn v52_only_the_users_own_instance_makes_tokens_for_this_provider_and_this_endpoint() {
    let (site, instance, stranger) = (Site::new(Algorithm::Es256), Instance::new(), Instance::new());
    let check = |token: &str, want: Result<Turn, Class>| {
        let proof = proof(&site, SESSION_OPEN, token);
        assert_eq!(Asked::download(token, &proof).class(&site, &instance), want, "{token}");
    };
    check(&stranger.token(), Err(Class::Unauthorised));
    check(
        &instance.token_for("https://other.example.org", USER, "files.createDownload", NOW),
        Err(Class::Unauthorised),
    );
    check(&instance.token_for(AUDIENCE, USER, "files.createUpload", NOW), Err(Class::Unauthorised));
    check(&instance.token_for(AUDIENCE, USER, "files.browse", NOW), Err(Class::Unauthorised));
    let mut altered = instance.token();
    let place = altered.len() - 4..altered.len() - 3;
    let another = if &altered[place.clone()] == "-" { "_" } else { "-" };
    altered.replace_range(place, another);
    check(&altered, Err(Class::Unauthorised));
    check(&format!("{}=", instance.token()), Err(Class::Unauthorised));
    check(&format!(" {}", instance.token()), Err(Class::Malformed));
    check(&instance.token(), Ok(Turn::Open));
    // Refused too if no key of an instance is known.
    let token = instance.token();
    let presented = PresentedSession::parse(SessionEndpoint::Download, &token, None, Piece::default()).unwrap();
    assert!(presented.verify(None, &[], &site.policy.terms, at(NOW)).is_err());
}

#[test]
fn v20_no_other_jws_passes_for_a_token() {
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let (header, claims) = countersign_portal::jws::read(&instance.token()).unwrap();
    let check = |header: &Value, claims: &Value, want: Class| {
        let sign = |input: &[u8]| instance.key.sign(input);
        let token =
            countersign_portal::jws::compact(header.to_string().as_bytes(), claims.to_string().as_bytes(), sign);
        let token = token.unwrap();
        let proof = proof(&site, SESSION_OPEN, &token);
        assert_eq!(Asked::download(&token, &proof).class(&site, &instance), Err(want), "{header} {claims}");
    };
    let with = |object: &Value, name: &str, value: Value| {
        let mut object = object.clone();
        object[name] = value;
        object
    };
    check(&with(&header, "typ", json!("ucloud-intent+jwt")), &claims, Class::Malformed);
    check(&with(&header, "alg", json!("none")), &claims, Class::Malformed);
    check(&with(&header, "alg", json!("EdDSA")), &claims, Class::Malformed);
    check(&with(&header, "kid", json!("x")), &claims, Class::Malformed);
    check(&header, &with(&claims, "more", json!(1)), Class::Malformed);
    check(&header, &with(&claims, "params", json!("short")), Class::Malformed);
    check(&header, &with(&claims, "jti", json!("short")), Class::Malformed);
    check(&header, &with(&claims, "exp", json!(NOW + 61)), Class::IntentInvalid);
    check(&header, &with(&claims, "iat", json!(NOW + 6)), Class::IntentStale);
    for claim in ["aud", "username", "call", "params", "jti", "iat", "exp"] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(claim);
        check(&header, &claims, Class::Malformed);
    }
}

#[test]
fn v34_a_token_is_redeemed_within_a_minute() {
    let (mut site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    site.records[0].expires = at(NOW + 2 * SESSION_MAX_S);
    let token = instance.token();
    let late = |now: i64, call: &str| {
        let proof = proof_at(&site, call, &token, &Piece::default(), now);
        Asked { now, ..Asked::download(&token, &proof) }.class(&site, &instance)
    };
    assert_eq!(late(NOW + 61, SESSION_OPEN), Err(Class::IntentStale));
    assert_eq!(late(NOW + 60, SESSION_OPEN), Ok(Turn::Open));
    assert_eq!(late(NOW + SESSION_MAX_S, SESSION_CONTINUE), Ok(Turn::Continue));
    assert_eq!(late(NOW + SESSION_MAX_S + 1, SESSION_CONTINUE), Err(Class::IntentStale));
}

#[test]
fn v28_v29_the_proof_covers_where_the_bytes_belong_how_many_and_which_they_are() {
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token_for(AUDIENCE, USER, "files.createUpload", NOW);
    let digest = Some(ContentDigest([1; 32]));
    let signed = Piece { offset: Some(0), size: Some(5), total: Some(10), digest, enc: None };
    let check_signed = |signed: &Piece, piece: Piece, want: Result<Turn, Class>| {
        let proof = proof_at(&site, SESSION_CONTINUE, &token, signed, NOW);
        let endpoint = SessionEndpoint::ChunkedUpload;
        let asked = Asked { endpoint, piece: piece.clone(), ..Asked::download(&token, &proof) };
        assert_eq!(asked.class(&site, &instance), want, "{piece:?}");
    };
    let check = |piece: Piece, want: Result<Turn, Class>| check_signed(&signed, piece, want);
    check(Piece { offset: Some(5), ..signed.clone() }, Err(Class::IntentInvalid));
    check(Piece { size: Some(6), ..signed.clone() }, Err(Class::IntentInvalid));
    check(Piece { total: Some(5), ..signed.clone() }, Err(Class::IntentInvalid));
    check(Piece { digest: Some(ContentDigest([2; 32])), ..signed.clone() }, Err(Class::IntentInvalid));
    check(Piece { digest: None, ..signed.clone() }, Err(Class::Malformed));
    check(Piece::default(), Err(Class::IntentInvalid));
    check(signed.clone(), Ok(Turn::Continue));
    // No bytes need no digest.
    let empty = Piece { size: Some(0), digest: None, ..signed.clone() };
    check_signed(&empty, empty.clone(), Ok(Turn::Continue));
}

#[test]
fn v07_a_token_has_2_kib_at_most_and_a_session_two_days() {
    assert_eq!((TOKEN_LIFETIME_S, SESSION_MAX_S, TOKEN_MAX), (60, 172_800, 2_048));
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let token = instance.token();
    let proof = proof(&site, SESSION_OPEN, &token);
    let long = format!("{token}{}", "A".repeat(TOKEN_MAX + 1 - token.len()));
    assert_eq!(Asked::download(&long, &proof).class(&site, &instance), Err(Class::Malformed));
}

#[test]
fn without_proof_a_token_opens_once_and_only_an_upload_goes_on() {
    let (site, instance) = (Site::new(Algorithm::Es256), Instance::new());
    let ask = |endpoint: SessionEndpoint, token: &str, now: i64| {
        let piece = Piece::default();
        Asked { endpoint, token, proof: None, piece, need: ProofNeed::Off, now }.class(&site, &instance)
    };
    let (download, upload) = (instance.token(), instance.token_for(AUDIENCE, USER, "files.createUpload", NOW));
    assert_eq!(ask(SessionEndpoint::Download, &download, NOW), Ok(Turn::Open));
    assert_eq!(ask(SessionEndpoint::Download, &download, NOW), Err(Class::IntentReplayed));
    assert_eq!(ask(SessionEndpoint::ChunkedUpload, &upload, NOW), Ok(Turn::Open));
    assert_eq!(ask(SessionEndpoint::ChunkedUpload, &upload, NOW), Ok(Turn::Continue));
    assert_eq!(ask(SessionEndpoint::ChunkedUpload, &upload, NOW + 61), Ok(Turn::Continue));
    assert_eq!(ask(SessionEndpoint::UploadSocket, &upload, NOW), Err(Class::IntentReplayed));
    // A proof that is present must be valid, even where none is required.
    let fresh = instance.token_for(AUDIENCE, USER, "files.createDownload", NOW - 1);
    let other = proof(&site, SESSION_OPEN, &download);
    let asked = Asked { need: ProofNeed::Off, ..Asked::download(&fresh, &other) };
    assert_eq!(asked.class(&site, &instance), Err(Class::IntentInvalid));
}

#[test]
fn v29_a_content_digest_has_one_spelling() {
    let digest = ContentDigest([0xfb; 32]);
    let header = digest.to_header();
    assert_eq!(ContentDigest::parse(&header), Ok(digest));
    for wrong in [
        "",
        "sha-256=::",
        &header.replace("sha-256", "sha-512"),
        &header.replace("sha-256", "SHA-256"),
        &format!("{header}, sha-512=:AAAA:"),
        &header.replace('=', ""),
        &header.replace('+', "-"),
        &format!(" {header}"),
    ] {
        assert_eq!(ContentDigest::parse(wrong), Err(SessionRejection::Piece("content-digest")), "{wrong}");
    }
}

// --- Interfaces of jobs: their address is opened late, and again. ---

const INTERACTIVE: &str = "jobs.openInteractiveSession";

impl Instance {
    fn of_interface(kind: InterfaceKind, origin: &str, lifetime_s: i64) -> Self {
        let claim = InterfaceClaim { kind, place: "54112-0-2".to_owned(), origin: origin.to_owned() };
        Self { interface: Some((claim, lifetime_s)), ..Self::new() }
    }
}

#[test]
fn j08_the_token_of_an_interface_opens_again_for_twelve_hours_each_time_with_a_new_proof() {
    assert_eq!(INTERFACE_LIFETIME_S, 12 * 3600);
    let site = Site::new(Algorithm::Es256);
    let instance = Instance::of_interface(InterfaceKind::Web, "https://app-1-0.example.org", INTERFACE_LIFETIME_S);
    let token = instance.token_for(AUDIENCE, USER, INTERACTIVE, NOW);
    let at_web = |token: &str, proof: &str, now: i64| {
        Asked { endpoint: SessionEndpoint::Web, now, ..Asked::download(token, proof) }.class(&site, &instance)
    };
    let proof = |call: &str, now: i64| proof_at(&site, call, &token, &Piece::default(), now);
    let first = proof(SESSION_OPEN, NOW);
    assert_eq!(at_web(&token, &first, NOW), Ok(Turn::Open));
    assert_eq!(at_web(&token, &first, NOW), Err(Class::IntentReplayed), "the same proof");
    assert_eq!(at_web(&token, &proof(SESSION_OPEN, NOW), NOW), Ok(Turn::Open), "a new one");
    for (later, want) in
        [(11 * 3600, Ok(Turn::Open)), (12 * 3600, Ok(Turn::Open)), (12 * 3600 + 1, Err(Class::IntentStale))]
    {
        let now = NOW + later;
        assert_eq!(at_web(&token, &proof(SESSION_OPEN, now), now), want, "{later}");
    }
    let early = instance.token_for(AUDIENCE, USER, INTERACTIVE, NOW + 6);
    let opening = proof_at(&site, SESSION_OPEN, &early, &Piece::default(), NOW);
    assert_eq!(at_web(&early, &opening, NOW), Err(Class::IntentStale), "from the future");

    // Without a proof it opens nothing, whatever the site asks for.
    let alone =
        Asked { endpoint: SessionEndpoint::Web, proof: None, need: ProofNeed::Off, ..Asked::download(&token, "") };
    assert_eq!(alone.class(&site, &instance), Err(Class::IntentInvalid));
    let longer = Instance::of_interface(InterfaceKind::Web, "https://app-1-0.example.org", INTERFACE_LIFETIME_S + 1);
    let token = longer.token_for(AUDIENCE, USER, INTERACTIVE, NOW);
    let opening = proof_at(&site, SESSION_OPEN, &token, &Piece::default(), NOW);
    let asked = Asked { endpoint: SessionEndpoint::Web, ..Asked::download(&token, &opening) };
    assert_eq!(asked.class(&site, &longer), Err(Class::IntentInvalid));
}

#[test]
fn j08_without_a_proof_the_token_of_an_interface_opens_once_within_a_minute() {
    let site = Site::new(Algorithm::Es256);
    let instance = Instance::of_interface(InterfaceKind::Vnc, AUDIENCE, TOKEN_LIFETIME_S);
    let token = instance.token_for(AUDIENCE, USER, INTERACTIVE, NOW);
    let alone = || Asked {
        endpoint: SessionEndpoint::VncSocket,
        proof: None,
        need: ProofNeed::Off,
        ..Asked::download(&token, "")
    };
    let late = Asked { now: NOW + 61, ..alone() };
    assert_eq!(late.class(&site, &instance), Err(Class::IntentStale));
    assert_eq!(alone().class(&site, &instance), Ok(Turn::Open));
    assert_eq!(alone().class(&site, &instance), Err(Class::IntentReplayed));
}

#[test]
fn j08_a_token_opens_what_its_claim_names_and_nothing_else() {
    let site = Site::new(Algorithm::Es256);
    let ask = |instance: &Instance, endpoint: SessionEndpoint| {
        let token = instance.token_for(AUDIENCE, USER, INTERACTIVE, NOW);
        let opening = proof_at(&site, SESSION_OPEN, &token, &Piece::default(), NOW);
        Asked { endpoint, ..Asked::download(&token, &opening) }.class(&site, instance)
    };
    let (web, vnc, shell) = (SessionEndpoint::Web, SessionEndpoint::VncSocket, SessionEndpoint::ShellSocket);
    let of = |kind, origin| Instance::of_interface(kind, origin, TOKEN_LIFETIME_S);
    for (instance, allowed) in [
        (of(InterfaceKind::Web, "https://app-1-0.example.org"), web),
        (of(InterfaceKind::Vnc, AUDIENCE), vnc),
        (Instance::new(), shell),
    ] {
        for endpoint in [web, vnc, shell] {
            let want = if endpoint == allowed { Ok(Turn::Open) } else { Err(Class::Unauthorised) };
            assert_eq!(ask(&instance, endpoint), want, "{allowed:?} at {endpoint:?}");
        }
    }
    // A desktop is at the provider's own origin.
    assert_eq!(ask(&of(InterfaceKind::Vnc, "https://other.example.org"), vnc), Err(Class::Unauthorised));
    let long = format!("https://{}.example.org", "a".repeat(300));
    assert_eq!(ask(&of(InterfaceKind::Web, &long), web), Err(Class::Malformed));
    for place in ["1/0", "1-0 ", "a-0", &"1".repeat(33)] {
        let mut instance = of(InterfaceKind::Web, "https://app-1-0.example.org");
        if let Some((claim, _)) = &mut instance.interface {
            claim.place = place.to_owned();
        }
        assert_eq!(ask(&instance, web), Err(Class::Malformed), "{place}");
    }
}
