//! Projects of UCloud as real groups: real accounts, the shipped program by sudo, the stand-in
//! Core's events.
//!
//! Ignored tests run alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::cli_fixture::{CliFixture, refused};
use crate::support::test_site::{Part, Person, TestSite, said, write_file};
use countersign_portal::core::events::Event;
use countersign_portal::now;
use nix::unistd::{Gid, Group, chown};
use serde_json::{Value, json};

const PROGRAM: &str = "/usr/bin/countersign-local-groups";
const TABLE: &str = "[projects]\ngids = [70000, 70009]\n\
    command = [\"/usr/bin/sudo\", \"-n\", \"/usr/bin/countersign-local-groups\"]\n";
const PROJECT: &str = "0b5bd6d5-2b8a-4d3c-9f5e-000000000001";
const OTHER: &str = "0b5bd6d5-2b8a-4d3c-9f5e-000000000002";

/// Installs the program as its document says.
fn install() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/projects");
    fs::copy(shipped.join("local-groups"), PROGRAM).unwrap();
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(shipped.join("sudoers"), "/etc/sudoers.d/countersign-projects").unwrap();
    fs::set_permissions("/etc/sudoers.d/countersign-projects", fs::Permissions::from_mode(0o440)).unwrap();
    let settings = json!({"prefix": "ucp-", "gids": [70_000, 70_009], "uid_min": 1_000}).to_string();
    write_file(Path::new("/etc/countersign-groups.conf"), &settings, 0o644, Some("root"));
    assert!(Command::new("visudo").args(["--check", "--quiet"]).status().unwrap().success());
}

/// Core's event: these are the members of the project.
async fn tell(centre: &TestSite, id: &str, second: i64, members: &[(&str, &str)]) {
    let members: Vec<Value> =
        members.iter().map(|(username, role)| json!({"username": username, "role": role})).collect();
    let lost = centre.control.push(Event::Project(json!({
        "id": id, "createdAt": 1, "modifiedAt": (now() - 100 + second) * 1_000,
        "specification": {"parent": null, "title": "root", "canConsumeResources": true},
        "status": {"archived": false, "members": members, "groups": []},
    })));
    assert_eq!(lost.await, 0);
}

async fn approve(centre: &TestSite, id: &str, usernames: &[&str]) {
    centre
        .until("what waits is listed", async || {
            let listed = centre.run_as("root", &["projects", "pending", "--json"]).await;
            let listed = String::from_utf8(listed.stdout).unwrap();
            usernames.iter().all(|username| listed.contains(username) && listed.contains(id))
        })
        .await;
    let approved = centre.run_as("root", &[&["projects", "approve", id, "--yes"], usernames].concat()).await;
    assert!(approved.status.success(), "{}\n{}", said(&approved), centre.last_words());
}

fn members_of(group: &str) -> Option<Vec<String>> {
    Group::from_name(group).unwrap().map(|group| group.mem)
}

async fn until_members(centre: &TestSite, group: &str, members: &[&str]) {
    let is_so = async || members_of(group).is_some_and(|found| found == members);
    centre.until(&format!("{group} has {members:?}"), is_so).await;
}

/// Whether the person's instance, which is started if there is none, is in that group.
async fn is_in(centre: &TestSite, person: &Person, gid: u32) -> bool {
    centre.until("an instance serves", async || centre.browse(person, "/home").await.is_ok()).await;
    let pid = centre.pid(Part::Instance(person.account)).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    groups.split_whitespace().any(|group| group == gid.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn only_admitted_members_reach_a_projects_files_and_a_removed_one_loses_them() {
    install();
    let centre = TestSite::open_with(TABLE).await;
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    let (of_alice, of_bob) = ((alice.username.as_str(), "PI"), (bob.username.as_str(), "USER"));
    tell(&centre, PROJECT, 0, &[of_alice, of_bob]).await;
    approve(&centre, PROJECT, &[&alice.username]).await;
    until_members(&centre, "ucp-1", &["alice"]).await;
    let group = Group::from_name("ucp-1").unwrap().unwrap();
    assert_eq!(group.gid.as_raw(), 70_000);
    let folder = Path::new("/home/shared");
    fs::create_dir(folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o2770)).unwrap();
    chown(folder, None, Some(Gid::from_raw(70_000))).unwrap();
    let reaches = async |account: &str| centre.shell_as(account, "ls /home/shared").await.status.success();
    assert!(reaches("alice").await && !reaches("bob").await, "Core's word alone admits no user");
    assert!(!is_in(&centre, &bob, 70_000).await);

    // The server is killed right after the decision.
    approve(&centre, PROJECT, &[&bob.username]).await;
    let starts = centre.starts();
    centre.kill(Part::Server);
    until_members(&centre, "ucp-1", &["alice", "bob"]).await;
    centre.until("the server is back", async || centre.starts() > starts && centre.serves().await).await;
    assert!(is_in(&centre, &bob, 70_000).await && reaches("bob").await);
    let before = centre.pid(Part::Instance("bob")).unwrap();

    // Core removes bob: the group, and the instance that still had it.
    tell(&centre, PROJECT, 1, &[of_alice]).await;
    until_members(&centre, "ucp-1", &["alice"]).await;
    centre.until("bob's instance has ended", async || centre.pid(Part::Instance("bob")) != Some(before)).await;
    assert!(!is_in(&centre, &bob, 70_000).await && !reaches("bob").await);
    // Last year's list does not bring bob back, and the same list of today waits.
    tell(&centre, PROJECT, 0, &[of_alice, of_bob]).await;
    tell(&centre, PROJECT, 2, &[of_alice, of_bob]).await;
    let waits = async || {
        let listed = centre.run_as("root", &["projects", "pending"]).await;
        String::from_utf8(listed.stdout).unwrap().contains("bob")
    };
    centre.until("bob waits", waits).await;
    assert_eq!(members_of("ucp-1").unwrap(), ["alice"]);

    // A disconnected user is no account of the group.
    let removed = centre.run_as("alice", &["connect", "remove", "--yes"]).await;
    assert!(removed.status.success(), "{}", said(&removed));
    until_members(&centre, "ucp-1", &[]).await;

    // A group of the site's that has the next name is left alone.
    assert!(Command::new("groupadd").args(["--gid", "4711", "ucp-2"]).status().unwrap().success());
    tell(&centre, OTHER, 0, &[(&bob.username, "PI")]).await;
    approve(&centre, OTHER, &[&bob.username]).await;
    let refused = async || centre.last_words().contains("was not made by this program");
    centre.until("the program refuses", refused).await;
    assert_eq!(members_of("ucp-2").unwrap(), Vec::<String>::new());
}

/// The capabilities that the server's unit leaves to its children, with the site's addition.
fn capabilities() -> String {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let units = ["systemd/countersign.service", "projects/countersign.service.conf"];
    let text: String = units.iter().map(|unit| fs::read_to_string(deploy.join(unit)).unwrap()).collect();
    let lines = text.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = lines.flat_map(str::split_whitespace).map(|name| format!(",+{}", name[4..].to_lowercase()));
    format!("-all{}", names.collect::<String>())
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn the_program_for_local_groups_makes_only_its_own() {
    install();
    let bounds = capabilities();
    let run = |caller: &str, arguments: &[&str], order: &Value| -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", &bounds, "--reuid", caller, "--regid", caller, "--init-groups", "--"]);
        command.args(["/usr/bin/sudo", "-n", PROGRAM]);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _closed_early = child.stdin.take().unwrap().write_all(order.to_string().as_bytes());
        child.wait_with_output().unwrap()
    };
    let order = |group: &str, gid: u32, members: &[&str]| json!({"version": 1, "group": group, "gid": gid, "members": members, "archived": false});
    let taken = |order: &Value| {
        let output = run("ucloud", &[], order);
        assert!(output.status.success(), "{order}: {}", said(&output));
    };
    taken(&order("ucp-3", 70_002, &["bob", "alice"]));
    assert_eq!(members_of("ucp-3").unwrap(), ["alice", "bob"]);
    taken(&order("ucp-3", 70_002, &["bob", "alice"]));
    taken(&order("ucp-3", 70_002, &["bob"]));
    assert_eq!(members_of("ucp-3").unwrap(), ["bob"]);
    // As if it had been killed before the group was made.
    assert!(Command::new("groupdel").arg("ucp-3").status().unwrap().success());
    taken(&order("ucp-3", 70_002, &[]));
    assert_eq!(members_of("ucp-3").unwrap(), Vec::<String>::new());

    let before = fs::read_to_string("/etc/group").unwrap();
    let refused = |caller: &str, arguments: &[&str], order: &Value, want: &str| {
        let output = run(caller, arguments, order);
        assert!(!output.status.success() && said(&output).contains(want), "{order}: {}", said(&output));
        assert_eq!(fs::read_to_string("/etc/group").unwrap(), before, "{order}");
    };
    let good = order("ucp-4", 70_003, &["alice"]);
    for (order, want) in [
        (order("sudo", 70_003, &["alice"]), "site's prefix"),
        (order("ucp-", 70_003, &["alice"]), "site's prefix"),
        (order("ucp-4\nx", 70_003, &["alice"]), "site's prefix"),
        (order("ucp-4", 27, &["alice"]), "out of the site's range"),
        (order("ucp-4", 70_010, &["alice"]), "out of the site's range"),
        (order("ucp-3", 70_003, &["alice"]), "was not made by this program"),
        (order("ucp-4", 70_002, &["alice"]), "the gid 70002 is ucp-3's"),
        (order("ucp-4", 70_003, &["root"]), "system account"),
        (order("ucp-4", 70_003, &["daemonish"]), "system account"),
        (order("ucp-4", 70_003, &["nobody-such"]), "there is no account"),
        (order("ucp-4", 70_003, &["-a"]), "other characters"),
        (order("ucp-4", 70_003, &["alice", "alice"]), "different names"),
        (json!({"version": 2, "group": "ucp-4", "gid": 70_003, "members": [], "archived": false}), "version 1"),
        (json!([]), "version 1"),
    ] {
        refused("ucloud", &[], &order, want);
    }
    refused("ucloud", &["--help"], &good, "sudo: ");
    refused("alice", &[], &good, "sudo: ");
    fs::set_permissions("/etc/countersign-groups.conf", fs::Permissions::from_mode(0o666)).unwrap();
    refused("ucloud", &[], &good, "no other account may write it");
}

/// A server at which that member waits, with hostile text where Core may write.
fn with_waiting(decided: (u16, Value)) -> CliFixture {
    let member = json!({
        "project": PROJECT, "title": "\u{1b}[2J\u{202e}Ice", "username": "Mallory\u{202e}#1", "role": "ADMIN",
        "since": 1_800_000_000, "waits": "addition", "account": "mallory",
    });
    CliFixture::with_server(move |path, _| match path {
        "/projects/members" => (200, json!({ "members": [member], "more": false })),
        "/projects/list" => {
            let project = json!({
                "id": PROJECT, "title": "\u{1b}[2J\u{202e}Ice", "isArchived": false, "confirmed": 1, "waiting": 2,
            });
            (200, json!({ "projects": [project], "more": false }))
        }
        _ => decided.clone(),
    })
}

#[test]
fn what_core_says_of_projects_cannot_command_the_terminal() {
    for command in [&["projects", "list"][..], &["projects", "pending"], &["projects", "show", PROJECT]] {
        let said = with_waiting((200, json!({}))).run(command);
        said.expect(0, "");
        assert!(
            said.out.contains(PROJECT) && said.out.chars().all(|c| c == '\n' || (' '..='~').contains(&c)),
            "{said:?}"
        );
    }
}

#[test]
fn an_approval_is_of_what_was_shown() {
    let cli = with_waiting((200, json!({})));
    let decide = |word: &'static str| cli.run(&["projects", word, PROJECT, "Mallory\u{202e}#1", "--yes"]);
    let said = decide("approve");
    said.expect(0, "");
    assert!(said.out.contains("to be admitted") && said.out.ends_with("Approved.\n"), "{said:?}");
    decide("reject").expect(0, "");
    let rejected = cli.asked("/projects/decide");
    let shown = json!([{"username": "Mallory\u{202e}#1", "role": "ADMIN", "waits": "addition"}]);
    assert_eq!(rejected, json!({"project": PROJECT, "members": shown, "decision": "reject"}));
    // Without a clear yes nothing is sent, and neither for a member who is not listed.
    cli.run(&["projects", "approve", PROJECT, "Mallory\u{202e}#1"]).expect(2, "answer with --yes");
    cli.run(&["projects", "approve", PROJECT, "eve#1", "--yes"]).expect(2, "UCloud lists no such member");
    cli.run(&["projects", "approve", "../etc", "eve#1", "--yes"]).expect(2, "a project's id is a UUID");
    assert_eq!(cli.asked_at().iter().filter(|path| *path == "/projects/decide").count(), 2);
    let refusing = with_waiting(refused(409, "CONFLICT", "UCloud has changed this member since"));
    refusing.run(&["projects", "approve", PROJECT, "Mallory\u{202e}#1", "--yes"]).expect(3, "has changed this member");
}
