//! Tests of `countersign connect` and of the command line in general: effects, messages and exit
//! codes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use crate::support::cli_fixture::{CliFixture, Said, key, kid, now, offer, refused};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_keys::identity::ProviderId;
use countersign_keys::pins::Pins;
use p256::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use serde_json::{Value, json};

const ALICE: &str = "alice#1234";
const ANY_CODE: &str = "abcdefgh-abcdefgh-abcdefgh-abcdefgh";

fn hpc() -> ProviderId {
    ProviderId::parse("hpc").unwrap()
}

/// A server that makes this offer for any code, and activates it.
fn honest(offer: Value) -> impl FnMut(&str, &Value) -> (u16, Value) {
    move |path, _| match path {
        "/connect/find" => (200, offer.clone()),
        "/connect/approve" => {
            let (username, kid, expires) = (&offer["username"], &offer["kid"], &offer["keyExpires"]);
            (200, json!({ "username": username, "kid": kid, "uid": 1100, "keyExpires": expires }))
        }
        other => refused(404, "NOT_FOUND", other),
    }
}

#[test]
fn an_approval_pins_the_key_makes_the_instance_key_and_activates_both() {
    let (code, offer) = offer(ALICE, 1, 0);
    let cli = CliFixture::with_server(honest(offer));
    let said = cli.run_at_home(&["connect", "approve", &code.to_uppercase(), "--yes"]);
    said.expect(0, "");
    for want in [
        ALICE,
        &key(0).fingerprint(),
        &key(0).words().join(" "),
        "1 minute ago) from 192.0.2.7:50000 by \"Firefox on Linux\"",
        "is connected",
    ] {
        assert!(said.out.contains(want), "{want:?} in {}", said.out);
    }
    assert!(!said.out.contains("of-the-server-s-making"), "the fingerprint is not the server's to say");
    assert_eq!(cli.asked_at(), ["/connect/find", "/connect/approve"]);

    let pins = Pins::parse(&cli.pins()).unwrap();
    let pinned: Vec<_> = pins.keys_at(&hpc()).collect();
    assert_eq!(pinned.len(), 1);
    assert_eq!((pinned[0].owner.as_str(), pinned[0].kid.to_string()), (ALICE, kid(7)));
    assert_eq!(pinned[0].spki, STANDARD.encode(key(0).spki_der()));
    assert!((pinned[0].expires.seconds() - now() - 180 * 86_400).abs() < 60);

    for (file, mode) in [
        ("home/.config", 0o700),
        ("home/.config/countersign", 0o700),
        ("home/.config/countersign/authorized_keys", 0o600),
        ("home/.config/countersign/instance_key.hpc", 0o600),
        ("home/.local/state/countersign", 0o700),
        ("home/.local/state/countersign/hpc/used-intents.a", 0o600),
    ] {
        let metadata = fs::metadata(cli.path(file)).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o7777, metadata.uid()), (mode, cli.uid()), "{file}");
    }
    let pem = fs::read_to_string(cli.path("home/.config/countersign/instance_key.hpc")).unwrap();
    let spki = p256::SecretKey::from_pkcs8_pem(&pem).unwrap().public_key().to_public_key_der().unwrap();
    assert_eq!(cli.asked("/connect/approve")["instanceKey"], STANDARD.encode(spki.as_bytes()));
    assert_eq!(cli.asked("/connect/approve")["code"], code);
    assert!(!said.out.contains("PRIVATE") && !said.err.contains("PRIVATE"));
}

#[test]
fn a_second_approval_keeps_the_instance_key_and_every_line() {
    let (code, offer) = offer(ALICE, 1, 0);
    let cli = CliFixture::with_server(honest(offer));
    cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(0, "");
    let before = fs::read(cli.path("home/.config/countersign/instance_key.hpc")).unwrap();
    let with_comment = format!("# laptop\n\n{}# the end\n", cli.pins());
    cli.write("home/.config/countersign/authorized_keys", &with_comment);
    cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(0, "");
    assert_eq!(fs::read(cli.path("home/.config/countersign/instance_key.hpc")).unwrap(), before);
    assert!(cli.pins().starts_with("# laptop\n\n# the end\n"), "{}", cli.pins());
    assert_eq!(cli.pins().lines().count(), 4);
}

#[test]
fn r03_a_provider_that_comes_to_a_shared_home_makes_its_own_instance_key_and_journal() {
    const SHARED: &str = "home/.config/countersign/instance_key";
    const OWN: &str = "home/.config/countersign/instance_key.hpc";
    let (code, offer) = offer(ALICE, 1, 0);
    let approve = |cli: &CliFixture| cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(0, "");
    let cli = CliFixture::with_server(honest(offer.clone()));
    approve(&cli);
    let (key, line) = (fs::read_to_string(cli.path(OWN)).unwrap(), cli.pins());
    let lab = line.replacen("provider=hpc", "provider=lab", 1);
    assert_ne!(line, lab);

    // Another provider came first. Its key and its line stay, and none of its intents was used
    // here.
    let cli = CliFixture::with_server(honest(offer.clone()));
    cli.write(SHARED, &key);
    cli.write("home/.config/countersign/authorized_keys", &lab);
    cli.write("home/.local/state/countersign/lab/used-intents.a", "");
    approve(&cli);
    assert_ne!(fs::read_to_string(cli.path(OWN)).unwrap(), key);
    assert_eq!(fs::read_to_string(cli.path(SHARED)).unwrap(), key);
    assert!(cli.pins().starts_with(&lab) && cli.pins().lines().count() == 2, "{}", cli.pins());
    assert!(cli.path("home/.local/state/countersign/hpc/used-intents.a").exists());

    // This provider came first, with an earlier release. Browsers have pinned its key, and a line
    // without a provider may have been used.
    let cli = CliFixture::with_server(honest(offer));
    cli.write(SHARED, &key);
    cli.write("home/.local/state/countersign/hpc/used-intents.a", "");
    approve(&cli);
    assert!(!cli.path(OWN).exists());
    let spki = p256::SecretKey::from_pkcs8_pem(&key).unwrap().public_key().to_public_key_der().unwrap();
    assert_eq!(cli.asked("/connect/approve")["instanceKey"], STANDARD.encode(spki.as_bytes()));
}

#[test]
fn r03_an_end_at_one_provider_unpins_no_key_of_another() {
    let cli = CliFixture::with_server(|path, _| match path {
        "/connect/remove" => (200, json!({ "usernames": [ALICE] })),
        other => refused(404, "NOT_FOUND", other),
    });
    let line = "ES256 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ== AQEBAQEBAQEBAQEBAQEBAQ YWxpY2UjMTIzNA v2 provider=hpc created=1 expires=2 x\n";
    let (lab, none) = (line.replacen("=hpc", "=lab", 1), line.replacen(" provider=hpc", "", 1));
    cli.write("home/.config/countersign/authorized_keys", &format!("{line}{lab}{none}"));
    let said = cli.run_at_home(&["connect", "remove", "--yes"]);
    said.expect(0, "");
    assert!(said.out.contains("2 pinned keys removed"), "{said:?}");
    assert_eq!(cli.pins(), lab);
}

/// A server that answers the code of Alice's key with a changed offer, which must have no effect.
fn check_lie(change: impl FnOnce(&mut Value), want: &str) {
    let (code, mut offered) = offer(ALICE, 1, 0);
    change(&mut offered);
    let cli = CliFixture::with_server(honest(offered));
    cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(3, want);
    assert_eq!(cli.asked_at(), ["/connect/find"], "{want}");
    assert!(!cli.path("home/.config").exists(), "{want}");
}

#[test]
fn v47_a_server_that_puts_another_key_in_the_offer_is_found_out() {
    let lie = "an offer that does not match this code";
    check_lie(|offer| offer["spki"] = STANDARD.encode(key(1).spki_der()).into(), lie);
    check_lie(|offer| offer["username"] = "mallory#1".into(), lie);
    check_lie(|offer| offer["ticketHash"] = URL_SAFE_NO_PAD.encode([2; 32]).into(), lie);
    // The code that the server itself names counts for nothing.
    check_lie(|other| *other = offer("mallory#1", 1, 1).1, lie);
    check_lie(|offer| offer["spki"] = "AAAA".into(), "the offered key is refused: not a well-formed public key");
    check_lie(|offer| offer["algorithm"] = "EdDSA".into(), "the offered key is refused");
    check_lie(|offer| offer["ticketHash"] = "x".into(), "the offer's ticket is malformed");
    check_lie(|offer| offer["provider"] = "other".into(), "which is not the provider of this machine's configuration");
    check_lie(|offer| offer["origin"] = "https://evil.example".into(), "which is not the provider");
}

#[test]
fn a_server_cannot_have_a_key_pinned_for_longer_than_the_configuration_says() {
    let (code, mut offer) = offer(ALICE, 1, 0);
    offer["keyExpires"] = (now() + 100 * 365 * 86_400).into();
    let cli = CliFixture::with_server(honest(offer));
    cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(0, "");
    let pins = Pins::parse(&cli.pins()).unwrap();
    assert!(pins.keys_at(&hpc()).next().unwrap().expires.seconds() <= now() + 180 * 86_400);
}

#[test]
fn what_a_stranger_wrote_steers_no_terminal() {
    let (code, mut offer) = offer(ALICE, 1, 0);
    offer["name"] = "\u{1b}]0;x\u{7}\u{202e}Firefox\nkey   SHA256:good".into();
    let cli = CliFixture::with_server(honest(offer));
    let said = cli.run_at_home(&["connect", "approve", &code, "--yes"]);
    said.expect(0, "");
    assert!(said.out.contains(r"\u{1b}]0;x\u{7}\u{202e}Firefox\u{a}key   SHA256:good"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'));
}

#[test]
fn without_a_clear_yes_nothing_is_done() {
    let (code, offer) = offer(ALICE, 1, 0);
    let check = |typed: &str, code_wanted: i32, want: &str| {
        let cli = CliFixture::with_server(honest(offer.clone()));
        let said = cli.run_on_terminal(&["connect", "approve", &code], typed);
        assert_eq!(said.code, Some(code_wanted), "{typed:?}: {said:?}");
        assert!(said.out.contains("Let this key act as you? [y/N]") && said.out.contains(want), "{typed:?}: {said:?}");
        assert_eq!(cli.path("home/.config").exists(), code_wanted == 0, "{typed:?}");
    };
    check("y\n", 0, "is connected");
    check("YES\n", 0, "is connected");
    check("n\n", 1, "Cancelled. Nothing was changed");
    check("\n", 1, "Cancelled. Nothing was changed");
    check("yellow\n", 1, "Cancelled. Nothing was changed");
    let cli = CliFixture::with_server(honest(offer.clone()));
    cli.run_at_home(&["connect", "approve", &code]).expect(2, "standard input is not a terminal: answer with --yes");
    assert!(cli.asked_at().is_empty());
}

#[test]
fn an_approval_that_fails_takes_the_pin_back() {
    let check = |answer: (u16, Value), want_code: i32, want: &str| {
        let (code, offer) = offer(ALICE, 1, 0);
        let cli = CliFixture::with_server(move |path, _| match path {
            "/connect/find" => (200, offer.clone()),
            _ => answer.clone(),
        });
        cli.write("home/.config/countersign/authorized_keys", "# mine\n");
        cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(want_code, want);
        assert_eq!(cli.pins(), "# mine\n");
    };
    check(refused(409, "MAPPED_OTHERWISE", "bob has it"), 3, "the server refuses: \"bob has it\"");
    check(
        refused(503, "UNAVAILABLE", "the disk is full\u{1b}["),
        1,
        "the server refuses: \"the disk is full\\u{1b}[\"",
    );
    check((200, json!({})), 1, "cannot parse the server's answer");
    // The server activated another key than the approved one.
    let other = json!({ "username": ALICE, "kid": kid(9), "uid": 1100, "keyExpires": now() + 60 });
    check((200, other), 3, "an offer that does not match this code");
}

#[test]
fn what_the_server_refuses_is_said_in_its_words() {
    let cli = CliFixture::with_server(|_, _| refused(404, "NOT_FOUND", "no offer has this code"));
    let said = cli.run_at_home(&["connect", "approve", ANY_CODE, "--yes"]);
    said.expect(3, "countersign: the server refuses: \"no offer has this code\"\n");
    assert!(!cli.path("home/.config").exists());
}

#[test]
fn a_server_that_is_not_there_has_its_own_exit_code() {
    let cli = CliFixture::without_server();
    let want = "ucloud.sock (is countersign server running?): ";
    for command in [
        vec!["connect", "approve", ANY_CODE, "--yes"],
        vec!["connect", "start", ALICE, "--yes"],
        vec!["connect", "remove", "--yes"],
    ] {
        cli.run_at_home(&command).expect(4, want);
    }
    cli.run(&["connect", "list"]).expect(4, want);
    assert!(!cli.path("home/.config").exists());
}

#[test]
fn files_that_others_could_write_are_not_added_to() {
    let check = |spoil: &dyn Fn(&CliFixture), want_code: i32, want: &str| {
        let (code, offer) = offer(ALICE, 1, 0);
        let cli = CliFixture::with_server(honest(offer));
        cli.write("home/.config/countersign/authorized_keys", "# mine\n");
        spoil(&cli);
        cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(want_code, want);
        assert_eq!(cli.asked_at(), ["/connect/find"], "{want}");
    };
    check(&|cli| cli.chmod("home", 0o770), 3, "home has mode 0770: others can write it");
    check(&|cli| cli.chmod("home/.config", 0o777), 3, ".config has mode 0777: others can write it");
    check(&|cli| cli.chmod("home/.config/countersign", 0o720), 3, "countersign has mode 0720: others can write it");
    check(
        &|cli| cli.chmod("home/.config/countersign/authorized_keys", 0o622),
        3,
        "authorized_keys has mode 0622: others can write it",
    );
    check(
        &|cli| {
            fs::rename(cli.path("home/.config/countersign"), cli.path("elsewhere")).unwrap();
            symlink(cli.path("elsewhere"), cli.path("home/.config/countersign")).unwrap();
        },
        1,
        "countersign (symbolic links are not followed)",
    );
    check(
        &|cli| cli.write("home/.config/countersign/authorized_keys", "ES256 half a line\n"),
        1,
        "authorized_keys has to be mended by hand: line 1: the key id is missing or malformed",
    );
    check(
        &|cli| {
            cli.write("home/.config/countersign/instance_key.hpc", "x");
            cli.chmod("home/.config/countersign/instance_key.hpc", 0o640);
        },
        3,
        "instance_key.hpc has mode 0640, and must be its owner's alone",
    );
    check(
        &|cli| cli.write("home/.config/countersign/instance_key.hpc", "x"),
        1,
        "instance_key.hpc is not a P-256 key in PKCS #8 PEM",
    );
}

#[test]
fn a_connection_begun_here_ends_with_the_same_approval() {
    let page = format!("http://127.0.0.1:8889/ucloud/hpc/connect#{}", URL_SAFE_NO_PAD.encode([3; 32]));
    let ticket_hash = URL_SAFE_NO_PAD.encode(countersign_keys::jws::sha256(&[&[3; 32]]));
    let mut good = offer(ALICE, 1, 0).1;
    good["ticketHash"] = ticket_hash.into();
    good["begun"] = "at_the_centre".into();
    let check = |page: &str, awaited: Vec<Value>, want_code: i32, want: &str| {
        let started = json!({ "url": page, "ticket": URL_SAFE_NO_PAD.encode([3; 32]), "until": now() + 900 });
        let mut awaited = awaited.into_iter();
        let mut activate = honest(good.clone());
        let cli = CliFixture::with_server(move |path, question| match path {
            "/connect/start" => (200, started.clone()),
            "/connect/await" => (200, awaited.next().unwrap()),
            _ => activate(path, question),
        });
        let said = cli.run_at_home(&["connect", "start", ALICE, "--yes"]);
        said.expect(want_code, want);
        assert_eq!(cli.pins().is_empty(), want_code != 0, "{want}");
        said
    };
    let offered = |offer: &Value| json!({ "state": "offered", "offer": offer });
    let open = json!({ "state": "open" });
    let said = check(&page, vec![open.clone(), open, offered(&good)], 0, "");
    assert!(said.out.contains(&page) && said.out.contains('█') && said.out.contains("here, with connect start"));
    let lie = |member: &str, value: Value| {
        let mut lie = good.clone();
        lie[member] = value;
        vec![offered(&lie)]
    };
    check(&page, lie("username", "mallory#1".into()), 3, "an offer for another user than asked for");
    check(
        &page,
        lie("ticketHash", URL_SAFE_NO_PAD.encode([4; 32]).into()),
        3,
        "an offer that does not match this code",
    );
    let said = check(
        "https://evil.example/ucloud/hpc/connect#x",
        vec![],
        3,
        "sends browsers to a page that is not this provider's",
    );
    assert!(said.out.is_empty());
    let dead = |why: &str| vec![json!({ "state": "dead", "why": why })];
    check(&page, dead("second_offer"), 1, "a second key was offered");
    check(&page, dead("expired"), 1, "no key was offered in time");
    check(&page, dead("withdrawn"), 1, "was withdrawn");
    check(&page, vec![json!({ "state": "approved" })], 1, "approved from another terminal");
}

#[test]
fn v75_s14_what_the_browser_calls_itself_cannot_paint_the_terminal() {
    let (code, mut offered) = offer(ALICE, 1, 0);
    let forged = format!("x{}\nkey           abandon ability\u{1b}[2J\u{3164}\u{202e}\u{5d0}", " ".repeat(240));
    offered["name"] = forged.into();
    offered["address"] = "192.0.2.7\" by \"Firefox".into();
    let cli = CliFixture::with_server(honest(offered));
    let said = cli.run_at_home(&["connect", "approve", &code, "--yes"]);
    said.expect(0, "");
    assert!(said.out.chars().all(|c| c == '\n' || c == '…' || c.is_ascii_graphic() || c == ' '), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("key ")).count(), 1, "{said:?}");
    assert!(lines.iter().any(|line| line.contains("by \"x  ") && line.contains("…\" (+")), "{said:?}");
    assert!(said.out.contains(r#"from "192.0.2.7\" by \"Firefox" by"#), "{said:?}");
}

#[test]
fn n07_without_the_server_nothing_is_said_of_the_servers_keys() {
    let said = CliFixture::without_server().run_at_home(&["keys", "list"]);
    said.expect(4, "the server cannot be reached");
    assert!(!said.out.contains("There are no keys"), "{said:?}");
    assert!(said.out.contains("The server could not be asked"), "{said:?}");
}

#[test]
fn n11_a_list_of_keys_is_short_and_wide_shows_all() {
    let listed = json!({
        "username": ALICE, "kid": kid(7), "algorithm": "ES256", "protocol": 2, "state": "active", "fingerprint": "SHA256:x",
        "words": key(0).words(), "name": "Firefox on Linux", "created": now() - 7_200, "expires": now() + 86_400 * 90,
        "lastUsed": now() - 1_800,
    });
    let who = json!({
        "uid": 1100, "account": "alice", "usernames": [ALICE], "provider": "hpc", "origin": "https://hpc.example.org",
        "keyLifetimeS": 1, "administrator": false,
    });
    let cli = CliFixture::with_server(move |path, _| match path {
        "/whoami" => (200, who.clone()),
        _ => (200, json!({ "keys": [listed] })),
    });
    let said = cli.run_at_home(&["keys", "list"]);
    said.expect(0, "");
    assert!(said.out.lines().all(|line| line.chars().count() <= 84), "{said:?}");
    assert!(said.out.contains("\"Firefox on Linux\"") && said.out.contains("in the last hour"), "{said:?}");
    assert!(said.out.contains("not pinned"), "{said:?}");
    let said = cli.run_at_home(&["keys", "list", "--wide"]);
    assert!(said.out.contains(&key(0).words().join(" ")) && said.out.contains("ES256 v2"), "{said:?}");
}

#[test]
fn connections_are_listed_for_people_and_programs() {
    let connections = json!([{ "username": ALICE, "uid": 1100, "account": "alice", "since": now() - 7_200, "activeKeys": 2, "coreTold": false, "instanceUp": false }]);
    let answer = json!({ "connections": connections, "more": false });
    let cli = CliFixture::with_server(move |_, _| (200, answer.clone()));
    let said = cli.run(&["connect", "list"]);
    said.expect(0, "");
    assert_eq!(
        said.out,
        "USERNAME    UID   ACCOUNT  SINCE        ENDS   KEYS  UCLOUD\nalice#1234  1100  alice    2 hours ago  never  2     not told yet\n"
    );
    assert_eq!(cli.asked("/connect/list"), json!({ "all": false }));
    let said = cli.run(&["connect", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), connections);
    for (ends, want) in [(now() + 90_000, "  in 1 day  "), (now() - 1, "  over  ")] {
        let mut connections = connections.clone();
        connections[0]["ends"] = ends.into();
        let cli = CliFixture::with_server(move |_, _| (200, json!({ "connections": connections, "more": false })));
        let said = cli.run(&["connect", "list"]);
        assert!(said.out.contains(want), "{said:?}");
    }
}

#[test]
fn c18_status_counts_users_of_whom_ucloud_has_still_to_hear_connected_or_not() {
    for (untold, want) in [
        (0, "UCloud        knows who is connected\n"),
        (1, "UCloud        was not told yet about 1 user; the log says why\n"),
        (2, "UCloud        was not told yet about 2 users; the log says why\n"),
    ] {
        let who = json!({
            "uid": 0, "account": "root", "usernames": [], "provider": "hpc", "origin": "https://hpc.example.org",
            "keyLifetimeS": 1, "administrator": true, "untold": untold,
        });
        let cli = CliFixture::with_server(move |path, _| match path {
            "/whoami" => (200, who.clone()),
            _ => (200, json!({ "connections": [], "more": false })),
        });
        let config = fs::read_to_string(cli.path("config.toml")).unwrap();
        let config = config.replace("core = {", "core = { refresh_token = 'refresh-token',");
        fs::write(cli.path("config.toml"), config).unwrap();
        let said = cli.run(&["status"]);
        said.expect(0, "");
        assert!(said.out.contains(want), "{said:?}");
    }
}

#[test]
fn a_long_list_of_connections_comes_in_pages() {
    let cli = CliFixture::with_server(|_, question| {
        let first = question["after"].is_null();
        let username = if first { "a#1" } else { "b#2" };
        let one =
            json!({ "username": username, "uid": 1, "account": "x", "since": 0, "activeKeys": 1, "coreTold": true });
        (200, json!({ "connections": [one], "more": first }))
    });
    let said = cli.run(&["connect", "list", "--all"]);
    assert!(said.out.contains("a#1") && said.out.contains("b#2"), "{said:?}");
    assert_eq!(cli.asked("/connect/list"), json!({ "after": "a#1", "all": true }));
}

#[test]
fn a_connection_that_ends_takes_its_pins_with_it() {
    let (code, offered) = offer(ALICE, 1, 0);
    let mut approve = honest(offered);
    let cli = CliFixture::with_server(move |path, question| match path {
        "/connect/remove" => (200, json!({ "usernames": [ALICE] })),
        _ => approve(path, question),
    });
    cli.run_at_home(&["connect", "approve", &code, "--yes"]).expect(0, "");
    let said = cli.run_at_home(&["connect", "remove", "--yes"]);
    said.expect(0, "");
    assert!(said.out.contains("\"alice#1234\" is no longer connected.\n1 pinned key removed from "), "{said:?}");
    assert_eq!(cli.pins(), "");
    assert_eq!(cli.asked("/connect/remove"), json!({}));
}

#[test]
fn the_command_line_is_checked_first() {
    let cli = CliFixture::without_server();
    cli.run_at_home(&["connect", "approve", "abc", "--yes"]).expect(2, "a code is four groups of eight");
    cli.run_at_home(&["connect", "start", "", "--yes"]).expect(2, "the username is empty");
    cli.run_at_home(&["keys", "revoke", "abc"]).expect(2, "a key id is base64url of 16 bytes");
    cli.run(&["connect", "approve"]).expect(2, "<CODE>");
    cli.run(&["connect", "approve", ANY_CODE, "--uid", "1", "--home", "/"]).expect(2, "cannot be used with");
    cli.run(&["frobnicate"]).expect(2, "unrecognized subcommand");
    cli.run(&["gateway"]).expect(2, "countersign gateway needs --listen-fd or --attach");
    let help = cli.run(&["--help"]);
    assert!(help.code == Some(0) && help.out.contains("4  the server cannot be reached"), "{help:?}");
}

#[test]
fn a_bad_configuration_has_its_own_exit_code() {
    let cli = CliFixture::without_server();
    cli.chmod("config.toml", 0o666);
    let want = "config.toml has mode 0666: others can write it";
    cli.run_at_home(&["connect", "approve", ANY_CODE, "--yes"]).expect(5, want);
    cli.run_at_home(&["keys", "list"]).expect(5, want);
    cli.run(&["connect", "list"]).expect(5, want);
    cli.run(&["calls"]).expect(5, want);
}

#[test]
fn another_account_is_root_s_to_name() {
    let cli = CliFixture::without_server();
    cli.run(&["connect", "approve", ANY_CODE, "--yes", "--uid", "1"])
        .expect(3, "only root can act for another account");
    cli.run(&["keys", "list", "--user", "root"])
        .expect(3, "only root can act for another account: run the command as root");
    cli.run(&["keys", "list", "--user", "no-such-account"]).expect(1, "there is no account no-such-account");
}

#[test]
fn v59_root_is_refused_or_told_to_name_somebody() {
    if !nix::unistd::geteuid().is_root() {
        return; // The other half of this rule is `another_account_is_root_s_to_name`.
    }
    let cli = CliFixture::without_server();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        Said::of(command.args(arguments).arg("--config").arg(cli.path("config.toml")).output().unwrap())
    };
    for mode in [&["server"][..], &["gateway"], &["user"]] {
        run(mode).expect(3, "does not run as root");
    }
    run(&["connect", "approve", ANY_CODE, "--yes"]).expect(3, "name the account with --uid");
    run(&["connect", "start", ALICE, "--yes"]).expect(3, "users begin their own connection");
    run(&["keys", "list"]).expect(3, "name the account with --user");
    run(&["connect", "approve", ANY_CODE, "--yes", "--uid", "0"]).expect(3, "uid 0 is root itself");
    run(&["connect", "approve", ANY_CODE, "--yes", "--uid", "3999999999"])
        .expect(1, "there is no account with uid 3999999999");
    // N8: both options accept both.
    run(&["connect", "approve", ANY_CODE, "--yes", "--uid", "no-such-one"])
        .expect(1, "there is no account no-such-one");
    run(&["keys", "list", "--user", "3999999999"]).expect(1, "there is no account with uid 3999999999");
    run(&["check-config", "--uid", "no-such-one"]).expect(1, "there is no account no-such-one");
    run(&["connect", "remove", "--yes"]).expect(2, "name the UCloud user");
    run(&["connect", "list"]).expect(5, "run belongs to root, and must belong to the account that the server runs as");
}

#[test]
fn the_table_of_calls_is_printed_for_people_and_programs() {
    let cli = CliFixture::without_server();
    let said = cli.run(&["calls"]);
    assert!(said.out.contains("files.move") && said.out.contains("oldId newId conflictPolicy"), "{said:?}");
    let said = cli.run(&["calls", "--json"]);
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let provider = countersign_keys::identity::ProviderId::parse("hpc").unwrap();
    let table = countersign_keys::call::CallTable::new(&provider, &[]).unwrap();
    assert_eq!(rows, serde_json::to_value(table.specs().collect::<Vec<_>>()).unwrap());
    // Without a configuration, the rows that every provider has.
    fs::remove_file(cli.path("config.toml")).unwrap();
    let said = cli.run(&["calls", "--json"]);
    said.expect(0, "There is no configuration");
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), rows);
    // The browser extension packs this text (web/extension/build).
    assert_eq!(said.out, include_str!("../keys/tests/vectors/calls.json"), "keys/tests/vectors/README.md");
}
