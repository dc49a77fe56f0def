//! Tests of what is written to a user's `authorized_keys`, byte for byte.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use super::public_key::tests::{ed25519, key};
use super::*;

fn own_uid() -> Uid {
    Uid(nix::unistd::geteuid().as_raw())
}

/// A home directory, with `.ssh/authorized_keys` if the test gives it a text.
struct Home(tempfile::TempDir);

impl Home {
    fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        Self(home)
    }

    fn with(text: &[u8]) -> Self {
        let home = Self::empty();
        fs::create_dir(home.directory()).unwrap();
        fs::set_permissions(home.directory(), Permissions::from_mode(0o700)).unwrap();
        fs::write(home.file(), text).unwrap();
        fs::set_permissions(home.file(), Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join(".ssh")
    }

    fn file(&self) -> PathBuf {
        self.directory().join("authorized_keys")
    }

    fn install(&self, keys: &[String]) -> Result<(), InstallError> {
        install(self.0.path(), own_uid(), keys)
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn ours(number: u8) -> String {
    format!("{} laptop ucloud-integration\n", ed25519(number))
}

fn laptop(number: u8) -> String {
    format!("{} laptop", ed25519(number))
}

/// Installs the keys in the file `before` and expects the file `after`.
fn check(before: &str, keys: &[String], after: &str) {
    let home = Home::with(before.as_bytes());
    home.install(keys).unwrap();
    assert_eq!(String::from_utf8(fs::read(home.file()).unwrap()).unwrap(), after, "before: {before:?}");
    assert_eq!(home.names(), ["authorized_keys"], "nothing is left beside it");
    home.install(keys).unwrap();
    assert_eq!(String::from_utf8(fs::read(home.file()).unwrap()).unwrap(), after, "a second time, before: {before:?}");
}

#[test]
fn every_line_that_is_not_ours_stays_byte_for_byte() {
    let (one, two) = (ours(1), ours(2));
    let keys = [laptop(1), laptop(2)];
    let both = format!("{one}{two}");
    check("", &keys, &both);
    check("# mine\n", &keys, &format!("# mine\n{both}"));
    check("# mine", &keys, &format!("# mine\n{both}"));
    check("a\r\n\r\nb\r\n", &keys, &format!("a\r\n\r\nb\r\n{both}"));
    check("\n\n  x\t\n", &keys, &format!("\n\n  x\t\n{both}"));
    check(&format!("mine\n{}yours\n", ours(9)), &keys, &format!("mine\nyours\n{both}"));
    check(&format!("{}{}", ours(8), ours(9)), &keys, &both);
    check(&format!("no-pty {}", ours(9)), &keys, &both);
    check(&ours(9).replace('\n', "\r\n"), &keys, &both);
    check(ours(9).trim_end(), &keys, &both);
    check(&format!("# {}", ours(9)), &keys, &format!("# {}{both}", ours(9)));
    check(&ours(9).replace(" ucloud", "ucloud"), &keys, &format!("{}{both}", ours(9).replace(" ucloud", "ucloud")));
    check(
        "ssh-rsa AAAA ucloud-integration of mine\n",
        &keys,
        &format!("ssh-rsa AAAA ucloud-integration of mine\n{both}"),
    );
}

#[test]
fn an_empty_list_takes_ours_away_and_nothing_else() {
    check(&format!("mine\n{}yours", ours(1)), &[], "mine\nyours");
    check(&ours(1), &[], "");
    check("mine", &[], "mine");
    let home = Home::empty();
    home.install(&[]).unwrap();
    assert!(!home.directory().exists(), "no directory is made for nothing");
}

#[test]
fn what_is_no_text_stays_as_well() {
    let home = Home::with(b"\xff\xfe\0 mine\n");
    home.install(&[laptop(1)]).unwrap();
    let want = [&b"\xff\xfe\0 mine\n"[..], ours(1).as_bytes()].concat();
    assert_eq!(fs::read(home.file()).unwrap(), want);
}

#[test]
fn directory_and_file_are_made_for_their_owner_alone() {
    let home = Home::empty();
    home.install(&[laptop(1)]).unwrap();
    let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(home.directory()), mode(home.file())), (0o700, 0o600));
    assert_eq!(fs::read_to_string(home.file()).unwrap(), ours(1));
}

#[test]
fn one_bad_key_keeps_no_other_from_being_installed_or_taken_away() {
    let home = Home::with(format!("mine\n{}", ours(9)).as_bytes());
    let weak = key("ssh-dss", &[&[1; 128], &[1; 20], &[1; 128], &[1; 128]]);
    let injected = format!("{}\nssh-ed25519 AAAA mallory", ed25519(3));
    let outcome = home.install(&[laptop(1), weak, injected, laptop(2)]);
    let Err(failure @ InstallError::Key { number: 2, of: 4, refused: 2, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.error_code(), ErrorCode::KeyRefused);
    assert_eq!(fs::read_to_string(home.file()).unwrap(), format!("mine\n{}{}", ours(1), ours(2)));
}

#[test]
fn a_key_that_is_there_twice_is_installed_once() {
    check("", &[laptop(1), ed25519(1), laptop(1)], &ours(1));
}

#[test]
fn too_many_keys_change_nothing() {
    let home = Home::with(b"mine\n");
    let many: Vec<String> = (0..=100).map(ed25519).collect();
    assert!(matches!(home.install(&many), Err(InstallError::TooMany(101))));
    assert_eq!(fs::read(home.file()).unwrap(), b"mine\n");
    home.install(&many[1..]).unwrap();
    assert_eq!(fs::read_to_string(home.file()).unwrap().lines().count(), 101);
}

/// Spoils a home directory in one way. A file in it stays as it was, and the error gives the
/// reason.
fn refused(spoil: impl FnOnce(&Home), want: &str) {
    let home = Home::with(b"mine\n");
    spoil(&home);
    let before = fs::read(home.file()).ok();
    let failure = home.install(&[laptop(1)]).unwrap_err();
    assert!(failure.to_string().contains(want), "{failure} lacks {want:?}");
    assert_eq!(failure.error_code(), ErrorCode::Conflict, "{failure}");
    assert_eq!(fs::read(home.file()).ok(), before, "{want}");
}

#[test]
fn where_others_could_write_nothing_is_written() {
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    refused(|home| chmod(home.0.path().into(), 0o775), "others can write it");
    refused(|home| chmod(home.directory(), 0o770), ".ssh has mode 0770");
    refused(|home| chmod(home.file(), 0o666), "authorized_keys has mode 0666");
    refused(
        |home| {
            fs::rename(home.directory(), home.0.path().join("away")).unwrap();
            symlink(home.0.path().join("away"), home.directory()).unwrap();
        },
        "symbolic links are not followed",
    );
    refused(
        |home| {
            fs::rename(home.file(), home.0.path().join("away")).unwrap();
            symlink(home.0.path().join("away"), home.file()).unwrap();
        },
        "symbolic links are not followed",
    );
    refused(
        |home| {
            fs::remove_file(home.file()).unwrap();
            fs::create_dir(home.file()).unwrap();
        },
        "is not a regular file",
    );
    refused(|home| fs::write(home.file(), vec![b'\n'; FILE_MAX + 1]).unwrap(), "is longer than");
    // Only root can change the owner of a file.
    if own_uid().0 == 0 {
        let chown = |path: PathBuf| std::os::unix::fs::chown(path, Some(4711), None).unwrap();
        refused(|home| chown(home.file()), "belongs to uid 4711");
        refused(|home| chown(home.directory()), "belongs to uid 4711");
    }
}

#[test]
fn what_root_put_there_is_not_the_user_s_to_change() {
    if own_uid().0 != 0 {
        return;
    }
    let home = Home::with(b"the staff's\n");
    for path in [home.0.path(), &home.directory()] {
        std::os::unix::fs::chown(path, Some(4711), None).unwrap();
    }
    let failure = install(home.0.path(), Uid(4711), &[laptop(1)]).unwrap_err();
    assert!(matches!(&failure, InstallError::Foreign { owner: Uid(0), .. }), "{failure}");
    assert_eq!(fs::read(home.file()).unwrap(), b"the staff's\n");
}

#[test]
fn openssh_reads_what_is_written() {
    let keygen = |arguments: &[&str]| Command::new("ssh-keygen").args(arguments).output();
    if keygen(&["-?"]).is_err() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")] {
        let path = directory.path().join(format!("{kind}{bits}"));
        let file = path.to_str().unwrap();
        let made = keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", "a laptop", "-f", file]).unwrap();
        assert!(made.status.success(), "{made:?}");
        keys.push(
            fs::read_to_string(path.with_extension("pub"))
                .unwrap_or_else(|_| fs::read_to_string(format!("{file}.pub")).unwrap()),
        );
    }
    let home = Home::empty();
    home.install(&keys).unwrap();
    let listed = keygen(&["-l", "-f", home.file().to_str().unwrap()]).unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().filter(|line| line.contains(" a laptop ucloud-integration (")).count(), 5, "{listed}");
}

/// Child process of the test below: writes one content after the other until the test kills it.
#[test]
fn writes_until_it_is_killed() {
    let Ok(home) = std::env::var("COUNTERSIGN_TEST_SSH_HOME") else { return };
    let many: Vec<String> = (0..100).map(laptop).collect();
    loop {
        for keys in [&many[..], &many[..1]] {
            install(home.as_ref(), own_uid(), keys).unwrap();
        }
    }
}

#[test]
fn a_writer_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let home = Home::with(b"mine\n");
    let contents: [Vec<u8>; 3] =
        [0, 1, 100].map(|count| [b"mine\n".to_vec(), (0..count).map(ours).collect::<String>().into_bytes()].concat());
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ssh_keys::tests::writes_until_it_is_killed"])
            .env("COUNTERSIGN_TEST_SSH_HOME", home.0.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The child dies at a random step of its work. The varying delay spreads the steps.
        std::thread::sleep(std::time::Duration::from_millis(10 + round * 7 % 50));
        child.kill().unwrap();
        child.wait().unwrap();
        let content = fs::read(home.file()).unwrap();
        let which = contents.iter().position(|whole| *whole == content);
        seen.insert(which.unwrap_or_else(|| panic!("half a file: {}", String::from_utf8_lossy(&content))));
        assert!(home.names().len() <= 2, "{:?}", home.names());
    }
    assert!(seen.contains(&1) || seen.contains(&2), "{seen:?}: the writer never wrote");
    home.install(&[laptop(5)]).unwrap();
    assert_eq!(fs::read_to_string(home.file()).unwrap(), format!("mine\n{}", ours(5)));
    assert_eq!(home.names(), ["authorized_keys"], "what the killed ones left is gone");
}
