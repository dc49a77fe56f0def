//! Tests of drives in a real installation. They are registered at Core for each connected user,
//! with the account's groups, and opened by Core's numbers.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::test_site::{PROVIDER, Part, Person, TestSite};
use countersign_portal::Deed;

const MORE: &str = "[[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\
                    [[drives]]\nid = \"work-{group}\"\npath = \"/run/projects/{group}\"\ntitle = \"Work of {group}\"\n";

/// Core's number of a person's drive, once it has one.
async fn number(centre: &TestSite, person: &Person, id: &str) -> String {
    let number = || {
        let drives = centre.control.drives();
        drives.into_iter().find(|drive| {
            drive.created_by == person.username && drive.provider_generated_id.ends_with(&format!(":{id}"))
        })
    };
    centre.until("the drive is registered", async || number().is_some()).await;
    number().unwrap().id
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn drives_are_registered_and_opened_by_their_numbers() {
    // Alice is in both groups. One has no folder, and the third has no members.
    for group in ["ucloud_users", "daemonish"] {
        fs::create_dir_all(format!("/run/projects/{group}")).unwrap();
    }
    std::os::unix::fs::chown("/run/projects/ucloud_users", Some(1101), None).unwrap();
    let centre = TestSite::open_with(MORE).await;
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

    // Another user's number means nothing to her, nor does an unassigned number.
    let bob = centre.connect("bob").await;
    let bobs = number(&centre, &bob, "home").await;
    assert_ne!(bobs, home);
    for foreign in [&bobs, "99", "work-daemonish"] {
        assert_eq!(centre.browse(&alice, &format!("/{foreign}")).await.status, 404, "{foreign}");
    }
    assert!(centre.browse(&bob, &format!("/{bobs}")).await.is_ok());

    let pins = fs::read_to_string(alice.home.join(".local/state/countersign/hpc/drives")).unwrap();
    assert_eq!(pins, format!("{home} home\n{work} work-ucloud_users\n"));
    // A restarted server or instance registers nothing again.
    centre.kill(Part::Server);
    centre.until("the server is back", async || centre.serves().await).await;
    assert!(centre.browse(&alice, &format!("/{home}/made")).await.is_ok());
    assert_eq!(centre.control.drives().len(), 4);
}

const MADE: &str = "[[products]]\nname = \"own\"\ncategory = \"own\"\ntype = \"storage\"\n\
                    [[drives]]\nid = \"own-{name}\"\npath = \"~/Drives/{name}\"\ntitle = \"{name}\"\nproduct = \"own\"\n";

fn make(title: &str, number: &str) -> Deed {
    let (product, provider) = ("own".to_owned(), PROVIDER.to_owned());
    Deed::CreateDrive { title: title.to_owned(), product, provider, number: number.to_owned() }
}

fn delete(numbers: &[&str]) -> Deed {
    Deed::DeleteDrives(numbers.iter().map(|&number| number.to_owned()).collect())
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn users_make_rename_and_remove_drives_of_their_own() {
    let centre = TestSite::open_with(&format!("{MORE}{MADE}")).await;
    let products = centre.core.call("GET", "files/collections/retrieveProducts", None, None, None).await.unwrap();
    let offers = |index: usize, what: &str| products.json()["responses"][index]["collection"][what].clone();
    for what in ["usersCanCreate", "usersCanDelete", "usersCanRename"] {
        assert_eq!((offers(0, what), offers(1, what)), (false.into(), true.into()), "{what}");
    }
    let alice = centre.connect("alice").await;
    let home = number(&centre, &alice, "home").await;
    let ask = async |deed: &Deed| {
        let answer = centre.perform(&alice, deed).await;
        (answer.status, answer.json())
    };
    let drives = alice.home.join("Drives");

    let (status, made) = ask(&make("My photos", "9001")).await;
    assert_eq!(
        (status, &made["responses"][0]["id"]),
        (200, &"d-alice#1234:own-My-photos".into()),
        "{}",
        centre.last_words()
    );
    let folder = fs::metadata(drives.join("My-photos")).unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o777), (1101, 0o700));
    assert_eq!(ask(&Deed::create_folder("/9001/album")).await.0, 200);
    assert!(drives.join("My-photos/album").is_dir(), "it is opened by UCloud's number at once");
    assert_eq!(ask(&make("My photos", "9002")).await.1["responses"][0]["id"], "d-alice#1234:own-My-photos-2");
    assert_eq!(ask(&Deed::RenameDrive("9001".into(), "Ours".into())).await.0, 200);
    assert!(drives.join("My-photos/album").is_dir(), "the title is UCloud's alone");

    // A number that is already a drive's, and folders that no user may make or remove.
    for (deed, want) in [
        (make("Another", "9001"), 409),
        (make("Another", &home), 409),
        (make("Another", "home"), 400),
        (make(" ", "9003"), 400),
        (delete(&[home.as_str()]), 403),
        (delete(&["9001"]), 409),
        (delete(&["9002", "9001"]), 409),
        (delete(&["77"]), 404),
        (Deed::RenameDrive("77".into(), "x".into()), 404),
    ] {
        assert_eq!(ask(&deed).await.0, want, "{deed:?}");
    }
    assert_eq!(fs::read_dir(&drives).unwrap().count(), 2);
    assert!(drives.join("My-photos/album").is_dir(), "nothing is lost");
    let bob = centre.connect("bob").await;
    assert_eq!(centre.perform(&bob, &delete(&["9002"])).await.status, 404, "another user's");

    assert_eq!(ask(&Deed::trash("/9001/album")).await.0, 200);
    assert_eq!(ask(&delete(&["9001"])).await.0, 409, "what is in the trash counts");
    assert_eq!(ask(&Deed::EmptyTrash(vec!["/9001/Trash".into()])).await.0, 200);
    assert_eq!(ask(&delete(&["9001"])).await.0, 200);
    assert_eq!(ask(&Deed::browse("/9001")).await.0, 404);
    assert_eq!(ask(&delete(&["9001"])).await.0, 200, "UCloud may not have heard of it");
    assert_eq!(
        ask(&make("My photos", "9004")).await.1["responses"][0]["id"],
        "d-alice#1234:own-My-photos-3",
        "no id is used again"
    );

    // The next instance finds them, and registers one that was made by hand; no other is
    // registered.
    assert!(centre.shell_as("alice", "mkdir ~/Drives/by-hand ~/Drives/.no ~/Drives/'no drive'").await.status.success());
    centre.kill(Part::Instance("alice"));
    centre.until("there is another instance", async || ask(&Deed::browse("/9004")).await.0 == 200).await;
    let by_hand = number(&centre, &alice, "own-by-hand").await;
    assert_eq!(ask(&Deed::browse(&format!("/{by_hand}"))).await.0, 200);
    let registered: Vec<(String, String)> =
        centre.control.drives().into_iter().map(|drive| (drive.provider_generated_id, drive.product)).collect();
    let own = registered.iter().filter(|(id, _)| id.contains(":own-")).collect::<Vec<_>>();
    assert_eq!(own, [&("d-alice#1234:own-by-hand".to_owned(), "own".to_owned())]);
}

/// After a restart, Core reuses the numbers of deleted drives: for a drive that the user makes, and
/// for one that the server registers.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn c16_a_number_that_core_gives_again_means_what_core_gives_it_to() {
    let centre = TestSite::open_with(&format!("{MORE}{MADE}")).await;
    let alice = centre.connect("alice").await;
    number(&centre, &alice, "home").await;
    let ask = async |deed: &Deed| centre.perform(&alice, deed).await.status;
    // The test changes the time of the deletion instead of waiting until every intent signed before
    // it has expired.
    let later = async || {
        let script = "sed -i 's/freed=.*/freed=1/' ~/.local/state/countersign/hpc/drives";
        assert!(centre.shell_as("alice", script).await.status.success());
        centre.kill(Part::Instance("alice"));
    };

    let given = centre.control.number_drive();
    assert_eq!(ask(&make("One", &given)).await, 200, "{}", centre.last_words());
    assert_eq!(ask(&delete(&[&given])).await, 200);
    assert_eq!(ask(&delete(&[&given])).await, 200, "Core may not have heard of it");
    centre.control.restart_numbers();
    let again = centre.control.number_drive();
    assert_eq!(again, given);
    assert_eq!(ask(&make("Photos", &again)).await, 409, "what was signed for the first is not for the second");
    centre.control.restart_numbers();

    later().await;
    assert_eq!(centre.control.number_drive(), given);
    centre.until("it is made", async || ask(&make("Photos", &given)).await == 200).await;
    assert_eq!(ask(&Deed::create_folder(&format!("/{given}/album"))).await, 200);
    assert!(alice.home.join("Drives/Photos/album").is_dir());
    assert_eq!(ask(&Deed::trash(&format!("/{given}/album"))).await, 200);
    assert_eq!(ask(&Deed::EmptyTrash(vec![format!("/{given}/Trash")])).await, 200);
    assert_eq!(ask(&delete(&[&given])).await, 200);
    centre.control.restart_numbers();

    fs::create_dir_all("/run/projects/ucloud_users/results").unwrap();
    later().await;
    centre.until("there is another instance", async || ask(&Deed::browse("/home")).await == 200).await;
    assert_eq!(number(&centre, &alice, "work-ucloud_users").await, given);
    let results = Deed::browse(&format!("/{given}/results"));
    centre.until("the group's drive is opened", async || ask(&results).await == 200).await;
    assert!(!centre.last_words().contains("ALARM"), "{}", centre.last_words());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn where_it_is_not_offered_nobody_makes_drives() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    for deed in [make("x", "9001"), delete(&["home"]), Deed::RenameDrive("home".into(), "x".into())] {
        assert_eq!(centre.perform(&alice, &deed).await.status, 404, "{deed:?}");
    }
    assert!(!alice.home.join("Drives").exists());
}
