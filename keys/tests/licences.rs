//! Licences in the store: each user has numbers apart, whatever Core says of them.

use countersign_keys::identity::{CoreResourceId, Uid, Username};
use countersign_keys::store::licences::{LICENCES_MAX, LicenceRecord, LicenceRejection};
use countersign_keys::store::registry::{NotChanged, Registry};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::time::Timestamp;

fn licence(username: &str, core_id: &str, product: &str) -> LicenceRecord {
    LicenceRecord {
        username: Username::parse(username).unwrap(),
        uid: Uid(1101),
        core_id: CoreResourceId::parse(core_id).unwrap(),
        product: product.to_owned(),
        created: Timestamp::from_seconds(1_800_000_000),
    }
}

#[test]
fn j09_a_number_stands_for_what_its_user_signed() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    let add = |username: &str, core_id: &str, product: &str| match registry
        .add_licence(&licence(username, core_id, product))
    {
        Ok(()) => None,
        Err(NotChanged::Rejected(rejection)) => Some(rejection),
        Err(NotChanged::Failed(failure)) => panic!("{failure}"),
    };
    let of = |username: &str| -> Vec<(String, String)> {
        let own = registry.licences(&Username::parse(username).unwrap()).unwrap();
        own.into_iter().map(|one| (one.core_id.as_str().to_owned(), one.product)).collect()
    };
    let pair = |number: &str, product: &str| (number.to_owned(), product.to_owned());
    assert_eq!(add("alice", "7", "matlab"), None);
    assert_eq!(add("alice", "7", "ansys"), Some(LicenceRejection::NumberTaken));
    assert_eq!(add("alice", "7", "matlab"), None, "a repeat");
    // A user may have two of one product. The numbers of two users are apart.
    assert_eq!(add("alice", "9", "matlab"), None);
    assert_eq!(add("bob", "7", "ansys"), None);
    assert_eq!(of("alice"), [pair("7", "matlab"), pair("9", "matlab")]);
    assert_eq!(of("bob"), [pair("7", "ansys")]);
    let forget = |username: &str, core_id: &str| {
        let (username, core_id) = (Username::parse(username).unwrap(), CoreResourceId::parse(core_id).unwrap());
        registry.forget_licence(&username, &core_id).unwrap()
    };
    assert_eq!((forget("bob", "9"), forget("bob", "7").as_deref()), (None, Some("ansys")));
    assert_eq!((of("alice").len(), of("bob").len()), (2, 0));
    for number in 2..LICENCES_MAX {
        assert_eq!(add("alice", &format!("1{number}"), "matlab"), None);
    }
    assert_eq!(add("alice", "2", "matlab"), Some(LicenceRejection::TooMany));
    assert_eq!(add("alice", "12", "matlab"), None, "a repeat takes no room");
}
