//! Drives in a real installation: registered at Core for whoever connects, with the groups that the account is in, and opened by Core's numbers.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

#[path = "support/centre.rs"]
mod centre;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use centre::{Centre, Part, Person};
use countersign_portal::Deed;

const MORE: &str = "[[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\
                    [[drives]]\nid = \"work-{group}\"\npath = \"/run/projects/{group}\"\ntitle = \"Work of {group}\"\n";

/// Core's number of a person's drive, once it has one.
async fn number(centre: &Centre, person: &Person, id: &str) -> String {
    let number = || {
        let drives = centre.control.drives();
        drives.into_iter().find(|drive| drive.created_by == person.username && drive.provider_generated_id == id)
    };
    centre.until("the drive is registered", async || number().is_some()).await;
    number().unwrap().id
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn drives_are_registered_and_opened_by_their_numbers() {
    // Alice is in both groups; one has no folder, and nobody is in the third.
    for group in ["ucloud_users", "daemonish"] {
        fs::create_dir_all(format!("/run/projects/{group}")).unwrap();
    }
    std::os::unix::fs::chown("/run/projects/ucloud_users", Some(1101), None).unwrap();
    let centre = Centre::open_with(MORE).await;
    let alice = centre.connect("alice").await;
    let home = number(&centre, &alice, "home").await;
    let work = number(&centre, &alice, "work-ucloud_users").await;
    let titles: Vec<String> = centre.control.drives().into_iter().map(|drive| drive.title).collect();
    assert_eq!(titles, ["home", "Work of ucloud_users"]);

    let made = centre.perform(&alice, &Deed::create_folder(&format!("/{work}/made"))).await;
    assert!(made.is_ok(), "{made:?}\n{}", centre.last_words());
    assert_eq!(fs::metadata("/run/projects/ucloud_users/made").unwrap().uid(), 1101);
    let copied = centre.perform(&alice, &Deed::copy(&format!("/{work}/made"), &format!("/{home}/made"))).await;
    assert!(copied.is_ok(), "{copied:?}");
    assert!(alice.home.join("made").exists());
    let listed = centre.browse(&alice, &format!("/{work}")).await;
    assert_eq!(listed.json()["items"][0]["id"], format!("/{work}/made").as_str());
    assert!(centre.browse(&alice, "/work-ucloud_users/made").await.is_ok(), "the configuration's ids go on");

    // Another user's number means nothing to her, and a number of nobody's neither.
    let bob = centre.connect("bob").await;
    let bobs = number(&centre, &bob, "home").await;
    assert_ne!(bobs, home);
    for foreign in [&bobs, "99", "work-daemonish"] {
        assert_eq!(centre.browse(&alice, &format!("/{foreign}")).await.status, 404, "{foreign}");
    }
    assert!(centre.browse(&bob, &format!("/{bobs}")).await.is_ok());

    let pins = fs::read_to_string(alice.home.join(".local/state/countersign/drives")).unwrap();
    assert_eq!(pins, format!("{home} home\n{work} work-ucloud_users\n"));
    // Nothing is registered again by whoever starts anew.
    centre.kill(Part::Server);
    centre.until("the server is back", async || centre.serves().await).await;
    assert!(centre.browse(&alice, &format!("/{home}/made")).await.is_ok());
    assert_eq!(centre.control.drives().len(), 4);
}
