//! Tests that the unit and the example configuration in `deploy/` are valid for the programs that
//! read them.
//!
//! Each test runs alone in `tests/support/installation.sh`, which uses the rest of `deploy/`: see
//! `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_portal::{CoreKeys, TestCertificate};
use nix::unistd::{User, chown};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn systemd_takes_the_unit() {
    let unit = Path::new("/etc/systemd/system/countersign.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::copy(deploy("systemd/countersign.service"), unit).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(unit).output().unwrap();
    // To `systemd-analyze`, an unknown key is only a warning.
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !words.contains("countersign"), "{words}");

    // sudo refuses under NoNewPrivileges, which most restrictions imply when the unit has a User=.
    let text = fs::read_to_string(unit).unwrap();
    let implies = [
        "SystemCallFilter",
        "SystemCallArchitectures",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "PrivateDevices",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "ProtectClock",
        "ProtectHostname",
        "MemoryDenyWriteExecute",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "LockPersonality",
        "DynamicUser",
        "NoNewPrivileges=yes",
    ];
    let found: Vec<&str> = text.lines().filter(|line| implies.iter().any(|key| line.starts_with(key))).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The highest exposure that `systemd-analyze security` may report for the gateway's unit, in
/// tenths of its scale of 10. It reports 0.5 (version 252).
const EXPOSURE_MAX: &str = "20";

#[test]
#[ignore = "needs an installation: run by ./test"]
fn systemd_finds_little_exposed_in_the_gateways_unit() {
    let directory = Path::new("/etc/systemd/system");
    fs::create_dir_all(directory).unwrap();
    for unit in ["countersign.service", "countersign-gateway.service"] {
        fs::copy(deploy("systemd").join(unit), directory.join(unit)).unwrap();
    }
    let unit = directory.join("countersign-gateway.service");
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !words.contains("countersign"), "{words}");
    let exposure = |unit: &Path| {
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &threshold])
            .arg(unit)
            .output()
    };
    let gateway = exposure(&unit).unwrap();
    assert!(gateway.status.success(), "{}", String::from_utf8_lossy(&gateway.stdout));
    // The server's unit cannot be that strict, and the same command says so.
    assert!(!exposure(&directory.join("countersign.service")).unwrap().status.success());
}

/// Runs the lines of docs/operators.md that install them where nothing outside this test is
/// changed.
#[test]
#[ignore = "needs an installation: run by ./test"]
fn n13_the_documented_commands_install_manual_pages_and_completions() {
    for seen in ["/usr/share", "/usr/local/share"] {
        let made = Path::new("/run/overlay").join(seen.trim_start_matches('/'));
        let (upper, work) = (made.join("upper"), made.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        let options = format!("lowerdir={seen},upperdir={},workdir={}", upper.display(), work.display());
        let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options, seen]).status().unwrap();
        assert!(mounted.success());
    }
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md")).unwrap();
    let (_, installing) = document.split_once("\n## Installing\n").unwrap();
    let (_, rest) = installing.split_once("systemctl daemon-reload\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    assert!(script.contains("countersign man ") && script.contains("countersign completions "), "{script}");
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));

    let pages = Path::new("/usr/local/share/man/man1");
    for name in ["countersign", "countersign-connect-approve", "countersign-keys-list", "countersign-state-accept"] {
        let page = pages.join(format!("{name}.1"));
        assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o644, "{}", page.display());
        assert!(fs::read_to_string(&page).unwrap().contains(&format!(".TH {name} 1")), "{}", page.display());
    }
    // As bash does when a user presses Tab after "countersign keys re".
    let script = "source /usr/share/bash-completion/completions/countersign\n\
        COMP_WORDS=(countersign keys re); COMP_CWORD=2; COMP_LINE='countersign keys re'; COMP_POINT=${#COMP_LINE}\n\
        $(complete -p countersign | sed 's/.*-F \\([^ ]*\\).*/\\1/') countersign re keys; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "revoke");
}

#[test]
#[ignore = "needs an installation: run by ./test"]
fn the_example_configuration_is_taken() {
    let etc = Path::new("/etc/countersign");
    fs::copy(deploy("config.toml"), etc.join("config.toml")).unwrap();
    let certificate = TestCertificate::make("hpc.example.org").unwrap();
    fs::write(etc.join("core.pem"), CoreKeys::generate("hpc").unwrap().public_base64().unwrap()).unwrap();
    fs::write(etc.join("fullchain.pem"), &certificate.certificate_pem).unwrap();
    let ucloud = User::from_name("ucloud").unwrap().unwrap();
    for (name, text) in [("key.pem", certificate.key_pem.as_str()), ("refresh-token", "0123456789abcdef")] {
        fs::write(etc.join(name), text).unwrap();
        fs::set_permissions(etc.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        chown(&etc.join(name), Some(ucloud.uid), Some(ucloud.gid)).unwrap();
    }
    let output = Command::new("/usr/bin/countersign").args(["check-config", "--user", "ucloud"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
