//! A centre on a machine that systemd has started: Countersign installed as docs/operators.md says,
//! in the units of deploy/.
//!
//! Runs inside `tests/support/booted.sh`, by `./test`. `systemctl` waits until its own jobs are
//! done; tests poll for all other events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_portal::Endpoint;

use crate::support::test_site::{TestSite, said};

/// The server's unit.
pub(crate) const SERVER: &str = "countersign.service";
/// The gateway's unit, if it has one.
pub(crate) const GATEWAY: &str = "countersign-gateway.service";

/// Installs and configures Countersign, with these keys of `[gateway]`. Starts nothing.
pub(crate) async fn install(gateway: &str) -> TestSite {
    install_as_documented();
    step("usermod --append --groups ucloud_users alice");
    TestSite::furnish_at(Endpoint::plain, gateway, "").await
}

/// Runs the first block of commands of the document's section on installing.
pub(crate) fn install_as_documented() {
    assert!(Path::new("/run/systemd/private").exists(), "this runs inside tests/support/booted.sh: see ./test");
    let directory = release();
    let [install, _] = documented_steps();
    step(&format!("cd {}\n{install}", directory.display()));
}

/// Checks the configuration and starts the server, as the document says.
pub(crate) async fn start(centre: TestSite) -> TestSite {
    let [_, start] = documented_steps();
    step(&start);
    centre.until("the gateway serves", async || centre.serves().await).await;
    centre
}

/// The unpacked release: the program beside `deploy/`.
fn release() -> PathBuf {
    let directory = PathBuf::from("/tmp/release");
    fs::create_dir(&directory).unwrap();
    let program =
        std::env::var_os("COUNTERSIGN_BIN").expect("COUNTERSIGN_BIN: this runs inside tests/support/booted.sh");
    std::os::unix::fs::symlink(program, directory.join("countersign")).unwrap();
    std::os::unix::fs::symlink(source("deploy"), directory.join("deploy")).unwrap();
    directory
}

/// The two blocks of commands in the document's section on installing, word for word.
fn documented_steps() -> [String; 2] {
    documented("Installing")
}

/// The two blocks of commands in a section of docs/operators.md, word for word.
pub(crate) fn documented(section: &str) -> [String; 2] {
    let document = fs::read_to_string(source("docs/operators.md")).unwrap();
    let (_, section) = document.split_once(&format!("\n## {section}\n")).expect("the section");
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0.to_owned());
    blocks.collect::<Vec<_>>().try_into().expect("two blocks of commands")
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs commands as root, each of which has to succeed.
pub(crate) fn step(script: &str) {
    let output = shell(script);
    assert!(output.status.success(), "{script}\n{}", said(&output));
}

/// The same on a terminal, at which an operator answers one question with yes.
pub(crate) fn step_with_a_yes(script: &str) -> String {
    let file = "/tmp/step.sh";
    fs::write(file, script).unwrap();
    let output = shell(&format!("printf 'y\\n' | script --quiet --return --command 'sh -eu {file}' /dev/null"));
    assert!(output.status.success(), "{script}\n{}\n{}", said(&output), journal());
    said(&output)
}

/// Runs a script as root, which ends at the first command that fails.
pub(crate) fn shell(script: &str) -> Output {
    Command::new("sh").args(["-euc", script]).output().unwrap()
}

/// `systemctl`, which waits for the jobs it starts.
pub(crate) fn systemctl(arguments: &[&str]) -> Output {
    Command::new("systemctl").args(arguments).output().unwrap()
}

/// The same, where it must succeed.
pub(crate) fn told(arguments: &[&str]) {
    let output = systemctl(arguments);
    assert!(output.status.success(), "systemctl {}: {}\n{}", arguments.join(" "), said(&output), journal());
}

/// A property of a unit, as systemd has it.
pub(crate) fn property(unit: &str, name: &str) -> String {
    let output = systemctl(&["show", "--value", "--property", name, unit]);
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The unit's main process, if there is one.
pub(crate) fn main_pid(unit: &str) -> Option<i32> {
    property(unit, "MainPID").parse().ok().filter(|pid| *pid > 0)
}

/// The journal of both units, with systemd's own messages about them.
pub(crate) fn journal() -> String {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--output=cat", "--unit", SERVER, "--unit", GATEWAY])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
