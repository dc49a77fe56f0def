//! Interoperability: this crate verifies what other signers and canonicalisers from npm and PyPI
//! make of the protocol's text, digest for digest. The programs are in `tests/interop/`. Each reads
//! one job, answers it as a whole, and uses its own keys.
#![allow(clippy::disallowed_types)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::bind::Items;
use countersign_keys::call::{BoundSpec, CallTable, Kind, Lane, Method, Route, Row, RowSpec};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{KeyId, Origin, ProviderId, Username};
use countersign_keys::intent::{IntentRejection, PresentedIntent, Terms, VerifiedIntent, Version1};
use countersign_keys::json::INTEGER_MAX;
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::request::INTENT_MAX;
use countersign_keys::time::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::{Map, Value, json};

const NOW_S: i64 = 1_800_000_000;
const ORIGIN: &str = "https://hpc.example.org";
/// Not ASCII, so that every step must agree on UTF-8.
const USERNAME: &str = "Ælice#1234";
const CALL: &str = "interop.everything";
const KEY_ID: [u8; 16] = *b"sixteen bytes id";
/// Intents by each signer for each of its algorithms.
const INTENTS_EACH: usize = 20;
/// Items for each canonicaliser.
const ITEMS_CANONICALISED: usize = 400;
const PARAMETERS: [(&str, Kind); 3] = [("plain", Kind::Plain), ("tree", Kind::Tree), ("set", Kind::Set)];

// ---- the programs

#[derive(Clone, Copy)]
pub(crate) enum Language {
    Node,
    Python,
}

/// Runs a program on one job.
pub(crate) fn ask<Answer: serde::de::DeserializeOwned>(language: Language, program: &str, job: &Value) -> Vec<Answer> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let programs = root.join("tests/interop");
    let (interpreter, installed) = match language {
        Language::Node => (PathBuf::from("node"), programs.join("node_modules/.installed-from")),
        Language::Python => {
            let venv = root.join("target/interop-venv");
            (venv.join("bin/python"), venv.join(".installed-from"))
        }
    };
    assert!(installed.exists(), "other people's signers are not installed; ./test does it, with tests/interop/install");
    let mut child = Command::new(&interpreter)
        .arg(programs.join(program))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", interpreter.display()));
    // The program reads to the end before it writes, so neither side blocks the other.
    child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{program} answered nonsense: {error}"))
}

// ---- generated items

/// Strings that are hard for a canonicaliser: controls, quotes, both sides of the surrogates.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "",
        "__proto__",
        "constructor",
        "/",
        "\"\\",
        "\u{0}\u{8}\u{c}\u{1f}\u{7f}",
        "\u{2028}\u{2029}",
        "\u{fb33}",
        "\u{ffff}",
        "\u{1f600}",
        "e\u{301}",
        "\u{e9}",
    ]);
    prop_oneof![
        2 => special.prop_map(str::to_owned),
        3 => prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        3 => "[ -~]{0,12}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let integer = prop_oneof![
        prop::sample::select(vec![0, 1, -1, INTEGER_MAX, -INTEGER_MAX, INTEGER_MAX - 1]),
        -INTEGER_MAX..=INTEGER_MAX,
    ];
    let whole_max = 9_007_199_254_740_991.0;
    let fraction = (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL)
        .prop_map(move |number: f64| if number.abs() <= whole_max { number } else { number % 1e9 });
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer.prop_map(Value::from),
        prop_oneof![fraction, prop::sample::select(vec![0.1, -0.0, 1e-7, 5e-324, 333_333_333.333_333_3, 2.0])]
            .prop_map(Value::from),
        text().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An item as a provider receives it, with or without each parameter.
fn item() -> impl Strategy<Value = Value> {
    let set = prop::collection::vec(text(), 0..6).prop_map(Value::from);
    let (plain, tree, set) = (prop::option::of(value()), prop::option::of(value()), prop::option::of(set));
    (plain, tree, set).prop_map(|(plain, tree, set)| {
        let members = [("plain", plain), ("tree", tree), ("set", set)];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>().into()
    })
}

/// Generates that many values, the same in every run.
fn generate<T: std::fmt::Debug>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The item for a signer: the user's values, and the kind of each parameter.
fn for_signer(item: &Value) -> Value {
    PARAMETERS.iter().map(|(name, kind)| json!({"name": name, "kind": kind, "value": item.get(name)})).collect()
}

// ---- this crate's side

fn row() -> Arc<Row> {
    let bound = PARAMETERS.map(|(name, kind)| BoundSpec {
        name: name.to_owned(),
        at: vec![format!("/{name}")],
        kind,
        changes: Vec::new(),
        optional: false,
    });
    // As a site configures it, because only this crate can set a row's class.
    let spec: RowSpec = serde_json::from_value(json!({
        "call": CALL, "method": "POST", "path": "/ucloud/{p}/interop", "items": "bulk", "bound": bound, "class": "write",
    }))
    .unwrap();
    let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[spec]).unwrap();
    match table.route(Method::Post, "/ucloud/hpc/interop") {
        Some(Route::Private(Lane::User(row))) => Arc::clone(row.row()),
        _ => panic!("the row is not in its table"),
    }
}

fn terms(version_1: Version1) -> Terms {
    let window = Window { lifetime_max_s: 60, future_skew_s: 5 };
    Terms { audience: Origin::parse(ORIGIN).unwrap(), window, version_1 }
}

fn enrolled(key: &VerificationKey, protocol: Protocol) -> Arc<EnrolledKey> {
    let owner = Username::parse(USERNAME).unwrap();
    let lifetime = (Timestamp::from_seconds(NOW_S - 1), Timestamp::from_seconds(NOW_S + 1));
    let record = KeyRecord::new(owner, KeyId::from_bytes(KEY_ID), key, protocol, lifetime, "theirs".to_owned());
    // Through the record, as the store returns it.
    Arc::new(EnrolledKey::from_record(&record).unwrap())
}

fn verify<'h>(
    jws: &'h str,
    key: &Arc<EnrolledKey>,
    version_1: Version1,
) -> Result<VerifiedIntent<'h>, IntentRejection> {
    let username = Username::parse(USERNAME).unwrap();
    let keys = std::slice::from_ref(key);
    let presented = PresentedIntent::parse(jws, INTENT_MAX, version_1)?;
    presented.verify(&username, keys, &terms(version_1), Timestamp::from_seconds(NOW_S))
}

/// The JWS with the first character of its signature changed.
fn tampered(jws: &str) -> String {
    let (signing_input, signature) = jws.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signing_input}.{other}{}", &signature[1..])
}

// ---- signers

#[derive(Deserialize)]
struct Signed {
    jwk: Value,
    jws: String,
}

/// The claims of the n-th intent, without its parameters.
fn claims(n: usize) -> Value {
    let project = if n.is_multiple_of(2) { Value::Null } else { json!("3f1d5a0e-project-Å") };
    let token_id = URL_SAFE_NO_PAD.encode(vec![u8::try_from(n % 256).unwrap(); 16 + n % 49]);
    json!({
        "aud": ORIGIN, "username": USERNAME, "project": project, "call": CALL,
        "iat": NOW_S - 3, "exp": NOW_S + 57, "jti": token_id,
    })
}

/// The intents of one signer with these algorithms: each is accepted for its items, and for no
/// others.
fn check_signer(language: Language, program: &str, algorithms: &[Algorithm]) {
    let row = row();
    let count = INTENTS_EACH * algorithms.len();
    let wanted = generate(count, prop::collection::vec(item(), 1..5));
    let algorithm = |n: usize| algorithms[n % algorithms.len()];
    let intents = wanted.iter().enumerate().map(|(n, items)| {
        let items: Value = items.iter().map(for_signer).collect();
        let kid = KeyId::from_bytes(KEY_ID).to_string();
        json!({"alg": algorithm(n).as_str(), "kid": kid, "claims": claims(n), "items": items})
    });
    let answers: Vec<Signed> = ask(language, program, &json!({"intents": intents.collect::<Value>()}));
    assert_eq!(answers.len(), count);

    for (n, (answer, items)) in answers.iter().zip(&wanted).enumerate() {
        let what = format!("{program}, {}, intent {n}", algorithm(n).as_str());
        let key = VerificationKey::from_jwk(answer.jwk.to_string().as_bytes(), algorithm(n))
            .unwrap_or_else(|error| panic!("{what}: {error}: {}", answer.jwk));
        let key = enrolled(&key, Protocol::V2);
        let intent = verify(&answer.jws, &key, Version1::Refused).unwrap_or_else(|error| panic!("{what}: {error}"));

        let covers = |items: &[Value]| {
            let body = json!({"items": items}).to_string();
            let items = Items::read(&row, body.as_bytes()).unwrap_or_else(|error| panic!("{what}: {error}: {body}"));
            intent.covers(items.digests())
        };
        assert!(covers(items), "{what}: {items:?}");
        let reversed: Vec<_> = items.iter().rev().cloned().collect();
        assert!(covers(&reversed), "{what}, in another order");
        assert!(items.len() == 1 || covers(&items[1..]), "{what}, split");
        let mut changed = items.clone();
        changed[0]["plain"] = json!("another");
        assert!(!covers(&changed), "{what}, with a changed parameter");
        assert!(!covers(&[items.as_slice(), &items[..1]].concat()), "{what}, with an item twice");
        assert_eq!(verify(&tampered(&answer.jws), &key, Version1::Refused).err(), Some(IntentRejection::Signature));
    }
}

const EVERY: [Algorithm; 4] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn intents_by_jose_are_taken() {
    check_signer(Language::Node, "jose.mjs", &EVERY);
}

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn intents_by_pyjwt_are_taken() {
    check_signer(Language::Python, "sign_pyjwt.py", &EVERY);
}

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn intents_by_jwcrypto_are_taken() {
    check_signer(Language::Python, "sign_jwcrypto.py", &EVERY);
}

#[derive(Deserialize)]
struct SignedV1 {
    pem: String,
    jws: String,
}

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn version_1_intents_by_jsrsasign_are_taken_where_a_site_asks_for_them() {
    let intents: Vec<_> = (0..INTENTS_EACH)
        .map(|n| {
            let project = if n.is_multiple_of(2) { Value::Null } else { json!("3f1d5a0e-project-Å") };
            json!({"claims": {
                "iat": NOW_S - 3, "exp": NOW_S + 27, "call": CALL, "username": USERNAME, "project": project,
            }})
        })
        .collect();
    let answers: Vec<SignedV1> = ask(Language::Node, "jsrsasign.mjs", &json!({"intents": intents}));
    assert_eq!(answers.len(), INTENTS_EACH);
    for SignedV1 { pem, jws } in &answers {
        let key = VerificationKey::from_pem(pem, Algorithm::Rs256).unwrap_or_else(|error| panic!("{error}: {pem}"));
        let key = enrolled(&key, Protocol::V1);
        assert_eq!(verify(jws, &key, Version1::Accepted).unwrap().call().as_str(), CALL);
        assert_eq!(verify(jws, &key, Version1::Refused).err(), Some(IntentRejection::Version1));
        assert_eq!(verify(&tampered(jws), &key, Version1::Accepted).err(), Some(IntentRejection::Signature));
    }
}

// ---- canonicalisers

#[derive(Deserialize)]
struct Canonical {
    canonical: String,
    digest: String,
}

/// The texts and digests of one canonicaliser equal this crate's, byte for byte.
fn check_canonicaliser(language: Language, program: &str) {
    let row = row();
    let wanted = generate(ITEMS_CANONICALISED, item());
    let job = json!({"items": wanted.iter().map(for_signer).collect::<Value>()});
    let answers: Vec<Canonical> = ask(language, program, &job);
    assert_eq!(answers.len(), ITEMS_CANONICALISED);
    for (answer, item) in answers.iter().zip(&wanted) {
        let body = json!({"items": [item]}).to_string();
        let items = Items::read(&row, body.as_bytes()).unwrap();
        let ours = String::from_utf8(items.projections()[0].canonical()).unwrap();
        assert_eq!(ours, answer.canonical, "{program}: {item}");
        assert_eq!(URL_SAFE_NO_PAD.encode(items.digests()[0]), answer.digest, "{program}: {item}");
    }
}

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn canonical_texts_are_those_of_npm_canonicalize() {
    check_canonicaliser(Language::Node, "canonicalize.mjs");
}

#[test]
#[ignore = "needs programs of other people: run by ./test"]
fn canonical_texts_are_those_of_pypi_rfc8785() {
    check_canonicaliser(Language::Python, "canonicalize.py");
}
