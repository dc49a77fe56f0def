//! Tests of `countersign keys`: it shows and changes both sides, and performs each half of a
//! revocation even if the other side is unavailable.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;

use crate::support::cli_fixture::{CliFixture, JWKS, Said, key, kid, now, refused};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::identity::{KeyId, ProviderId, Username};
use countersign_keys::keyring::{KeyRecord, Protocol};
use countersign_keys::pins::Pins;
use countersign_keys::time::Timestamp;
use serde_json::{Value, json};

const ALICE: &str = "alice#1234";
const PINS: &str = "home/.config/countersign/authorized_keys";

/// A server that knows these keys of Alice's and carries out its requests.
fn server(keys: Value) -> impl FnMut(&str, &Value) -> (u16, Value) {
    move |path, _| match path {
        "/whoami" => (200, whoami(&[ALICE])),
        "/keys/list" => (200, json!({ "keys": keys })),
        "/keys/add" | "/keys/revoke" => (200, json!({})),
        other => refused(404, "NOT_FOUND", other),
    }
}

fn whoami(usernames: &[&str]) -> Value {
    json!({
        "uid": 1100, "account": "alice", "usernames": usernames, "provider": "hpc",
        "origin": "http://127.0.0.1:8889", "keyLifetimeS": 180 * 86_400, "administrator": false,
    })
}

/// A key as the server lists it.
fn listed(number: u8, state: &str, expires: i64) -> Value {
    json!({
        "username": ALICE, "kid": kid(number), "algorithm": "ES256", "protocol": 2, "state": state,
        "fingerprint": key(0).fingerprint(), "words": key(0).words(), "name": format!("key {number}"), "created": now() - 86_400 * 3 - 60,
        "expires": expires, "lastUsed": now() - 7_200,
    })
}

/// When the pins were made. A fixed time, so that a line is the same each time.
static PINNED_AT: LazyLock<i64> = LazyLock::new(|| now() - 60);

fn provider(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

/// A line that pins a key of Alice's for the fixture's provider.
fn pinned(number: u8) -> String {
    pinned_for("hpc", number)
}

/// A line that pins it for that provider.
fn pinned_for(at: &str, number: u8) -> String {
    let lifetime = (Timestamp::from_seconds(*PINNED_AT), Timestamp::from_seconds(*PINNED_AT + 90_060));
    let owner = Username::parse(ALICE).unwrap();
    let kid = KeyId::from_bytes([number; 16]);
    let mut pins = Pins::default();
    pins.add(&provider(at), KeyRecord::new(owner, kid, &key(0), Protocol::V2, lifetime, format!("pinned {number}")));
    pins.to_string()
}

#[test]
fn v51_a_user_sees_every_key_with_age_end_and_last_use() {
    let future = now() + 86_400 * 10 + 60;
    let keys = json!([listed(1, "active", future), listed(2, "revoked", future), listed(3, "active", now() - 5)]);
    let cli = CliFixture::with_server(server(keys));
    cli.write(PINS, &format!("# mine\n{}{}", pinned(1), pinned(4)));
    let said = cli.run_at_home(&["keys", "list", "--wide"]);
    said.expect(0, "");
    let rows: Vec<Vec<&str>> = said
        .out
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let [one, two, three, four] = [1, 2, 3, 4].map(kid);
    let head = ["KEY ID", "USERNAME", "NAME", "SIGNS", "AGE", "EXPIRES", "LAST USED", "STATE", "PINNED", "IN WORDS"];
    assert_eq!(rows[0], head);
    let words = key(0).words().join(" ");
    let row = |kid, name, age, expires, last_used, state, pinned| {
        vec![kid, ALICE, name, "ES256 v2", age, expires, last_used, state, pinned, words.as_str()]
    };
    assert_eq!(rows[1], row(&one, "\"key 1\"", "3 days", "in 10 days", "2 hours ago", "active", "yes"));
    assert_eq!(rows[2], row(&two, "\"key 2\"", "3 days", "in 10 days", "2 hours ago", "revoked", "no"));
    assert_eq!(rows[3], row(&three, "\"key 3\"", "3 days", "over", "2 hours ago", "expired", "no"));
    assert_eq!(rows[4], row(&four, "\"pinned 4\"", "1 minute", "in 1 day", "never", "only pinned", "yes"));

    let said = cli.run_at_home(&["keys", "list", "--json"]);
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(rows[0]["state"], "active");
    assert_eq!((&rows[0]["pinned"], &rows[1]["pinned"]), (&json!(true), &json!(false)));
    assert_eq!(rows[3]["state"], "only_pinned");
    assert_eq!(rows[3]["fingerprint"], key(0).fingerprint());
}

#[test]
fn r03_a_key_of_another_provider_is_shown_as_that_and_left_alone() {
    let cli = CliFixture::with_server(server(json!([listed(1, "active", now() + 86_400)])));
    let of_no_provider = pinned(5).replacen(" provider=hpc", "", 1);
    let lines = format!("{}{}{of_no_provider}", pinned(1), pinned_for("lab", 4));
    cli.write(PINS, &lines);
    for wide in [&["keys", "list"][..], &["keys", "list", "--wide"]] {
        let said = cli.run_at_home(wide);
        said.expect(0, "");
        let row = |number: u8| said.out.lines().find(|line| line.starts_with(&kid(number))).unwrap().to_owned();
        assert!(row(4).contains("pinned for lab") && !row(4).contains("only pinned"), "{said:?}");
        assert!(row(5).contains("only pinned"), "{said:?}");
    }
    let said = cli.run_at_home(&["keys", "list", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    let of = |number: u8| {
        let row = rows.iter().find(|row| row["kid"] == kid(number)).unwrap();
        (row["provider"].as_str().unwrap().to_owned(), row["state"].as_str().unwrap().to_owned())
    };
    let word = |provider: &str, state: &str| (provider.to_owned(), state.to_owned());
    assert_eq!(
        [of(1), of(4), of(5)],
        [word("hpc", "active"), word("lab", "other_provider"), word("hpc", "only_pinned")]
    );

    cli.run_at_home(&["keys", "revoke", &kid(4)]).expect(1, "is pinned for the provider lab: revoke it there");
    assert_eq!(cli.pins(), lines);
    assert!(cli.asked("/keys/revoke").is_null());

    // The server knows a key with the same id for another origin: it does not count as pinned.
    let cli = CliFixture::with_server(server(json!([listed(1, "active", now() + 86_400)])));
    cli.write(PINS, &pinned_for("lab", 1));
    let said = cli.run_at_home(&["keys", "list"]);
    assert!(said.out.contains("not pinned") && said.out.contains("pinned for lab"), "{said:?}");
}

#[test]
fn without_the_server_what_is_pinned_is_shown_all_the_same() {
    let cli = CliFixture::without_server();
    cli.write(PINS, &pinned(1));
    let said = cli.run_at_home(&["keys", "list"]);
    said.expect(4, "the server cannot be reached");
    assert!(said.out.contains(&kid(1)) && said.out.contains("unknown"), "{said:?}");
}

/// Adds a key from a file with that content.
fn add(content: &str, more: &[&str]) -> (CliFixture, Said) {
    let cli = CliFixture::with_server(server(json!([])));
    cli.write("home/laptop.jwk", content);
    let file = cli.path("home/laptop.jwk").display().to_string();
    let said = cli.run_at_home(&[&["keys", "add", file.as_str(), "--yes"], more].concat());
    (cli, said)
}

#[test]
fn a_key_is_added_from_a_file_on_both_sides() {
    let (cli, said) = add(JWKS[0], &[]);
    said.expect(0, "");
    assert!(said.out.contains(&key(0).fingerprint()) && said.out.contains(&key(0).words().join(" ")), "{said:?}");
    let asked = cli.asked("/keys/add");
    let pins = Pins::parse(&cli.pins()).unwrap();
    let record = pins.keys_at(&provider("hpc")).next().unwrap();
    assert_eq!(asked["kid"], record.kid.to_string());
    assert_eq!((&asked["spki"], &asked["expires"]), (&json!(record.spki), &json!(record.expires.seconds())));
    assert_eq!((&asked["username"], &asked["name"]), (&json!(ALICE), &json!("laptop.jwk")));
    assert_eq!((&asked["algorithm"], &asked["protocol"]), (&json!("ES256"), &json!(2)));
    assert_eq!(asked["spki"], STANDARD.encode(key(0).spki_der()));

    let spki = include_str!("support/core.pem").trim();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
    let algorithm = |more: &[&str]| {
        let (cli, said) = add(&pem, more);
        said.expect(0, "");
        let asked = cli.asked("/keys/add");
        (asked["algorithm"].clone(), asked["protocol"].clone(), asked["name"].clone())
    };
    assert_eq!(algorithm(&[]), (json!("PS256"), json!(2), json!("laptop.jwk")));
    assert_eq!(
        algorithm(&["--algorithm", "RS256", "--name", "at\nwork"]),
        (json!("RS256"), json!(2), json!("at work"))
    );
    assert_eq!(algorithm(&["--v1"]), (json!("RS256"), json!(1), json!("laptop.jwk")));
}

#[test]
fn v13_v14_private_weak_and_foreign_keys_are_not_added() {
    let check = |content: &str, more: &[&str], code: i32, want: &str| {
        let (cli, said) = add(content, more);
        said.expect(code, want);
        assert!(cli.asked("/keys/add").is_null() && cli.pins().is_empty(), "{want}");
    };
    let private = JWKS[0].replacen('}', r#","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#, 1);
    check(&private, &[], 3, "laptop.jwk is not a public key that can be added: this is a private key");
    check("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", &[], 3, "this is a private key");
    check("ssh-ed25519 AAAA", &[], 3, "not a well-formed public key");
    check(JWKS[0], &["--algorithm", "EdDSA"], 3, "not a well-formed public key");
    check(JWKS[0], &["--v1"], 3, "not a well-formed public key");
    check(JWKS[0], &["--v1", "--algorithm", "ES256"], 2, "keys of version 1 sign with RS256");
    check(JWKS[0], &["--username", "bob#1"], 3, "this account is not connected to that UCloud user");
    check(JWKS[0], &["--algorithm", "HS256"], 2, "invalid value 'HS256'");
    let cli = CliFixture::with_server(server(json!([])));
    cli.run_at_home(&["keys", "add", "/no/such/file", "--yes"]).expect(1, "cannot read /no/such/file");
}

#[test]
fn a_key_that_the_server_refuses_is_not_pinned() {
    let mut known = server(json!([]));
    let cli = CliFixture::with_server(move |path, question| match path {
        "/keys/add" => refused(429, "TOO_MANY", "16 keys are enough"),
        _ => known(path, question),
    });
    cli.write("home/laptop.jwk", JWKS[0]);
    cli.write(PINS, &pinned(1));
    let before = cli.pins();
    let file = cli.path("home/laptop.jwk").display().to_string();
    cli.run_at_home(&["keys", "add", &file, "--yes"]).expect(3, "the server refuses: \"16 keys are enough\"");
    assert_eq!(cli.pins(), before);
}

#[test]
fn an_account_of_several_users_names_one() {
    let cli = CliFixture::with_server(|path, _| match path {
        "/whoami" => (200, whoami(&[ALICE, "bob#5678"])),
        _ => (200, json!({})),
    });
    cli.write("home/laptop.jwk", JWKS[0]);
    let file = cli.path("home/laptop.jwk").display().to_string();
    cli.run_at_home(&["keys", "add", &file, "--yes"]).expect(2, "name one with --username");
    cli.run_at_home(&["keys", "add", &file, "--yes", "--username", "bob#5678"]).expect(0, "");
    assert_eq!(cli.asked("/keys/add")["username"], "bob#5678");
}

#[test]
fn v51_a_revocation_goes_as_far_as_it_can() {
    let one = kid(1);
    let revoke = |cli: &CliFixture| cli.run_at_home(&["keys", "revoke", &one]);

    // Both sides.
    let cli = CliFixture::with_server(server(json!([listed(1, "active", now() + 60)])));
    cli.write(PINS, &format!("# mine\n{}{}", pinned(1), pinned(2)));
    let said = revoke(&cli);
    said.expect(0, "");
    assert!(said.out.contains("is revoked at the server.") && said.out.contains("is not pinned in"), "{said:?}");
    assert_eq!(cli.pins(), format!("# mine\n{}", pinned(2)));
    assert_eq!(cli.asked("/keys/revoke"), json!({ "username": ALICE, "kid": one }));

    // Only the server has it.
    let cli = CliFixture::with_server(server(json!([listed(1, "active", now() + 60)])));
    let said = revoke(&cli);
    said.expect(0, "");
    assert!(said.out.contains("is revoked at the server.") && !said.out.contains("pinned"), "{said:?}");
    assert!(!cli.path("home/.config").exists());

    // Only the account has it.
    let mut known = server(json!([]));
    let cli = CliFixture::with_server(move |path, question| match path {
        "/keys/revoke" => refused(404, "NOT_FOUND", "no such key"),
        _ => known(path, question),
    });
    cli.write(PINS, &pinned(1));
    let said = revoke(&cli);
    said.expect(0, "");
    assert!(!said.out.contains("at the server") && said.out.contains("is not pinned in"), "{said:?}");

    // Neither.
    revoke(&CliFixture::with_server(server(json!([])))).expect(1, &format!("there is no key {one}"));

    // The server is gone: the instance's half is done, and the message says that the rest is open.
    let cli = CliFixture::without_server();
    cli.write(PINS, &pinned(1));
    revoke(&cli).expect(4, "Your instance refuses the key already. Repeat this when the server answers");
    assert_eq!(cli.pins(), "");

    // The pins cannot be read: the server's half is done.
    let cli = CliFixture::with_server(server(json!([listed(1, "active", now() + 60)])));
    cli.write(PINS, "half a line\n");
    let said = revoke(&cli);
    said.expect(1, "has to be mended by hand");
    assert!(said.out.contains("is revoked at the server."), "{said:?}");

    // The server refuses.
    let mut known = server(json!([listed(1, "active", now() + 60)]));
    let cli = CliFixture::with_server(move |path, question| match path {
        "/keys/revoke" => refused(403, "NOT_YOURS", "that is not your key"),
        _ => known(path, question),
    });
    revoke(&cli).expect(3, "the server refuses: \"that is not your key\"");
}

#[test]
fn a_key_id_may_begin_with_a_hyphen() {
    let cli = CliFixture::with_server(server(json!([])));
    let kid = KeyId::from_bytes([0xfb; 16]).to_string();
    assert!(kid.starts_with('-'));
    cli.run_at_home(&["keys", "revoke", &kid]).expect(1, "there is no key -");
}

#[test]
fn the_pins_are_replaced_whole_and_a_leftover_is_no_hindrance() {
    let cli = CliFixture::with_server(server(json!([])));
    cli.write(PINS, &format!("{}{}", pinned(1), pinned(2)));
    cli.write("home/.config/countersign/.authorized_keys.unfinished", "half a fi");
    let before = fs::metadata(cli.path(PINS)).unwrap().ino();
    let held = fs::read_to_string(cli.path(PINS)).unwrap();
    let reader = fs::File::open(cli.path(PINS)).unwrap();
    cli.run_at_home(&["keys", "revoke", &kid(1)]).expect(0, "");
    assert_ne!(fs::metadata(cli.path(PINS)).unwrap().ino(), before, "written in place");
    // A reader that had the file open still reads all of it.
    assert_eq!(std::io::read_to_string(reader).unwrap(), held);
    assert_eq!(cli.pins(), pinned(2));
    let left: Vec<_> = fs::read_dir(cli.path("home/.config/countersign")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn commands_at_once_do_not_lose_each_other_s_lines() {
    let cli = CliFixture::with_server(server(json!([])));
    cli.write("home/laptop.jwk", JWKS[0]);
    let file = cli.path("home/laptop.jwk").display().to_string();
    let running: Vec<_> = (0..8).map(|_| cli.start_at_home(&["keys", "add", &file, "--yes"])).collect();
    for child in running {
        Said::of(child.wait_with_output().unwrap()).expect(0, "");
    }
    let pins = Pins::parse(&cli.pins()).unwrap();
    assert_eq!(pins.keys_at(&provider("hpc")).map(|key| key.kid).collect::<BTreeSet<_>>().len(), 8);
}

#[test]
fn a_home_that_cannot_be_written_fails_before_the_server_is_told() {
    let (cli, _) = add(JWKS[0], &[]);
    cli.chmod("home/.config/countersign", 0o500);
    let file = cli.path("home/laptop.jwk").display().to_string();
    let said = cli.run_at_home(&["keys", "add", &file, "--yes"]);
    said.expect(1, "authorized_keys: Permission denied");
    assert_eq!(cli.asked_at().iter().filter(|path| *path == "/keys/add").count(), 1, "only the first");
    cli.chmod("home/.config/countersign", 0o700);
}
