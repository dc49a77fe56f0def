//! Tests of the promises about accounts (P7, P10) in a real installation. The server has its own
//! uid, users have theirs, and sudo starts instances under the project's rule.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::test_site::{Part, TestSite, said};
use countersign_portal::{Algorithm, Deed, Intent, now};

/// Runs `sudo` with these arguments, from an account that has given up all other privileges.
fn sudo(caller: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", caller, "--regid", caller, "--init-groups", "--", "/usr/bin/sudo", "-n"]);
    // The server's environment for sudo. With an empty one sudo 1.9.16 ends by a signal when it
    // refuses.
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.current_dir("/").output().unwrap()
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn v59_sudo_starts_one_command_for_members_of_one_group() {
    // sudo's last line, and none of Countersign's. sudo may also warn, for example of a host name
    // that does not resolve.
    let refused_by_sudo = |output: &Output| {
        let words = String::from_utf8_lossy(&output.stderr);
        output.status.code() == Some(1) && words.lines().last().is_some_and(|line| line.starts_with("sudo: "))
    };
    let check = |caller: &str, target: &str, command: &[&str], allowed: bool| {
        let output = sudo(caller, &[&["-u", target, "--"], command].concat());
        assert_eq!(!refused_by_sudo(&output), allowed, "{caller} → {target}: {command:?}: {}", said(&output));
    };
    let instance = ["/usr/bin/countersign", "user"];
    check("ucloud", "alice", &instance, true);
    check("ucloud", "#1102", &instance, true);

    // Root, though it is in the group; a user outside the group; a closed login shell; an unknown
    // account.
    check("ucloud", "root", &instance, false);
    check("ucloud", "#0", &instance, false);
    check("ucloud", "mallory", &instance, false);
    check("ucloud", "locked", &instance, false);
    check("ucloud", "#4000", &instance, false);
    check("ucloud", "#-1", &instance, false);
    check("ucloud", "#4294967295", &instance, false);

    // Any other command.
    check("ucloud", "alice", &["/usr/bin/countersign"], false);
    check("ucloud", "alice", &["/usr/bin/countersign", "server"], false);
    check("ucloud", "alice", &["/usr/bin/countersign", "user", "--home", "/tmp"], false);
    check("ucloud", "alice", &["/usr/bin/countersign", "user", ""], false);
    check("ucloud", "alice", &["/usr/bin/id"], false);
    check("ucloud", "alice", &["LD_PRELOAD=/tmp/x.so", "/usr/bin/countersign", "user"], false);

    // Any other account.
    check("alice", "bob", &instance, false);
    check("mallory", "alice", &instance, false);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v56_neither_user_reaches_the_others_socket_files_or_keys() {
    let centre = TestSite::open().await;
    let people = [centre.connect("alice").await, centre.connect("bob").await];
    for person in &people {
        assert!(centre.browse(person, "/home").await.is_ok(), "{}", centre.last_words());
    }
    let instances = centre.state.join("instances");
    let sockets: Vec<_> = fs::read_dir(&instances).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(sockets.len(), 2, "{sockets:?}");
    assert_eq!(mode(&centre.state), 0o700);

    let refused = async |account: &str, script: &str| {
        let output = centre.shell_as(account, script).await;
        assert!(!output.status.success(), "{account} may: {script}: {}", said(&output));
    };
    let pinned = |home: &Path| home.join(".config/countersign/authorized_keys").display().to_string();
    let instance_key = |home: &Path| home.join(".config/countersign/instance_key.hpc").display().to_string();

    for (me, other) in [(&people[0], &people[1]), (&people[1], &people[0])] {
        let other_home = other.home.display();
        for stranger in [me.account, "mallory", "ucloud"] {
            refused(stranger, &format!("cat {}", pinned(&other.home))).await;
            refused(stranger, &format!("cat {}", instance_key(&other.home))).await;
            refused(stranger, &format!("ls {other_home}")).await;
            refused(stranger, &format!("echo x >> {}", pinned(&other.home))).await;
        }
        for file in [pinned(&me.home), instance_key(&me.home)] {
            assert_eq!(mode(Path::new(&file)), 0o600, "{file}");
            assert_eq!(fs::metadata(&file).unwrap().uid(), fs::metadata(&me.home).unwrap().uid(), "{file}");
        }
        assert!(centre.shell_as(me.account, &format!("cat {}", pinned(&me.home))).await.status.success());
    }
    for stranger in ["alice", "bob", "mallory"] {
        for socket in &sockets {
            refused(stranger, &knock(socket)).await;
        }
        refused(stranger, &knock(&centre.state.join("service.sock"))).await;
        refused(stranger, &format!("ls {}", instances.display())).await;
        refused(stranger, &format!("touch {}/1101-9.sock", instances.display())).await;
        // No other account can take the place of the server's own socket either.
        let ipc = centre.ipc.display();
        refused(stranger, &format!("rm -f {ipc}/ucloud.sock")).await;
        refused(stranger, &format!("mv {ipc}/ucloud.sock {ipc}/old")).await;
        refused(stranger, &format!("touch {ipc}/other.sock")).await;
    }
    // The sockets do answer their owner: the directory was what refused.
    assert!(centre.shell_as("ucloud", &knock(&sockets[0])).await.status.success());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v17_v58_one_user_is_never_served_as_the_other() {
    let centre = TestSite::open().await;
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    let deed = Deed::create_folder("/home/whose");
    assert!(centre.perform(&bob, &Deed::browse("/home")).await.is_ok());

    // Alice's key with Bob's name: in the intent, in the header, in both.
    let by_alice =
        |username: &str| Intent::of(&centre.origin(), username, &deed, now()).unwrap().sign(&alice.key).unwrap();
    for (header, claimed) in
        [(&bob.username, &alice.username), (&alice.username, &bob.username), (&bob.username, &bob.username)]
    {
        let request = centre.core.request(header, &deed, Some(&by_alice(claimed))).unwrap();
        let answer = centre.core.invoke(&request).await.unwrap();
        assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"), "{header} {claimed}");
    }
    for person in [&alice, &bob] {
        assert!(!person.home.join("whose").exists());
    }

    // Bob can do nothing to Alice's connection at the centre.
    let revoked = centre.run_as("bob", &["keys", "revoke", alice.key.kid()]).await;
    assert!(!revoked.status.success(), "{}", said(&revoked));
    let offered = centre.offer(&alice.username, Algorithm::Es256).await;
    let approved = centre.run_as("bob", &["connect", "approve", &offered.code, "--yes"]).await;
    assert!(!approved.status.success(), "Bob becomes Alice: {}", said(&approved));
    assert!(centre.perform(&alice, &deed).await.is_ok());
    assert_eq!(fs::metadata(alice.home.join("whose")).unwrap().uid(), fs::metadata(&alice.home).unwrap().uid());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v62_an_instance_is_exactly_its_user_and_knows_nothing_else() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let answer = centre.browse(&alice, "/home").await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let secret = centre.control.refresh_token();

    let instance = centre.pid(Part::Instance("alice")).expect("an instance");
    let status = fs::read_to_string(format!("/proc/{instance}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["1101"; 4]);
    assert_eq!(field("Gid:"), ["1101"; 4]);
    let groups = String::from_utf8(Command::new("id").args(["-G", "alice"]).output().unwrap().stdout).unwrap();
    let mut expected: Vec<&str> = groups.split_whitespace().collect();
    let mut held = field("Groups:");
    expected.sort_unstable();
    held.sort_unstable();
    assert_eq!(held, expected);
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(capabilities), ["0000000000000000"], "{capabilities}");
    }
    let environment = fs::read_to_string(format!("/proc/{instance}/environ")).unwrap();
    let mut names: Vec<&str> =
        environment.split_terminator('\0').map(|variable| variable.split_once('=').unwrap().0).collect();
    names.sort_unstable();
    let known = ["HOME", "LOGNAME", "MAIL", "PATH", "SHELL", "TERM", "USER"];
    names.retain(|name| !known.contains(name) && !name.starts_with("SUDO_"));
    assert!(names.is_empty(), "{names:?}");
    let descriptor = |number: u32| fs::read_link(format!("/proc/{instance}/fd/{number}")).unwrap();
    assert!(descriptor(0).to_string_lossy().starts_with("socket:"), "{:?}", descriptor(0));
    // None of the server's files, which the user could fill.
    assert_eq!(descriptor(1), Path::new("/dev/null"));
    assert!(descriptor(2).to_string_lossy().starts_with("pipe:"), "{:?}", descriptor(2));

    // No root process remains beside it, and no process shows a secret to others.
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = fs::read_to_string(process.path().join("cmdline")) else { continue };
        let Ok(environment) = fs::read(process.path().join("environ")) else { continue };
        if command.contains("sudo\0") || command.contains("countersign\0") {
            let status = fs::read_to_string(process.path().join("status")).unwrap();
            // Real, effective, saved and file system uid. A waiting sudo has root for all but the
            // first.
            let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
            assert!(!uids.split_whitespace().any(|uid| uid == "0"), "runs as root: {command:?}");
            assert!(!command.contains(secret));
            assert!(!String::from_utf8_lossy(&environment).contains(secret));
        }
    }
    for part in [Part::Server, Part::Gateway, Part::Instance("alice")] {
        let pid = centre.pid(part).unwrap_or_else(|| panic!("{part:?}"));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{part:?} may leave its memory in a file: {core}");
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_root_system_and_locked_accounts_are_refused() {
    let centre = TestSite::open().await;
    let check = async |account: &str, more: &[&str]| {
        // A different user each time: one user may have only a few unfinished connections.
        let username = format!("{account}{}#1", more.concat());
        let offered = centre.offer(&username, Algorithm::Es256).await;
        let output = centre.run_as(account, &[&["connect", "approve", &offered.code, "--yes"], more].concat()).await;
        assert!(!output.status.success(), "{account} {more:?} was approved: {}", said(&output));
        let status = offered.page.status().await.unwrap();
        assert_eq!(status.text("state"), "offered", "{account} {more:?}: {}", said(&output));
    };
    check("root", &[]).await;
    check("root", &["--uid", "0"]).await;
    check("root", &["--uid", "480"]).await;
    check("root", &["--uid", "1104"]).await;
    check("root", &["--uid", "4000"]).await;
    check("root", &["--uid", "65534"]).await;
    check("daemonish", &[]).await;
    check("locked", &[]).await;
    check("alice", &["--uid", "1102"]).await;
    for account in ["root", "daemonish", "locked"] {
        assert!(
            !centre.home(account).join(".config/countersign/authorized_keys").exists(),
            "{account} has a pinned key"
        );
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_an_expired_account_is_told_so_before_anything_is_pinned() {
    let centre = TestSite::open().await;
    let offered = centre.offer("expired#1", Algorithm::Es256).await;
    for (caller, arguments) in [
        ("expired", &["connect", "approve", &offered.code, "--yes"][..]),
        ("root", &["connect", "approve", &offered.code, "--yes", "--uid", "1105"]),
        ("expired", &["connect", "start", "expired#1", "--yes"]),
    ] {
        let output = centre.run_as(caller, arguments).await;
        assert_eq!(output.status.code(), Some(3), "{caller} {arguments:?}: {}", said(&output));
        assert!(said(&output).contains("the account expired expired on 1970-01-02"), "{}", said(&output));
    }
    assert_eq!(offered.page.status().await.unwrap().text("state"), "offered");
    assert!(!centre.home("expired").join(".config").exists(), "something was pinned");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_an_account_that_expires_later_is_answered_clearly_and_has_no_instance() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let chage = |day: &str| {
        let output = Command::new("chage").args(["-E", day, "alice"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    chage("1970-01-02");
    let made = Deed::create_folder("/home/made");
    let answer = centre.perform(&alice, &made).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "ACCOUNT_REFUSED"), "{answer:?}");
    assert!(answer.text("why").contains("the provider's staff can tell why"), "{answer:?}");
    assert!(!alice.home.join("made").exists());
    let is_said = || centre.instance_log().contains("the account alice expired on 1970-01-02");
    centre.until("the log says why", async || is_said()).await;
    let lines = centre.instance_log().lines().count();
    // Asked again, it is not launched again.
    assert_eq!(centre.perform(&alice, &made).await.status, 403);
    assert!(centre.pid(Part::Instance("alice")).is_none());
    assert_eq!(centre.instance_log().lines().count(), lines, "{}", centre.instance_log());
}

/// Ends every `chage` of alice's as soon as it starts. ARGV: a file that ends this program.
const KILLER: &str = r#"
my ($until) = @ARGV; my $killed = 0;
for (my $turn = 0; $turn % 64 || !-e $until; $turn++) {
    open(my $l, '<', '/proc/loadavg') or die; my $newest = (split ' ', <$l>)[4]; close $l;
    for my $pid ($newest - 3 .. $newest + 3) {
        open(my $f, '<', "/proc/$pid/comm") or next; my $name = <$f> // ''; close $f;
        $killed++ if $name eq "chage\n" && kill 'KILL', $pid;
    }
}
print "killed $killed\n";
"#;

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_s10_where_nobody_can_tell_whether_an_account_has_expired_there_is_no_instance() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let made = Deed::create_folder("/home/made");
    // A refusal lasts half a minute, whatever happens to chage. Each way but the first therefore
    // has its own installation.
    let output = Command::new("chage").args(["-E", "1970-01-02", "alice"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let end = std::env::temp_dir().join("end");
    let mut killer = Command::new("setpriv");
    killer.args(["--reuid", "alice", "--regid", "alice", "--init-groups", "--", "/usr/bin/perl", "-e", KILLER]);
    let killer = killer.arg(&end).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        let answer = centre.perform(&alice, &made).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "ACCOUNT_REFUSED"), "{answer:?}");
        assert!(centre.pid(Part::Instance("alice")).is_none());
        // By itself, as often as she likes.
        for _ in 0..5 {
            let output = centre.run_as("alice", &["connect", "start", "alice#1234", "--yes"]).await;
            assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        }
    }
    fs::write(&end, "").unwrap();
    let killed = said(&killer.wait_with_output().unwrap());
    assert!(!alice.home.join("made").exists());
    let log = centre.instance_log();
    assert!(log.contains("expired on 1970-01-02") || log.contains("is unknown"), "{killed}\n{log}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_s10_a_chage_that_does_not_answer_refuses() {
    for (script, why) in [
        ("kill -9 $$", "ended with signal: 9"),
        ("echo 'Account expires : never'; exit 1", "ended with exit status: 1"),
        ("exit 0", "did not say when the account expires"),
        ("echo 'Account expires : some day'", "did not say when the account expires"),
    ] {
        fs::write("/run/tmp/chage", format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions("/run/tmp/chage", fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename("/usr/bin/chage", "/usr/bin/chage.real").ok();
        fs::copy("/run/tmp/chage", "/usr/bin/chage").unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "alice", "--regid", "alice", "--init-groups", "--", "/usr/bin/countersign"]);
        let output = command.args(["connect", "start", "alice#1", "--yes"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{script}: {}", said(&output));
        assert!(said(&output).contains(why), "{script}: {}", said(&output));
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v59_r09_an_account_that_sudo_does_not_serve_is_told_so_and_not_connected() {
    let centre = TestSite::open().await;
    let offered = centre.offer("mallory#1", Algorithm::Es256).await;
    let approved = centre.run_as("mallory", &["connect", "approve", &offered.code, "--yes"]).await;
    assert!(!approved.status.success(), "{}", said(&approved));
    assert!(said(&approved).contains("no instance may run for this account"), "{}", said(&approved));
    assert_eq!(offered.page.status().await.unwrap().text("state"), "offered");
    let pins = fs::read_to_string(centre.home("mallory").join(".config/countersign/authorized_keys"));
    assert!(!pins.unwrap_or_default().contains(offered.key.kid()), "it is still pinned");
    assert!(centre.last_words().contains("sudo refused the instance"), "{}", centre.last_words());
    // The same later, for a connected user who is removed from the group.
    let alice = centre.connect("alice").await;
    let output = Command::new("gpasswd").args(["--delete", "alice", "ucloud_users"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let deed = Deed::create_folder("/home/made");
    let answer = centre.perform(&alice, &deed).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "ACCOUNT_REFUSED"), "{answer:?}");
    assert!(!alice.home.join("made").exists());
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn nothing_starts_as_root() {
    for mode in [&["server"][..], &["gateway", "--listen-fd", "3"], &["user"]] {
        // The file is missing: the program must refuse before it looks for it.
        let mut command = Command::new("/usr/bin/countersign");
        let output = command.args(mode).args(["--config", "/nowhere.toml"]).env_clear().output().unwrap();
        assert!(!output.status.success(), "{mode:?}");
        let words = said(&output);
        assert!(words.contains("does not run as root") && !words.contains("nowhere"), "{mode:?}: {words}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display())).permissions().mode() & 0o7777
}

/// A script that succeeds if it can connect to the socket.
fn knock(socket: &Path) -> String {
    format!("exec perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => shift) ? 0 : 1)' {}", socket.display())
}
