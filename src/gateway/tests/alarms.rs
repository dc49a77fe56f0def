//! Alarms, each raised by what raises it.

use std::sync::atomic::AtomicI64;

use super::*;
use countersign_ipc::alarm::Alarm;

impl TestGateway {
    /// How often that alarm was raised.
    pub(super) fn raised(&self, alarm: Alarm) -> u64 {
        self.gateway.alarms.counts().find(|(other, _)| *other == alarm).map_or(0, |(_, count)| count)
    }
}

/// An answer of a neighbour with that status.
fn refused_with(status: u16) -> Option<Vec<u8>> {
    let body = r#"{"why":"no","errorCode":"INTENT_INVALID"}"#;
    let length = body.len();
    let head = format!("HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    Some((head + body).into_bytes())
}

#[tokio::test]
async fn w01_an_instance_that_refuses_a_signature_which_the_gateway_accepts_is_an_alarm() {
    let test = TestGateway::new().await;
    let deed = Deed::browse("/1/a");
    let by_core =
        async || test.core.send(&test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap()).await.unwrap();
    let own = async |path: &str, call: &str, item: serde_json::Value| {
        let intent = test.own_signed(call, &item);
        let headers = [("content-type", "application/json"), ("ucloud-signed-intent", intent.as_str())];
        test.core.send_http(plain_request("POST", path, &headers, &item.to_string())).await.unwrap()
    };
    *test.hostile.lock().unwrap() = refused_with(404);
    assert_eq!(by_core().await.status, 404);
    assert_eq!(test.raised(Alarm::InstanceDisagrees), 0, "a refusal for another reason");
    *test.hostile.lock().unwrap() = refused_with(482);
    assert_eq!(by_core().await.status, 482);
    assert_eq!(test.raised(Alarm::InstanceDisagrees), 1);
    assert_eq!(own("/ucloud/hpc/keys/list", "keys.list", serde_json::json!({})).await.status, 482);
    assert_eq!(test.raised(Alarm::InstanceDisagrees), 2);
    assert_eq!(own("/ucloud/hpc/test/own", "test.own", serde_json::json!({"id": "x"})).await.status, 482);
    assert_eq!(test.raised(Alarm::InstanceDisagrees), 2, "the server is no instance");
    // A signature that the gateway itself refuses reaches no instance.
    let unsigned = test.core.send(&test.core.request("alice", &deed, None).unwrap()).await.unwrap();
    assert_eq!((unsigned.status, test.raised(Alarm::InstanceDisagrees)), (482, 2));
}

#[tokio::test]
async fn w01_a_clock_whose_uses_are_not_all_remembered_is_an_alarm_without_a_request_too() {
    let journals = tempfile::tempdir().unwrap();
    let now = Clock::System.now().unwrap();
    Journal::create(journals.path()).unwrap();
    Journal::raise_fence(journals.path(), terms().window, now.plus(86_400)).unwrap();
    let clock = Arc::new(AtomicI64::new(now.seconds()));
    let test = TestGateway::changed(|gateway| {
        gateway.clock = Clock::Set(Arc::clone(&clock));
        gateway.journal = Journal::open(journals.path(), terms().window, 10_000, now).unwrap();
    })
    .await;
    assert_eq!(test.raised(Alarm::ClockSetBack), 1, "the look of the start");
    let deed = Deed::browse("/1/a");
    let answer = test.core.send(&test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap()).await.unwrap();
    assert_eq!((answer.status, test.raised(Alarm::ClockSetBack)), (503, 2));
    clock.store(now.plus(2 * 86_400).seconds(), Ordering::SeqCst);
    test.gateway.look(None).await;
    assert_eq!(test.raised(Alarm::ClockSetBack), 2);
}
