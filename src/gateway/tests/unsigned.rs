//! Tests of unsigned requests: which are served, which are refused at once, and which wait; and
//! that a wait leaves the instance less time.

use countersign_keys::identity::Username;
use countersign_portal::Deed;
use tokio::time::Instant;

use super::*;
use countersign_ipc::within::{ANSWERED_WITHIN, WITHIN};

/// Far longer than any response here takes.
const LONG: Duration = Duration::from_secs(20);

async fn patient() -> Trial {
    Trial::changed(|ingress| ingress.deposit_wait = LONG).await
}

async fn until_waiting(trial: &Trial) {
    let alice = Username::parse("alice").unwrap();
    while trial.ingress.deposits.waiting(&alice) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn c11_a_user_who_is_not_connected_is_told_to_connect_at_once() {
    let trial = patient().await;
    let core = trial.dropping_core();
    for deed in [Deed::browse("/1/a"), Deed::trash("/1/a")] {
        let answer = core.perform("bob", &deed, None).await.unwrap();
        assert_eq!(verdict(&answer), (403, "NOT_CONNECTED".to_owned()), "{deed:?}");
        assert_eq!(answer.text("why"), "connect to this provider first");
    }
    assert!(trial.last_decision().1.contains("not connected"), "{:?}", trial.last_decision());
    assert_eq!(trial.upstream_saw(), "", "and Core is not asked to start an instance");
}

#[tokio::test]
async fn c10_a_user_without_a_key_is_refused_at_once_and_one_who_gets_a_key_is_waited_for() {
    let trial = patient().await;
    let deed = Deed::trash("/1/a");
    trial.revoke();
    let answer = trial.dropping_core().perform("alice", &deed, None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
    assert!(trial.last_decision().1.contains("no key"), "{:?}", trial.last_decision());

    // The user gets a key: the previous answer was not cached.
    *trial.alice.lock().unwrap() = Signer::new("alice");
    let waiting = {
        let (core, deed) = (trial.dropping_core().with_patience(LONG), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    until_waiting(&trial).await;
    assert_eq!(trial.core.deposit(&trial.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);

    // It is refused at once again when the key ends, whatever was cached.
    trial.revoke();
    let answer = trial.dropping_core().perform("alice", &deed, None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
}

#[tokio::test]
async fn c10_what_is_the_same_for_every_user_takes_cores_token_alone() {
    let trial = patient().await;
    let bearer = format!("Bearer {}", trial.core.token().unwrap());
    let application = format!(r#"{{"owner":{{"createdBy":"alice"}},"application":"{}"}}"#, "x".repeat(40 * 1024));
    let calls = [
        ("POST", "/ucloud/hpc/jobs/requestDynamicParameters", application.as_str()),
        ("GET", "/ucloud/hpc/tokens/retrieveOptions", ""),
    ];
    for (method, path, body) in calls {
        for username in ["YWxpY2U=", "Ym9i"] {
            trial.seen.lock().unwrap().clear();
            let headers = [("authorization", bearer.as_str()), ("ucloud-username", username)];
            let answer = trial.core.send_http(plain_request(method, path, &headers, body)).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            let saw = trial.upstream_saw();
            assert!(saw.starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{saw}");
            assert!(saw.ends_with("content-length: 0\r\n\r\n"), "nothing of the user goes on: {saw}");
            assert!(!saw.contains("ucloud-username"), "{saw}");
        }
        trial.seen.lock().unwrap().clear();
        for headers in [&[("ucloud-username", "YWxpY2U=")][..], &[("authorization", "Bearer a.b.c")]] {
            let answer = trial.core.send_http(plain_request(method, path, headers, body)).await.unwrap();
            assert_eq!(answer.status, 401, "{path}");
        }
        assert_eq!(trial.upstream_saw(), "");
    }
}

/// The deadline that the instance was told last, in milliseconds.
fn told(trial: &Trial) -> u64 {
    let saw = trial.upstream_saw();
    let (_, told) = saw.rsplit_once(&format!("\r\n{WITHIN}: ")).expect("it was told");
    told.split_once("\r\n").unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn c08_what_a_deposit_took_is_missing_for_the_instances_work() {
    let trial = patient().await;
    let deed = Deed::trash("/1/a");
    let late = Duration::from_millis(700);
    let waiting = {
        let (core, deed) = (trial.dropping_core(), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    until_waiting(&trial).await;
    tokio::time::sleep(late).await; // late: no other request waits here
    assert_eq!(trial.core.deposit(&trial.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);
    let most = u64::try_from((ANSWERED_WITHIN - late).as_millis()).unwrap();
    assert!((500..=most).contains(&told(&trial)), "{} of {most}", told(&trial));

    // The client's own deadline is not passed on.
    let request = trial.core.request("alice", &deed, Some(&trial.sign(&deed))).unwrap().with_header(WITHIN, "60000");
    assert_eq!(trial.core.send(&request).await.unwrap().status, 200);
    assert!(told(&trial) <= 4_500);
    assert_eq!(trial.upstream_saw().matches(WITHIN).count(), 2);
}

#[tokio::test]
async fn c08_a_deposit_is_not_waited_for_until_no_time_is_left() {
    let trial = patient().await;
    let began = Instant::now();
    let core = trial.dropping_core().with_patience(LONG);
    let answer = core.perform("alice", &Deed::trash("/1/a"), None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
    assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn c08_an_instance_that_does_not_answer_is_given_up_before_core_gives_up() {
    let trial = Trial::new().await;
    let socket = trial.directory.path().join("instance.sock");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let hanging = tokio::spawn(async move { listener.accept().await.unwrap() });
    let deed = Deed::trash("/1/a");
    let began = Instant::now();
    let core = core_at(trial.core.endpoint().clone()).with_patience(LONG);
    let answer = core.perform("alice", &deed, Some(&trial.sign(&deed))).await.unwrap();
    assert_eq!(verdict(&answer), (502, "UNAVAILABLE".to_owned()));
    assert!((ANSWERED_WITHIN..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(hanging.await.unwrap());
}
