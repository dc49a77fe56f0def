//! Tests of commands that root runs for a user: they give up root before they act (P10, V59).
//!
//! Each test runs alone in `tests/support/installation.sh`, which has the accounts: see `./test`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::cli_fixture::{CliFixture, Said, kid, now, offer};
use serde_json::{Value, json};

/// Alice's uid in the installation.
const ALICE: u32 = 1101;

/// Alice's pins.
const PINS: &str = "/home/alice/.config/countersign/authorized_keys";

/// Runs the program as root, with root's own environment and directory.
fn as_root(cli: &CliFixture, arguments: &[&str]) -> Said {
    let mut command = Command::new("/usr/bin/countersign");
    command.args(arguments).arg("--config").arg(cli.path("config.toml")).current_dir("/etc");
    command.env_clear().env("SECRET", "of-root").env("LD_LIBRARY_PATH", "/nowhere").env("LANG", "C.UTF-8");
    Said::of(command.output().unwrap())
}

/// The server's view of the process that asked it.
#[derive(Default)]
struct Seen {
    status: BTreeMap<String, String>,
    environment: Vec<String>,
    directory: String,
    owner: u32,
}

fn look_at(pid: i32) -> Seen {
    let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = of("status");
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let mut environment: Vec<String> = of("environ").split_terminator('\0').map(str::to_owned).collect();
    environment.sort();
    Seen {
        status: lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        environment,
        directory: fs::read_link(format!("/proc/{pid}/cwd")).unwrap().display().to_string(),
        owner: fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(),
    }
}

/// A server for `alice#1234`, and its last view.
fn cli() -> (CliFixture, String, Arc<Mutex<Seen>>) {
    let (code, offered) = offer("alice#1234", 1, 0);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let last = Arc::clone(&seen);
    let answers = move |path: &str, _: &Value| match path {
        "/connect/find" => (200, offered.clone()),
        "/connect/approve" => {
            (200, json!({ "username": "alice#1234", "kid": kid(7), "uid": ALICE, "keyExpires": now() + 60 }))
        }
        "/connect/list" => (200, json!({ "connections": [], "more": false })),
        "/connect/remove" => (200, json!({ "usernames": ["alice#1234"] })),
        "/whoami" => (
            200,
            json!({
                "uid": ALICE, "account": "alice", "usernames": [], "provider": "hpc",
                "origin": "http://127.0.0.1:8889", "keyLifetimeS": 60, "administrator": false,
            }),
        ),
        _ => (200, json!({})),
    };
    (CliFixture::with_server_that_looks(move |pid| *last.lock().unwrap() = look_at(pid), answers), code, seen)
}

/// Asserts that the process ran exactly as that account.
fn assert_is(seen: &Seen, uid: u32, name: &str) {
    let four = vec![uid.to_string(); 4].join("\t");
    assert_eq!((&seen.status["Uid"], &seen.status["NoNewPrivs"]), (&four, &"1".to_owned()));
    assert_eq!(seen.status["CapEff"].trim_start_matches('0'), "");
    assert_eq!(seen.status["CapPrm"].trim_start_matches('0'), "");
    let groups = Command::new("id").args(["-G", name]).output().unwrap().stdout;
    let mut want: Vec<u32> =
        String::from_utf8(groups).unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect();
    let mut got: Vec<u32> = seen.status["Groups"].split_whitespace().map(|id| id.parse().unwrap()).collect();
    want.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, want, "groups");
    let gid = seen.status["Gid"].split_whitespace().collect::<Vec<_>>();
    assert!(gid.iter().all(|id| *id == gid[0] && *id != "0"), "{gid:?}");
    // The kernel gives root the `/proc` entries of a process that is not dumpable.
    assert_eq!(seen.owner, 0, "the account's other processes can reach into root's terminal");
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn v59_root_that_approves_for_a_user_is_that_user_for_good() {
    let (cli, code, seen) = cli();
    as_root(&cli, &["connect", "approve", &code, "--yes", "--uid", "1101"]).expect(0, "");
    let seen = seen.lock().unwrap();
    assert_is(&seen, ALICE, "alice");
    let want = ["HOME=/home/alice", "LANG=C.UTF-8", "LOGNAME=alice", "PATH=/usr/bin:/bin", "USER=alice"];
    assert_eq!(seen.environment, want);
    assert_eq!(seen.directory, "/home/alice");
    for file in [PINS, "/home/alice/.config/countersign/instance_key.hpc"] {
        let metadata = fs::metadata(file).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (ALICE, ALICE, 0o600), "{file}");
    }
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn root_is_not_led_to_other_files() {
    let (cli, code, _) = cli();
    let target = Path::new("/etc/led-astray");
    fs::create_dir(target).unwrap();
    symlink(target, "/home/alice/.config").unwrap();
    as_root(&cli, &["connect", "approve", &code, "--yes", "--uid", "1101"])
        .expect(1, "cannot open /home/alice/.config (symbolic links are not followed)");
    assert_eq!(fs::read_dir(target).unwrap().count(), 0);
    fs::remove_file("/home/alice/.config").unwrap();
    // A home directory that others can write.
    fs::set_permissions("/home/alice", fs::Permissions::from_mode(0o777)).unwrap();
    as_root(&cli, &["connect", "approve", &code, "--yes", "--uid", "1101"]).expect(3, "others can write it");
    assert!(!Path::new(PINS).exists());
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn root_sees_a_user_s_keys_as_that_user() {
    let (cli, code, seen) = cli();
    as_root(&cli, &["connect", "approve", &code, "--yes", "--uid", "1101"]).expect(0, "");
    let said = as_root(&cli, &["keys", "list", "--user", "alice"]);
    said.expect(0, "");
    assert!(said.out.contains(&kid(7)) && said.out.contains("only pinned"), "{said:?}");
    assert_is(&seen.lock().unwrap(), ALICE, "alice");
    as_root(&cli, &["keys", "revoke", &kid(7), "--user", "alice"]).expect(0, "");
    assert_eq!(fs::read_to_string(PINS).unwrap(), "");
    as_root(&cli, &["keys", "list", "--user", "root"]).expect(3, "uid 0 is root itself");
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn root_administers_as_the_server_s_account() {
    let (cli, _, seen) = cli();
    let ucloud = fs::metadata("/var/lib/countersign").unwrap();
    nix::unistd::chown(&cli.path("run"), Some(ucloud.uid().into()), Some(ucloud.gid().into())).unwrap();
    as_root(&cli, &["connect", "list"]).expect(0, "");
    assert_is(&seen.lock().unwrap(), ucloud.uid(), "ucloud");
    assert_eq!(cli.asked("/connect/list"), json!({ "all": true }));
    as_root(&cli, &["connect", "remove", "alice#1234", "--yes"])
        .expect(0, "Keys that the account has pinned stay there");
    assert_is(&seen.lock().unwrap(), ucloud.uid(), "ucloud");
    assert_eq!(cli.asked("/connect/remove"), json!({ "username": "alice#1234" }));
}
