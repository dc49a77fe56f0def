//! What `deploy/` ships is what the programs that read it take: the unit, and the example configuration.
//!
//! Each test runs alone in `tests/support/installation.sh`, which uses the rest of `deploy/`: see `./test`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

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
    // An unknown key is only a warning to it.
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

/// What `systemd-analyze security` may say of the gateway's unit at most, of 10. It says 0.5 (version 252).
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
    // The server's cannot be so, and the same question says so.
    assert!(!exposure(&directory.join("countersign.service")).unwrap().status.success());
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
