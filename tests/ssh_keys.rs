//! Tests of SSH keys in a real installation. A list from Core is written as the user, if the user
//! signed it and the site enables it.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::test_site::{Person, TestSite};
use countersign_portal::Deed;

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB alice@laptop";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

fn upload(keys: &[&str]) -> Deed {
    Deed::UploadKeys(keys.iter().map(|&key| key.to_owned()).collect())
}

fn installed(person: &Person) -> Option<String> {
    fs::read_to_string(person.home.join(".ssh/authorized_keys")).ok()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn keys_that_the_user_signed_are_written_as_the_user_and_taken_away_again() {
    let centre = TestSite::open_with("[ssh]\nkeys = true\n").await;
    let alice = centre.connect("alice").await;
    assert!(centre.perform(&alice, &upload(&[TWO, ONE])).await.is_ok());
    let file = fs::metadata(alice.home.join(".ssh/authorized_keys")).unwrap();
    let home = fs::metadata(&alice.home).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o7777), (home.uid(), 0o600));
    assert_eq!(installed(&alice).unwrap(), format!("{ONE} ucloud-integration\n{TWO} ucloud-integration\n"));

    let script = format!("cd {}/.ssh; echo '# mine' >> authorized_keys", alice.home.display());
    assert!(centre.shell_as("alice", &script).await.status.success());
    // Core adds its own key to the list.
    let forged = centre.signed(&alice, &upload(&[ONE])).altered(|body| {
        body["allKeys"][0]["specification"]["key"] = TWO.into();
    });
    let refused = centre.core.invoke(&forged).await.unwrap();
    assert_eq!((refused.status, refused.error_code().as_str()), (482, "INTENT_INVALID"));
    assert!(installed(&alice).unwrap().contains(ONE));

    let weak = format!("command=\"sh\" {ONE}");
    let half = centre.perform(&alice, &upload(&[&weak, TWO])).await;
    assert_eq!((half.status, half.error_code().as_str()), (400, "KEY_REFUSED"), "{half:?}");
    assert_eq!(installed(&alice).unwrap(), format!("# mine\n{TWO} ucloud-integration\n"));

    assert!(centre.perform(&alice, &upload(&[])).await.is_ok());
    assert_eq!(installed(&alice).unwrap(), "# mine\n");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_site_that_does_not_say_so_installs_none() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let refused = centre.perform(&alice, &upload(&[ONE])).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (404, "NOT_FOUND"), "{refused:?}");
    assert_eq!(installed(&alice), None);
}
