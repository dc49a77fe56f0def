//! Tests of startup files in folder uploads. No intent names the files of a folder, so files that
//! programs read at startup are accepted only with consent.

use super::*;

async fn outcome(desk: &Desk, consent: Consent, path: &str) -> String {
    let folder = Target::Folder(UcloudPath::parse("/d/new").unwrap());
    let mut client = desk.open_as(folder, ConflictPolicy::Rename, consent).await;
    client.say(listing(&[(1, path, 3)])).await;
    client.say(chunk(1, b"abc")).await;
    client.say(vec![6]).await;
    let (_, why) = client.closed().await;
    client.served.await.unwrap();
    why
}

#[tokio::test]
async fn v66_s02_an_unasked_folder_upload_brings_nothing_from_which_programs_start() {
    for path in [".bashrc", ".ssh/authorized_keys", "a/.config/autostart/x", "bin/ls", "x.desktop"] {
        let desk = Desk::new(&[]);
        let why = outcome(&desk, Consent::Unasked, path).await;
        assert!(why.contains("the signer has to ask you first"), "{path}: {why}");
        assert!(desk.files().is_empty(), "{path}");
        assert!(!desk.drive().join("new").exists(), "{path}: no folder is left either");
        outcome(&desk, Consent::Asked, path).await;
        assert_eq!(desk.files().len(), 1, "{path}");
    }
    let desk = Desk::new(&[]);
    outcome(&desk, Consent::Unasked, "a/b.txt").await;
    assert_eq!(desk.files().len(), 1);
}
