//! Tests of `countersign apps`: applications are shown as users' word, and approved exactly.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use countersign_applications::Invocation;
use serde_json::{Value, json};

use crate::support::cli_fixture::{CliFixture, now, refused};

const GROMACS: &str = include_str!("../src/applications/samples/gromacs.json");

/// The text that an instance offers, and its digest.
fn offered(text: &str) -> (String, String) {
    let invocation = Invocation::parse(text.as_bytes()).unwrap();
    let digest = invocation.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    (String::from_utf8(invocation.canonical().to_vec()).unwrap(), digest)
}

fn waiting(name: &str, version: &str, digest: &str) -> Value {
    json!({ "name": name, "version": version, "digest": digest, "uid": 1100, "offered": now() - 7_200 })
}

/// A server at which that text waits, and whose catalogue is in the fixture.
fn site(text: &str, digest: &str, decide: (u16, Value)) -> CliFixture {
    let (text, listed) = (text.to_owned(), waiting("gromacs", "2024", digest));
    let cli = CliFixture::with_server(move |path, _| match path {
        "/applications/pending" => (200, json!({ "applications": [listed] })),
        "/applications/show" => (200, json!({ "invocation": text })),
        _ => decide.clone(),
    });
    let config = fs::read_to_string(cli.path("config.toml")).unwrap();
    fs::write(cli.path("config.toml"), format!("{config}applications.folder = 'applications'\n")).unwrap();
    cli
}

fn good(text: &str) -> CliFixture {
    let (text, digest) = offered(text);
    site(&text, &digest, (200, json!({ "invocation": text })))
}

/// Runs a command as the account that runs the tests: root, if they run as root.
fn run_as_root(cli: &CliFixture, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .arg("--config")
        .arg(cli.path("config.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), said)
}

#[test]
fn applications_that_wait_are_listed_for_people_and_programs() {
    let (_, digest) = offered(GROMACS);
    let said = good(GROMACS).run(&["apps", "pending"]);
    said.expect(0, "");
    let want = format!(
        "NAME     VERSION  DIGEST            OFFERED BY UID  SINCE\ngromacs  2024     {}  1100            ",
        &digest[..16]
    );
    assert!(said.out.starts_with(&want), "{said:?}");
    let said = good(GROMACS).run(&["apps", "pending", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap()[0]["digest"], digest);
    let none = CliFixture::with_server(|_, _| (200, json!({ "applications": [] })));
    assert_eq!(none.run(&["apps", "pending"]).out, "No application waits for a review.\n");
}

#[test]
fn what_users_offer_cannot_command_the_terminal() {
    let hostile = GROMACS.replacen("\"word\":\"gmx\"", "\"word\":\"\u{202e}gmx\u{7}\"", 1);
    let hostile = hostile.replace('\u{7}', "");
    let said = good(&hostile).run(&["apps", "show", "gromacs", "2024"]);
    said.expect(0, "");
    assert!(said.out.contains(r"\u{202e}gmx") && !said.out.contains('\u{202e}'), "{said:?}");
    let listed = waiting("a\u{1b}[2J", "\u{202e}1", "00");
    let cli = CliFixture::with_server(move |_, _| (200, json!({ "applications": [listed] })));
    let said = cli.run(&["apps", "pending"]);
    assert!(said.out.chars().all(|c| c == '\n' || c.is_ascii_graphic() || c == ' '), "{said:?}");
}

#[test]
fn an_application_is_shown_whole() {
    let said = good(GROMACS).run(&["apps", "show", "gromacs", "2024"]);
    said.expect(0, "");
    for want in [
        "program, entry 1: word: \"gmx\"\n",
        "environment variable OMP_NUM_THREADS: word: \"4\"\n",
        "directive ntasks-per-node: word: \"2\"\n",
        "modules: 1: \"GROMACS/2024.1\"\n",
        "parameter 4 mode: options 2 Exact value: \"exact; rm -rf\"\n",
    ] {
        assert!(said.out.contains(want), "{want:?} in {said:?}");
    }
    good(GROMACS).run(&["apps", "show", "gromacs", "2025"]).expect(1, "no such application waits for a review");
    good(GROMACS).run(&["apps", "show", "gromacs", "2024", "0000000000000000"]).expect(1, "no such application waits");
    let digest = offered(GROMACS).1;
    good(GROMACS).run(&["apps", "show", "gromacs", "2024", &digest[..8]]).expect(1, "no such application waits");
    good(GROMACS).run(&["apps", "show", "gromacs", "2024", &digest[..16]]).expect(0, "");
}

#[test]
fn a_text_that_is_not_what_its_digest_says_is_refused() {
    let (text, digest) = offered(GROMACS);
    let other = offered(&GROMACS.replacen("\"word\":\"gmx\"", "\"word\":\"id\"", 1)).0;
    let cli = site(&other, &digest, refused(404, "NOT_FOUND", "x"));
    cli.run(&["apps", "show", "gromacs", "2024"]).expect(3, "not in canonical form");
    let cli = site(&text.replacen("\"ucx\"", "\"script\"", 1), &digest, refused(404, "NOT_FOUND", "x"));
    cli.run(&["apps", "diff", "gromacs", "2024"]).expect(3, "unknown field `script`");
}

#[test]
fn only_root_approves() {
    let digest = offered(GROMACS).1;
    let cli = good(GROMACS);
    cli.run(&["apps", "approve", "gromacs", "2024", &digest, "--yes"]).expect(3, "run it with sudo");
    assert!(!cli.path("applications").exists());
    // Without a digest, a text that was exchanged meanwhile would be approved unseen.
    good(GROMACS).run(&["apps", "approve", "gromacs", "2024", "--yes"]).expect(2, "DIGEST");
}

#[test]
fn an_approval_is_recorded_and_then_written_whole() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (text, digest) = offered(GROMACS);
    let cli = good(GROMACS);
    let (code, said) = run_as_root(&cli, &["apps", "approve", "gromacs", "2024", &digest, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let file = cli.path("applications/gromacs/2024.json");
    let approved = Invocation::parse(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(approved.canonical(), text.as_bytes());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    let paths: Vec<String> = cli.asked_at();
    assert_eq!(paths, ["/applications/pending", "/applications/show", "/applications/decide", "/applications/decide"]);
    let (_, listed) = run_as_root(&cli, &["apps", "list", "--json"]);
    // As root this becomes the account of the socket's directory, which is root's in this fixture.
    assert!(listed.contains(&digest) || listed.contains("belongs to root"), "{listed}");
    // The next version is compared with it.
    let changed = offered(&GROMACS.replacen("\"word\":\"mdrun\"", "\"word\":\"id\"", 1));
    let next = site(&changed.0, &changed.1, (200, json!({ "invocation": changed.0 })));
    fs::create_dir_all(next.path("applications/gromacs")).unwrap();
    fs::copy(&file, next.path("applications/gromacs/2023.json")).unwrap();
    let (code, said) = run_as_root(&next, &["apps", "approve", "gromacs", "2024", &changed.1, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let want = "From the approved version 2023 to gromacs 2024:\n\nprogram, entry 2: word: \"mdrun\" becomes \"id\"\n";
    assert!(said.starts_with(want), "{said}");
}

#[test]
fn a_text_that_does_not_wait_any_longer_is_not_approved() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (text, digest) = offered(GROMACS);
    let cli = site(&text, &digest, refused(404, "NOT_FOUND", "no application of this digest waits"));
    let (code, said) = run_as_root(&cli, &["apps", "approve", "gromacs", "2024", &digest, "--yes"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("no application of this digest waits"), "{said}");
    assert!(!cli.path("applications").exists());
}
