//! Tests of unsigned requests: which are served, which are refused at once, and which wait; and
//! that a wait leaves the instance less time.

use countersign_config::Asks;
use countersign_keys::identity::Username;
use countersign_portal::Deed;
use tokio::time::Instant;

use super::*;
use countersign_ipc::within::{ANSWERED_WITHIN, WITHIN};

/// Far longer than any response here takes.
const LONG: Duration = Duration::from_secs(20);

async fn patient() -> TestGateway {
    TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.deposit_wait = LONG)).await
}

async fn until_waiting(test: &TestGateway) {
    let alice = Username::parse("alice").unwrap();
    while test.gateway.deposits.waiting(&alice) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn c11_a_user_who_is_not_connected_is_told_to_connect_at_once() {
    let test = patient().await;
    let core = test.dropping_core();
    for deed in [Deed::browse("/1/a"), Deed::trash("/1/a")] {
        let answer = core.perform("bob", &deed, None).await.unwrap();
        assert_eq!(verdict(&answer), (403, "NOT_CONNECTED".to_owned()), "{deed:?}");
        assert_eq!(answer.text("why"), "connect to this provider first");
    }
    assert!(test.last_decision().1.contains("not connected"), "{:?}", test.last_decision());
    assert_eq!(test.upstream_saw(), "", "and Core is not asked to start an instance");
}

#[tokio::test]
async fn c10_a_user_without_a_key_is_refused_at_once_and_one_who_gets_a_key_is_waited_for() {
    let test = patient().await;
    let deed = Deed::trash("/1/a");
    test.revoke();
    let answer = test.dropping_core().perform("alice", &deed, None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
    assert!(test.last_decision().1.contains("no key"), "{:?}", test.last_decision());

    // The user gets a key: the previous answer was not cached.
    *test.alice.lock().unwrap() = Signer::new("alice");
    let waiting = {
        let (core, deed) = (test.dropping_core().with_patience(LONG), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    until_waiting(&test).await;
    assert_eq!(test.core.deposit(&test.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);

    // It is refused at once again when the key ends, whatever was cached.
    test.revoke();
    let answer = test.dropping_core().perform("alice", &deed, None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
}

#[tokio::test]
async fn c10_what_is_the_same_for_every_user_takes_cores_token_alone() {
    let test = patient().await;
    let bearer = format!("Bearer {}", test.core.token().unwrap());
    let application = format!(r#"{{"owner":{{"createdBy":"alice"}},"application":"{}"}}"#, "x".repeat(40 * 1024));
    let calls = [
        ("POST", "/ucloud/hpc/jobs/requestDynamicParameters", application.as_str()),
        ("GET", "/ucloud/hpc/tokens/retrieveOptions", ""),
    ];
    for (method, path, body) in calls {
        for username in ["YWxpY2U=", "Ym9i"] {
            test.seen.lock().unwrap().clear();
            let headers = [("authorization", bearer.as_str()), ("ucloud-username", username)];
            let answer = test.core.send_http(plain_request(method, path, &headers, body)).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            let saw = test.upstream_saw();
            assert!(saw.starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{saw}");
            assert!(saw.ends_with("content-length: 0\r\n\r\n"), "nothing of the user goes on: {saw}");
            assert!(!saw.contains("ucloud-username"), "{saw}");
        }
        test.seen.lock().unwrap().clear();
        for headers in [&[("ucloud-username", "YWxpY2U=")][..], &[("authorization", "Bearer a.b.c")]] {
            let answer = test.core.send_http(plain_request(method, path, headers, body)).await.unwrap();
            assert_eq!(answer.status, 401, "{path}");
        }
        assert_eq!(test.upstream_saw(), "");
    }
}

/// Where the site shows users' choices, the server is told who asks, and nothing else of the
/// request.
#[tokio::test]
async fn c10_of_a_question_about_an_application_only_the_user_goes_on_and_only_where_the_site_asks() {
    let test = TestGateway::changed(|gateway| gateway.asks = Asks { account: true, modules: false }).await;
    let bearer = format!("Bearer {}", test.core.token().unwrap());
    let headers = [("authorization", bearer.as_str()), ("ucloud-username", "Ym9i")];
    let path = "/ucloud/hpc/jobs/requestDynamicParameters";
    let long = "x".repeat(40 * 1024);
    for (body, want) in [
        (
            format!(r#"{{"owner":{{"createdBy":"alice","project":"p"}},"application":"{long}"}}"#),
            r#"{"username":"alice"}"#,
        ),
        (r#"{"owner":{"createdBy":""}}"#.to_owned(), ""),
        (r#"{"owner":{"createdBy":7},"application":{}}"#.to_owned(), ""),
        (r#"{"username":"alice"}"#.to_owned(), ""),
        ("x".to_owned(), ""),
    ] {
        test.seen.lock().unwrap().clear();
        let answer = test.core.send_http(plain_request("POST", path, &headers, &body)).await.unwrap();
        assert_eq!(answer.status, 200, "{body}");
        let saw = test.upstream_saw();
        assert!(saw.ends_with(&format!("content-length: {}\r\n\r\n{want}", want.len())), "{body}: {saw}");
    }
}

/// The deadline that the instance was told last, in milliseconds.
fn told(test: &TestGateway) -> u64 {
    let saw = test.upstream_saw();
    let (_, told) = saw.rsplit_once(&format!("\r\n{WITHIN}: ")).expect("it was told");
    told.split_once("\r\n").unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn c08_what_a_deposit_took_is_missing_for_the_instances_work() {
    let test = patient().await;
    let deed = Deed::trash("/1/a");
    let late = Duration::from_millis(700);
    let waiting = {
        let (core, deed) = (test.dropping_core(), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    until_waiting(&test).await;
    tokio::time::sleep(late).await; // late: no other request waits here
    assert_eq!(test.core.deposit(&test.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);
    let most = u64::try_from((ANSWERED_WITHIN - late).as_millis()).unwrap();
    assert!((500..=most).contains(&told(&test)), "{} of {most}", told(&test));

    // The client's own deadline is not passed on.
    let request = test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap().with_header(WITHIN, "60000");
    assert_eq!(test.core.send(&request).await.unwrap().status, 200);
    assert!(told(&test) <= 4_500);
    assert_eq!(test.upstream_saw().matches(WITHIN).count(), 2);
}

#[tokio::test]
async fn c08_a_deposit_is_not_waited_for_until_no_time_is_left() {
    let test = patient().await;
    let began = Instant::now();
    let core = test.dropping_core().with_patience(LONG);
    let answer = core.perform("alice", &Deed::trash("/1/a"), None).await.unwrap();
    assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()));
    assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn c08_an_instance_that_does_not_answer_is_given_up_before_core_gives_up() {
    let test = TestGateway::new().await;
    let socket = test.directory.path().join("instance.sock");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let hanging = tokio::spawn(async move { listener.accept().await.unwrap() });
    let deed = Deed::trash("/1/a");
    let began = Instant::now();
    let core = core_at(test.core.endpoint().clone()).with_patience(LONG);
    let answer = core.perform("alice", &deed, Some(&test.sign(&deed))).await.unwrap();
    assert_eq!(verdict(&answer), (502, "UNAVAILABLE".to_owned()));
    assert!((ANSWERED_WITHIN..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(hanging.await.unwrap());
}
