//! Tests of a configuration's files: which accounts may write and read them, and their content.

use crate::support::program;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::config_fixture::{ConfigFixture, check_config};

/// A key of 1024 bits.
const WEAK_CORE_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC9FT/ejoSNnKIg4D6Zel/+UiR6cjiSv8fFshfRw2UxSjZG2C7fyDieZRNY4htJHXHEirU/alFrC5zDE2EeM2+H39B6wTspa+XaResxVUIjd3pPgBjj26DaPAKFwzadoRhyvtnc8BQzBdrBTNsupOYxxC+wNqNule8muImOS+wpaQIDAQAB";

/// Changes the text once and expects one problem.
fn check(find: &str, replace: &str, want: &str) {
    let site = ConfigFixture::new();
    site.flip(find, replace);
    assert_eq!(site.placeless(), [want], "{replace:?} for {find:?}");
}

/// Changes one file and expects one problem.
fn check_file(flip: impl FnOnce(&ConfigFixture), want: &str) {
    let site = ConfigFixture::new();
    flip(&site);
    assert_eq!(site.placeless(), [want]);
}

#[test]
fn files_that_decide_are_written_by_root_or_their_reader_alone() {
    check_file(
        |site| site.chmod("config.toml", 0o664),
        "config.toml has mode 0664: others can write it; chmod go-w config.toml",
    );
    check_file(
        |site| site.chmod("core.pem", 0o646),
        "core.public_key: core.pem has mode 0646: others can write it; chmod go-w core.pem",
    );
    check_file(
        |site| site.chmod("ca.pem", 0o666),
        "core.ca: ca.pem has mode 0666: others can write it; chmod go-w ca.pem",
    );
    check_file(
        |site| site.chmod("fullchain.pem", 0o664),
        "gateway.tls.certificate: fullchain.pem has mode 0664: others can write it; chmod go-w fullchain.pem",
    );
    check_file(
        |site| site.chmod("run", 0o1777),
        "ipc.directory: run has mode 1777: others can write it; chmod go-w run",
    );
    if nix::unistd::geteuid().is_root() {
        let give_away = |name: &'static str| {
            move |site: &ConfigFixture| nix::unistd::chown(&site.path(name), Some(12_345.into()), None).unwrap()
        };
        let belongs = "belongs to uid 12345, and must belong to root or to uid 0, which reads it";
        check_file(give_away("config.toml"), &format!("config.toml {belongs}"));
        check_file(give_away("core.pem"), &format!("core.public_key: core.pem {belongs}"));
        check_file(give_away("key.pem"), &format!("gateway.tls.key: key.pem {belongs}"));
        check_file(give_away("state"), &format!("state.directory: state {belongs}"));
    }
}

#[test]
fn v62_files_with_secrets_are_their_reader_s_alone() {
    for mode in [0o640, 0o604, 0o644, 0o700] {
        check_file(
            |site| site.chmod("refresh-token", mode),
            &format!(
                "core.refresh_token: refresh-token has mode {mode:04o}, and must have 0600 or 0400: chmod 0600 refresh-token"
            ),
        );
    }
    check_file(
        |site| site.chmod("key.pem", 0o644),
        "gateway.tls.key: key.pem has mode 0644, and must have 0600 or 0400: chmod 0600 key.pem",
    );
    check_file(
        |site| site.chmod("state", 0o750),
        "state.directory: state has mode 0750, and must have 0700: chmod 0700 state",
    );
}

#[test]
fn v62_a_secret_in_the_place_of_its_file_s_name_is_not_repeated() {
    let token = "5f".repeat(32);
    check(
        "refresh_token = \"refresh-token\"",
        &format!("refresh_token = \"{token}\""),
        "core.refresh_token: has to be the name of a file with the secret in it, never the secret itself",
    );
    check(
        "key = \"key.pem\"",
        "key = \"-----BEGIN PRIVATE KEY-----\"",
        "gateway.tls.key: has to be the name of a file with the secret in it, never the secret itself",
    );
}

/// Runs `countersign user` as an account other than root.
fn start_instance(site: &ConfigFixture) -> String {
    let mut command = Command::new(program::reachable(site.0.path()));
    command.arg("user").arg("--config").arg(site.path("config.toml"));
    if nix::unistd::geteuid().is_root() {
        fs::set_permissions(site.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    }
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_instance_that_could_read_a_secret_does_not_start() {
    let site = ConfigFixture::new();
    if nix::unistd::geteuid().is_root() {
        // The files belong to another account, which is correct. The next complaint is a different
        // one.
        assert!(!start_instance(&site).contains("can be read by this account"));
    }
    site.chmod("refresh-token", 0o644);
    let said = start_instance(&site);
    assert!(said.contains("refresh-token can be read by this account, which is an instance's"), "{said}");
}

#[test]
fn files_contain_what_they_are_for() {
    let not_a_key = "is not the public key of a key pair with which Core could sign";
    check_file(
        |site| site.write("core.pem", "x", 0o644),
        &format!(
            "core.public_key: core.pem {not_a_key}: neither bare base64 of an SPKI, nor a PUBLIC KEY PEM, nor a CERTIFICATE PEM"
        ),
    );
    check_file(
        |site| site.write("core.pem", WEAK_CORE_KEY, 0o644),
        &format!(
            "core.public_key: core.pem {not_a_key}: an RSA key must have 2048 to 4096 bits and the exponent 65537"
        ),
    );
    check_file(|site| site.write("refresh-token", "\n", 0o600), "core.refresh_token: refresh-token is empty");
    for token in ["0123456789abcdef\nfedcba9876543210\n", "\u{feff}0123456789abcdef\n", "0123 4567\n"] {
        let want =
            "core.refresh_token: refresh-token is not one token: remove further lines, spaces and a byte order mark";
        check_file(|site| site.write("refresh-token", token, 0o600), want);
    }
    check_file(|site| site.write("ca.pem", "", 0o644), "core.ca: ca.pem has no CERTIFICATE in PEM");
    check_file(
        |site| site.write("fullchain.pem", "", 0o644),
        "gateway.tls.certificate: fullchain.pem has no CERTIFICATE in PEM",
    );
    check_file(|site| site.write("key.pem", "none", 0o600), "gateway.tls.key: key.pem has no PRIVATE KEY in PEM");
    check_file(
        |site| site.write("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem(), 0o600),
        "gateway.tls.key: the key does not fit the certificate: keys may not be consistent: KeyMismatch",
    );
    check_file(
        |site| {
            fs::remove_file(site.path("core.pem")).unwrap();
            symlink("/dev/zero", site.path("core.pem")).unwrap();
        },
        "core.public_key: core.pem is not a regular file",
    );
    check_file(
        |site| site.write("core.pem", &"x".repeat(1_048_577), 0o644),
        "core.public_key: core.pem is longer than 1048576 bytes",
    );
}

#[test]
fn files_and_directories_have_to_be_there() {
    let gone = "No such file or directory (os error 2)";
    check("\"core.pem\"", "\"core2.pem\"", &format!("core.public_key: cannot open core2.pem: {gone}"));
    let made = "it is made at each boot by: systemd-tmpfiles --create countersign.conf";
    check("directory = \"run\"", "directory = \"walk\"", &format!("ipc.directory: walk does not exist; {made}"));
    check("directory = \"state\"", "directory = \"key.pem\"", "state.directory: key.pem is not a directory");
    let long = format!("/{}", "x".repeat(70));
    check(
        "directory = \"state\"",
        &format!("directory = \"{long}\""),
        "state.directory: is longer than 70 bytes, so that the sockets in it would have no valid name",
    );
    let output = check_config(Path::new("/nowhere/config.toml"), &[]);
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (
            Some(5),
            format!("countersign: the configuration is refused:\ncannot open /nowhere/config.toml: {gone}\n").as_str()
        )
    );
}
