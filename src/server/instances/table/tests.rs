//! Tests of the table: who gets an instance, when it is ready, and what its word counts for.

use super::*;

const SHORT: Duration = Duration::from_millis(100);
const UID: Uid = Uid(1100);

fn account() -> Account {
    Account { uid: UID, name: "alice".to_owned() }
}

const READY: &str = r#"echo '{"say":"ready"}'"#;

fn instances(script: &str, directory: &tempfile::TempDir) -> (Arc<Instances>, mpsc::UnboundedReceiver<Uid>) {
    Instances::new(Launcher::stub(script, directory.path()))
}

#[tokio::test]
async fn v58_one_instance_a_uid_however_many_ask() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("serve");
    let script = format!("while [ ! -e {} ]; do sleep 0.01; done; {READY}; exec sleep 5", told.display());
    let (instances, _gone) = instances(&script, &directory);
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let instances = Arc::clone(&instances);
            tokio::spawn(async move { instances.ensure(&account(), Instant::now()).await })
        })
        .collect();
    while instances.watch(UID).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(instances.whereabouts(UID, Instant::now()), Whereabouts::Down, "launched is not ready");
    std::fs::write(told, "").unwrap();
    for one in asked {
        one.await.unwrap().unwrap();
    }
    assert!(matches!(instances.whereabouts(UID, Instant::now()), Whereabouts::Up(_)));
    assert_eq!(instances.lock().launched, 1);
}

#[tokio::test]
async fn an_instance_that_ends_is_told_and_launched_again() {
    let directory = tempfile::tempdir().unwrap();
    let (instances, mut gone) = instances("exit 0", &directory);
    for _ in 0..2 {
        let outcome = instances.ensure(&account(), Instant::now()).await;
        assert!(matches!(outcome, Err(NoInstance::Died(UID))));
        assert_eq!(gone.recv().await, Some(UID));
    }
    assert_eq!(instances.lock().launched, 2);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "the log alone is left");
}

#[tokio::test]
async fn one_that_fails_waits_ever_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (instances, mut gone) = instances("exit 1", &directory);
    let now = Instant::now();
    for failures in 1..=2 {
        assert!(matches!(instances.ensure(&account(), now + BACK_OFF.1).await, Err(NoInstance::Died(UID))));
        gone.recv().await.unwrap();
        while instances.lock().failures.get(&UID).is_none_or(|failed| failed.in_a_row < failures) {
            tokio::task::yield_now().await;
        }
    }
    assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Failing(UID))));
    instances.count(UID, false, now, now);
    assert_eq!(instances.lock().failures[&UID].back_off, BACK_OFF.0 * 2);
    instances.count(UID, false, now, now + LASTED);
    assert!(instances.lock().failures.is_empty());
}

#[tokio::test]
async fn v59_one_that_says_that_its_account_can_have_none_is_believed_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let (instances, mut gone) = instances("exit 3", &directory);
    let now = Instant::now();
    assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Refused(UID))));
    gone.recv().await.unwrap();
    assert_eq!(instances.whereabouts(UID, now), Whereabouts::Refused);
    assert_eq!(instances.whereabouts(Uid(1101), now), Whereabouts::Down, "nobody else is concerned");
    assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Refused(UID))));
    assert_eq!(instances.lock().launched, 1);
    let later = now + REFUSED_FOR * 2;
    assert_eq!(instances.whereabouts(UID, later), Whereabouts::Down);
    assert!(instances.ensure(&account(), later).await.is_err());
    assert_eq!(instances.lock().launched, 2, "it may have been put right");
}

#[tokio::test]
async fn one_that_is_slow_or_stopping_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    // It continues when told to stop, and reports then that it serves.
    let (instances, mut gone) = instances(&format!("read -r told <&1; {READY}; exec sleep 5"), &directory);
    let slow = instances.ensure_within(SHORT, &account(), Instant::now()).await;
    assert!(matches!(slow, Err(NoInstance::Slow(UID))));
    let mut phase = instances.watch(UID).unwrap();
    instances.stop(UID);
    assert_eq!(gone.recv().await, Some(UID));
    assert_eq!(*phase.borrow_and_update(), Phase::Stopping);
    let number = instances.lock().by_uid[&UID].number;
    instances.ready(UID, number);
    assert_eq!(*phase.borrow_and_update(), Phase::Stopping, "told to stop is told to stop");
    assert_eq!(instances.whereabouts(UID, Instant::now()), Whereabouts::Down);
}

#[tokio::test]
async fn an_instance_is_told_to_stop_over_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let script = format!("{READY}; read -r told <&1; printf %s \"$told\" >{}", told.display());
    let (instances, mut gone) = instances(&script, &directory);
    instances.ensure(&account(), Instant::now()).await.unwrap();
    instances.stop(UID);
    assert_eq!((gone.recv().await, gone.recv().await), (Some(UID), Some(UID)));
    assert_eq!(std::fs::read_to_string(told).unwrap(), r#"{"say":"stop"}"#);
}

/// An instance that another is to replace serves until it says that nothing is open in it.
#[tokio::test]
async fn a_renewed_instance_is_stopped_once_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let (told, free) = (directory.path().join("told"), directory.path().join("free"));
    let script = format!(
        "{READY}; read -r renew <&1; printf %s \"$renew\" >{told}; while [ ! -e {free} ]; do sleep 0.01; done; \
         echo '{{\"say\":\"free\"}}'; read -r stop <&1; printf %s \"$stop\" >>{told}",
        told = told.display(),
        free = free.display(),
    );
    let (instances, mut gone) = instances(&script, &directory);
    instances.ensure(&account(), Instant::now()).await.unwrap();
    instances.renew_all();
    while !std::fs::read_to_string(&told).is_ok_and(|told| told.ends_with('}')) {
        tokio::task::yield_now().await;
    }
    assert!(matches!(instances.whereabouts(UID, Instant::now()), Whereabouts::Up(_)), "it still serves");
    std::fs::write(free, "").unwrap();
    assert_eq!((gone.recv().await, gone.recv().await), (Some(UID), Some(UID)));
    assert_eq!(std::fs::read_to_string(told).unwrap(), r#"{"say":"renew"}{"say":"stop"}"#);
}

#[tokio::test]
async fn v72_s01_nobodys_word_but_the_launched_process_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (instances, _gone) = instances("exec sleep 5", &directory);
    let slow = instances.ensure_within(SHORT, &account(), Instant::now()).await;
    assert!(matches!(slow, Err(NoInstance::Slow(UID))));
    let number = instances.lock().by_uid[&UID].number;
    // Reports of an instance that is gone and of another account's, and an invalid one.
    instances.ready(UID, number - 1);
    instances.ready(UID, number + 1);
    instances.ready(Uid(1101), number);
    assert_eq!(instances.whereabouts(UID, Instant::now()), Whereabouts::Down);
    instances.ready(UID, number);
    assert!(matches!(instances.whereabouts(UID, Instant::now()), Whereabouts::Up(_)));
}

#[tokio::test]
async fn r09_what_sudo_refuses_is_refused_for_a_while() {
    let check = async |script: &str, refused: bool| {
        let directory = tempfile::tempdir().unwrap();
        let (instances, _gone) = instances(script, &directory);
        let outcome = instances.ensure(&account(), Instant::now()).await;
        assert_eq!(matches!(outcome, Err(NoInstance::Refused(UID))), refused, "{script}: {outcome:?}");
    };
    check("echo 'sudo: a password is required' >&2; exit 1", true).await;
    check("echo 'sudo: unable to resolve host x' >&2; echo '{\"message\":\"no\"}' >&2; exit 1", false).await;
    check("echo 'sudo: terminated' >&2; exit 2", false).await;
    check(r#"echo '{"say":"started"}'; echo 'sudo: not sudo' >&2; exit 1"#, false).await;
    check("exit 1", false).await;
}
