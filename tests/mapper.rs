//! Tests of the generic user mapper of kind `command` in a whole centre. The site's program names
//! the account, and only that account can approve (design, section 5). Any other behaviour of the
//! program connects no user (P8).
//!
//! Runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::test_site::{TestSite, said};
use countersign_portal::{Algorithm, Deed, Intent, now};

const MAPPER: &str = "/etc/countersign/mapper";

/// Records the question and the account that asks, then does what the test has prepared.
const SCRIPT: &str = "#!/bin/sh\n\
    cat > /var/lib/countersign/asked\n\
    echo \" $(id -un) $* $(env | grep -cv -e ^PWD= -e ^_= -e ^SHLVL= -e ^LANG= -e ^PATH=)\" >> /var/lib/countersign/asked\n\
    . /etc/countersign/answer\n";

/// The one answer to every user whom the program does not map to the asking account, whatever the
/// reason. With different answers, any account here could find out which usernames the site knows
/// (V69).
const REFUSED: &str = "does not connect that UCloud user to your account";

fn answers(script: &str) {
    fs::write("/etc/countersign/answer", script).unwrap();
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_a_program_of_the_site_says_who_may_approve_and_nobody_else_can() {
    fs::create_dir_all("/etc/countersign").unwrap();
    fs::write(MAPPER, SCRIPT).unwrap();
    fs::set_permissions(MAPPER, fs::Permissions::from_mode(0o755)).unwrap();
    let mapping = format!("[mapping]\ntype = \"command\"\ncommand = [\"{MAPPER}\", \"--map\"]\n");
    let centre = TestSite::open_with(&mapping).await;
    let offered = centre.offer("alice#1234", Algorithm::Es256).await;
    let approve = ["connect", "approve", &offered.code, "--yes"];

    for (what, script, account, status, words) in [
        ("another's uid", "echo '{\"uid\":1102}'", "alice", 3, REFUSED),
        ("another's account", "echo '{\"uid\":1101}'", "bob", 3, REFUSED),
        ("a uid below the floor", "echo '{\"uid\":480}'", "alice", 3, REFUSED),
        ("below the floor, and it is theirs", "echo '{\"uid\":480}'", "daemonish", 3, "a system account"),
        ("root's uid", "echo '{\"uid\":0}'", "alice", 3, REFUSED),
        ("no JSON", "echo alice", "alice", 3, REFUSED),
        ("nothing", "true", "alice", 3, REFUSED),
        ("a member too many", "echo '{\"uid\":1101,\"name\":\"alice\"}'", "alice", 3, REFUSED),
        ("a name for a number", "echo '{\"uid\":\"1101\"}'", "alice", 3, REFUSED),
        ("the answer, and a bad end", "echo '{\"uid\":1101}'; echo not today >&2; exit 7", "alice", 3, REFUSED),
        ("the answer, twice", "echo '{\"uid\":1101}'; echo '{\"uid\":1101}'", "alice", 3, REFUSED),
        ("too much", "yes '{\"uid\":1101}'", "alice", 3, REFUSED),
        ("nothing in time", "exec sleep 60", "alice", 3, REFUSED),
    ] {
        answers(script);
        let output = centre.run_as(account, &approve).await;
        assert_eq!(output.status.code(), Some(status), "{what}: {}", said(&output));
        assert!(said(&output).contains(words), "{what}: {}", said(&output));
        assert_eq!(offered.page.status().await.unwrap().text("state"), "offered", "{what}");
        let pinned = fs::read_to_string(centre.home(account).join(".config/countersign/authorized_keys"));
        assert!(!pinned.unwrap_or_default().contains("alice#1234"), "{what}: something stays pinned");
    }
    let words = centre.last_words();
    assert!(words.contains("not today") && !said(&centre.run_as("alice", &approve).await).contains("not today"));

    answers("echo '{\"uid\":1101}'");
    let output = centre.run_as("alice", &approve).await;
    assert!(output.status.success(), "{}", said(&output));
    let asked = fs::read_to_string("/var/lib/countersign/asked").unwrap();
    assert_eq!(asked, "{\"username\":\"alice#1234\"} ucloud --map 0\n", "what it gets, as whom, and no environment");
    let deed = Deed::browse("/home");
    let intent = Intent::of(&centre.origin(), "alice#1234", &deed, now()).unwrap().sign(&offered.key).unwrap();
    let request = centre.core.request("alice#1234", &deed, Some(&intent)).unwrap();
    assert!(centre.core.invoke(&request).await.unwrap().is_ok(), "{}", centre.last_words());
}
