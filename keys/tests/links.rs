//! Public links in the store: a name has one owner, whatever Core says of numbers.

use countersign_keys::identity::{CoreResourceId, LinkName, Uid, Username};
use countersign_keys::store::links::{LINKS_MAX, Link, LinkRejection};
use countersign_keys::store::registry::{NotChanged, Registry};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::time::Timestamp;

fn link(name: &str, username: &str, core_id: &str) -> Link {
    Link {
        name: LinkName::parse(name).unwrap(),
        username: Username::parse(username).unwrap(),
        uid: Uid(1101),
        core_id: CoreResourceId::parse(core_id).unwrap(),
        created: Timestamp::from_seconds(1_800_000_000),
    }
}

fn refused(outcome: Result<(), NotChanged<LinkRejection>>) -> Option<LinkRejection> {
    match outcome {
        Ok(()) => None,
        Err(NotChanged::Rejected(rejection)) => Some(rejection),
        Err(NotChanged::Failed(failure)) => panic!("{failure}"),
    }
}

#[test]
fn j07_a_links_name_has_one_owner_and_one_number() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    let add = |name: &str, username: &str, core_id: &str| refused(registry.add_link(&link(name, username, core_id)));
    let names = |username: &str| -> Vec<(String, String)> {
        let links = registry.links(&Username::parse(username).unwrap()).unwrap();
        links.into_iter().map(|link| (link.core_id.as_str().to_owned(), link.name.as_str().to_owned())).collect()
    };
    assert_eq!(add("paper", "alice", "7"), None);
    assert_eq!(add("paper", "bob", "8"), Some(LinkRejection::Taken));
    assert_eq!(add("paper", "bob", "7"), Some(LinkRejection::Taken));
    assert_eq!(add("other", "alice", "7"), Some(LinkRejection::NumberTaken));
    // Another user's number says nothing here.
    assert_eq!(add("other", "bob", "7"), None);
    // The owner signed again, because Core had forgotten the first creation.
    assert_eq!(add("paper", "alice", "9"), None);
    assert_eq!(names("alice"), [("9".to_owned(), "paper".to_owned())]);
    assert_eq!(names("bob"), [("7".to_owned(), "other".to_owned())]);
    // A number of another user's removes nothing.
    let forget = |username: &str, core_id: &str| {
        let (username, core_id) = (Username::parse(username).unwrap(), CoreResourceId::parse(core_id).unwrap());
        registry.forget_link(&username, &core_id).unwrap().map(String::from)
    };
    assert_eq!((forget("bob", "9"), forget("alice", "7")), (None, None));
    assert_eq!(forget("alice", "9").as_deref(), Some("paper"));
    assert_eq!(registry.link(&LinkName::parse("paper").unwrap()).unwrap(), None);
    assert_eq!(add("paper", "bob", "8"), None);
    for number in 0..LINKS_MAX {
        assert_eq!(add(&format!("l{number}"), "alice", &format!("1{number}")), None);
    }
    assert_eq!(add("one-more", "alice", "2"), Some(LinkRejection::TooMany));
    assert_eq!(add("l0", "alice", "2"), None, "a repeat takes no room");
}
