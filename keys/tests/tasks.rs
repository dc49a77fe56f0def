//! Tasks that Core knows of are kept until Core was told of their end.

use countersign_keys::identity::Username;
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::tasks::Task;

fn task(number: u64, core_id: Option<i64>) -> Task {
    let (title, body) = ("Copying".to_owned(), "1 GiB".to_owned());
    Task { number, username: Username::parse("alice#1").unwrap(), title, body, core_id }
}

#[test]
fn a_task_is_known_by_its_number_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Registry::new(SledStore::open(directory.path()).unwrap());
    let registry = open();
    assert_eq!(registry.tasks().unwrap(), []);
    registry.note_task(&task(7, None)).unwrap();
    registry.note_task(&task(300, None)).unwrap();
    registry.note_task(&task(7, Some(41))).unwrap();
    assert_eq!(registry.tasks().unwrap(), [task(7, Some(41)), task(300, None)]);
    registry.forget_task(7).unwrap();
    registry.forget_task(8).unwrap();
    drop(registry);
    assert_eq!(open().tasks().unwrap(), [task(300, None)]);
}
