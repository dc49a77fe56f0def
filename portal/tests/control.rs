//! Core's control endpoints admit the provider's own token and nothing else, and fail when they are
//! told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_portal::core::{Control, ControlCall, Outage};
use countersign_portal::line::Line;
use countersign_portal::{Answer, CoreKeys, Endpoint, Fault};
use serde_json::json;

const APPROVE: &str = "/api/providers/integration/control/approveConnection";
const CLEAR: &str = "/api/providers/integration/control/clearConnection";

async fn start() -> (Arc<CoreKeys>, Control, Line) {
    let keys = Arc::new(CoreKeys::generate("k8").unwrap());
    let control = Control::start(Arc::clone(&keys)).await.unwrap();
    let line = Line::new(Endpoint::plain(control.address()), Duration::from_secs(5));
    (keys, control, line)
}

async fn post(line: &Line, path: &str, bearer: &str, body: &str) -> Result<Answer, Fault> {
    let request = http::Request::post(path)
        .header("authorization", format!("Bearer {bearer}"))
        .body(Bytes::from(body.to_owned()).into())
        .unwrap();
    line.send(request).await
}

async fn refresh(line: &Line, token: &str) -> Result<Answer, Fault> {
    let body = json!({"items": [{"refreshToken": token}]}).to_string();
    post(line, "/auth/providers/refresh", "", &body).await
}

#[tokio::test]
async fn a_refresh_token_gives_a_token_that_approves() {
    let (_, control, line) = start().await;
    let answer = refresh(&line, control.refresh_token()).await.unwrap();
    let token = answer.json()["responses"][0]["accessToken"].as_str().unwrap().to_owned();
    let answer = post(&line, APPROVE, &token, r#"{"username":"alice#1"}"#).await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    control.wait_for(&ControlCall::Approved("alice#1".into())).await;
    post(&line, CLEAR, &token, r#"{"username":"alice#1"}"#).await.unwrap();
    let want = [ControlCall::Approved("alice#1".into()), ControlCall::Cleared("alice#1".into())];
    assert_eq!(control.calls(), want);
}

#[tokio::test]
async fn strangers_are_refused() {
    let (keys, control, line) = start().await;
    assert_eq!(refresh(&line, "0000").await.unwrap().status, 401);
    let body = r#"{"username":"alice#1"}"#;
    for token in [String::new(), keys.core2_token(countersign_portal::now()).unwrap()] {
        assert_eq!(post(&line, APPROVE, &token, body).await.unwrap().status, 401);
    }
    assert_eq!(post(&line, "/api/other", "", body).await.unwrap().status, 404);
    assert!(control.calls().is_empty());
}

#[tokio::test]
async fn outages_come_and_go() {
    let (_, control, line) = start().await;
    control.set_outage(Outage::Fails(2));
    for want in [502, 502, 200] {
        assert_eq!(refresh(&line, control.refresh_token()).await.unwrap().status, want);
    }
    control.set_outage(Outage::Down);
    let fresh = Line::new(Endpoint::plain(control.address()), Duration::from_secs(5));
    assert!(refresh(&fresh, control.refresh_token()).await.is_err());
    control.set_outage(Outage::None);
    assert_eq!(refresh(&fresh, control.refresh_token()).await.unwrap().status, 200);
}
