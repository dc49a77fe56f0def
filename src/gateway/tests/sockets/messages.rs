//! Tests of a socket's messages, each verified like a request: what passes, what the instance
//! receives, and the response to each missing proof.

use super::*;

#[tokio::test]
async fn a_search_of_todays_core_reaches_the_instance_rewritten_from_what_was_judged() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    let intent = test.sign_search("x");
    socket.say(&message("x", Some(&intent))).await;
    assert_eq!(
        socket.hear().await,
        json!({ "type": "message", "streamId": "ignored", "payload": { "type": "result", "query": "x" } })
    );
    let token = test.core.token().unwrap();
    let want = json!({
        "call": CALL, "streamId": "ignored", "payload": payload("x"),
        "bearer": token, "signedIntent": intent, "project": null,
    });
    assert_eq!(test.sockets.heard(), [want]);
    let saw = String::from_utf8_lossy(&test.seen.lock().unwrap()).into_owned();
    let head = saw.split_once("\r\n\r\n").unwrap().0;
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /ucloud/hpc/files HTTP/1.1", "without the query");
    let names: Vec<&str> = lines.iter().map(|line| line.split_once(": ").unwrap().0).collect();
    let built = [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-version",
        "sec-websocket-key",
        "x-request-id",
        "authorization",
        "ucloud-username",
    ];
    assert_eq!(names, built);
    assert!(lines.contains(&format!("authorization: Bearer {token}").as_str()));
    assert!(lines.contains(&"ucloud-username: YWxpY2U="));
    assert_eq!((test.decisions(), test.last_decision()), (1, ("forward".to_owned(), String::new())));
}

#[tokio::test]
async fn a_core_of_yesterday_brings_its_token_and_an_intent_in_each_message_of_one_socket() {
    let test = TestGateway::new().await;
    let mut socket = test.open(SEARCH_BARE, &[("ucloud-username", "YWxpY2U=")]).await.unwrap();
    for number in 0..3 {
        let query = format!("query {number}");
        let mut message = message(&query, Some(&test.sign_search(&query)));
        message["bearer"] = json!(test.core.token().unwrap());
        message["streamId"] = json!(number.to_string());
        message["causedBy"] = json!("a job of Core's");
        message["project"] = json!("some project");
        assert_eq!(socket.verdict(&message).await.0, 200);
    }
    let heard = test.sockets.heard();
    assert_eq!(heard.iter().map(|message| message["streamId"].as_str().unwrap()).collect::<Vec<_>>(), ["0", "1", "2"]);
    assert!(heard.iter().all(|message| message.get("causedBy").is_none() && message["project"].is_null()));
    let upgrades = String::from_utf8_lossy(&test.seen.lock().unwrap()).matches("upgrade: websocket").count();
    assert_eq!((upgrades, test.decisions()), (1, 3), "one socket at the instance, and a record of each message");
}

/// Each way for a message to be incomplete, its response, and the reason in the log.
#[tokio::test]
async fn v53_what_a_message_lacks_is_refused_and_the_instance_hears_nothing() {
    let test = TestGateway::new().await;
    let good = message("x", Some(&test.sign_search("x")));
    let with = |member: &str, value: Value| {
        let mut message = good.clone();
        message[member] = value;
        message
    };
    let stranger = Signer::new("alice");
    let own = CountersignIntents { test: &test };
    let mut unknown_member = payload("x");
    unknown_member["delete"] = json!(true);
    let mut other_folder = payload("x");
    other_folder["currentFolder"] = json!("/2");
    let cases = [
        (message("x", None), (482, "INTENT_REQUIRED"), "no intent"),
        (message("x", Some("")), (482, "INTENT_REQUIRED"), "no intent"),
        (with("payload", payload("y")), (482, "INTENT_INVALID"), "the parameters are not those that the user signed"),
        (with("payload", other_folder), (482, "INTENT_INVALID"), "the parameters are not those that the user signed"),
        (with("payload", unknown_member), (482, "INTENT_INVALID"), "delete"),
        (message("x", Some(&sign_search(&stranger, "x"))), (482, "INTENT_INVALID"), "no such key"),
        (message("x", Some(&own.of_another_call())), (482, "INTENT_INVALID"), "call"),
        (message("x", Some(&own.of_another_user())), (482, "INTENT_INVALID"), "username"),
        (message("x", Some(&own.stale())), (482, "INTENT_STALE"), "expired"),
        (with("call", json!("jobs.provider.hpc.follow")), (404, "NOT_FOUND"), "no such call"),
        (with("call", json!("files.provider.other.streamingSearch")), (404, "NOT_FOUND"), "no such call"),
        (with("call", json!("files.streamingSearch")), (404, "NOT_FOUND"), "no such call"),
        (with("call", json!("files.provider.hpc.browse")), (404, "NOT_FOUND"), "no such call"),
    ];
    for (number, (message, (status, class), reason)) in cases.into_iter().enumerate() {
        let mut socket = test.search().await;
        assert_eq!(socket.verdict(&message).await, (status, class.to_owned()), "{message}");
        let (verdict, why) = test.last_decision();
        assert_eq!((verdict.as_str(), test.decisions()), ("refuse", number + 1));
        assert!(why.contains(reason), "{message}: {why}");
    }
    assert_eq!((test.upstream_saw(), test.sockets.heard()), (String::new(), Vec::new()));
    let mut socket = test.search().await;
    assert_eq!(socket.verdict(&good).await.0, 200, "nothing was used up");
    assert_eq!(socket.verdict(&good).await, (482, "INTENT_REPLAYED".to_owned()), "each intent once");
    assert_eq!(test.sockets.heard().len(), 1);
}

struct CountersignIntents<'t> {
    test: &'t TestGateway,
}

impl CountersignIntents<'_> {
    fn intent(&self, change: impl FnOnce(&mut Intent)) -> String {
        let alice = self.test.alice.lock().unwrap();
        let item = Projection::new([("query", json!("x")), ("currentFolder", json!("/1"))]);
        let now = countersign_portal::now();
        let mut intent = Intent::new(ORIGIN, "alice", "files.streamingSearch", &[item], now).unwrap();
        change(&mut intent);
        intent.sign(&alice.key).unwrap()
    }

    fn of_another_call(&self) -> String {
        self.intent(|intent| intent.call = "files.browse".to_owned())
    }

    fn of_another_user(&self) -> String {
        self.intent(|intent| intent.username = "bob".to_owned())
    }

    fn stale(&self) -> String {
        self.intent(|intent| (intent.iat, intent.exp) = (intent.iat - 50, intent.iat - 10))
    }
}

#[tokio::test]
async fn v53_a_message_without_a_token_of_cores_ends_its_socket() {
    let test = TestGateway::new().await;
    for bearer in ["", "a.b.c", "Bearer x"] {
        let mut socket = test.open(SEARCH, &[]).await.unwrap();
        let mut message = message("x", Some(&test.sign_search("x")));
        message["bearer"] = json!(bearer);
        assert_eq!(socket.verdict(&message).await, (401, "UNAUTHORIZED".to_owned()), "{bearer}");
        assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
    }
    for text in ["", "{}", "[]", "no JSON", r#"{"call":"c","streamId":"0","payload":{},"payload":{}}"#] {
        let mut socket = test.search().await;
        socket.0.send(Message::Text(text.into())).await.unwrap();
        assert_eq!(socket.hear().await["status"], 400, "{text}");
        assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn an_older_token_in_the_head_gives_way_to_the_messages_own() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    let mut message = message("x", Some(&test.sign_search("x")));
    message["bearer"] = json!("a.b.c");
    assert_eq!(socket.verdict(&message).await.0, 401, "what the message brings is what counts");
}

#[tokio::test]
async fn a_deposit_serves_a_message_whichever_comes_first() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let mut socket = test.search().await;
    let intent = test.sign_search("x");
    assert_eq!(core.deposit(&intent).await.unwrap().status, 202);
    assert_eq!(socket.verdict(&message("x", None)).await.0, 200);
    assert_eq!(test.sockets.heard()[0]["signedIntent"], json!(intent), "the instance gets it in the message");
    assert_eq!(socket.verdict(&message("x", None)).await, (482, "INTENT_REQUIRED".to_owned()), "once");

    socket.say(&message("y", None)).await;
    let alice = test.alice.lock().unwrap().username.clone();
    while test.gateway.deposits.waiting(&alice) == 0 {
        tokio::task::yield_now().await;
    }
    core.deposit(&test.sign_search("y")).await.unwrap();
    assert_eq!(socket.hear().await["payload"]["query"], "y");
    let other = test.sign_search("z");
    core.deposit(&other).await.unwrap();
    assert_eq!(socket.verdict(&message("x", None)).await.0, 482, "of its own parameters alone");
}

#[tokio::test]
async fn a_stream_is_cancelled_without_an_intent_and_nothing_else_is() {
    let test = TestGateway::new().await;
    let (mut socket, mut another) = (test.search().await, test.search().await);
    let cancel = |stream: &str| json!({ "call": CALL, "streamId": "c", "payload": { "type": "cancel", "streamId": stream }, "bearer": "" });
    assert_eq!(another.verdict(&cancel("ignored")).await.0, 482, "nothing has begun");
    assert_eq!(socket.verdict(&message("x", Some(&test.sign_search("x")))).await.0, 200);
    assert_eq!(socket.verdict(&cancel("another")).await.0, 482);
    let mut more = cancel("ignored");
    more["payload"]["query"] = json!("y");
    assert_eq!(socket.verdict(&more).await.0, 482);
    assert_eq!(socket.verdict(&cancel("ignored")).await.0, 200);
    let want = json!({ "call": CALL, "streamId": "c", "payload": { "type": "cancel", "streamId": "ignored" }, "bearer": "", "signedIntent": null, "project": null });
    assert_eq!(test.sockets.heard()[1], want);
    assert_eq!((test.sockets.heard().len(), test.decisions()), (2, 5));
}

#[tokio::test]
async fn an_instance_is_started_for_a_message_and_one_that_refuses_is_heard() {
    let test = TestGateway::new().await;
    test.instance_is_up.store(false, Ordering::SeqCst);
    test.launches.store(false, Ordering::SeqCst);
    let mut socket = test.search().await;
    let good = message("x", Some(&test.sign_search("x")));
    assert_eq!(socket.verdict(&good).await, (449, "NO_INSTANCE".to_owned()));
    test.launches.store(true, Ordering::SeqCst);
    let mut socket = test.search().await;
    assert_eq!(socket.verdict(&good).await.0, 200, "the intent was not used up");

    test.sockets.refuses.store(true, Ordering::SeqCst);
    let mut socket = test.search().await;
    let refused = message("y", Some(&test.sign_search("y")));
    assert_eq!(socket.verdict(&refused).await, (482, "INTENT_INVALID".to_owned()), "in the instance's own words");
    test.sockets.refuses.store(false, Ordering::SeqCst);
    let mut socket = test.search().await;
    assert_eq!(socket.verdict(&message("y", Some(&test.sign_search("y")))).await.0, 200);
}

#[tokio::test]
async fn v60_what_cannot_be_written_down_is_not_forwarded() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let test = TestGateway::changed(|gateway| gateway.audit = DecisionLog::to(full)).await;
    let mut socket = test.search().await;
    let message = message("x", Some(&test.sign_search("x")));
    assert_eq!(socket.verdict(&message).await, (503, "UNAVAILABLE".to_owned()));
    assert_eq!((test.upstream_saw(), test.sockets.heard()), (String::new(), Vec::new()));
}

#[tokio::test]
async fn a_message_in_maintenance_is_refused_on_a_socket_that_is_open() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    assert_eq!(socket.verdict(&message("x", Some(&test.sign_search("x")))).await.0, 200);
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::ForAllBut(Default::default()));
    assert_eq!(socket.verdict(&message("y", Some(&test.sign_search("y")))).await, (404, "MAINTENANCE".to_owned()));
    assert_eq!(test.sockets.heard().len(), 1);
}

#[tokio::test]
async fn v44_a_message_that_needs_a_passkey_is_not_forwarded_without() {
    let test = TestGateway::with_step_up(&["files.streamingSearch"], Duration::from_millis(50)).await;
    let intent = test.sign_search("x");
    let step_up = (482, "INTENT_STEP_UP".to_owned());
    let verdict = async || test.search().await.verdict(&message("x", Some(&intent))).await;
    assert_eq!(verdict().await, step_up);
    assert_eq!(test.core.deposit(&intent).await.unwrap().status, 202);
    assert_eq!(verdict().await, step_up, "deposited, and asserted by nobody");
    assert_eq!(test.upstream_saw(), "");
    let body = json!({ "intent": intent, "credential": "touched" }).to_string();
    let headers = [("content-type", "application/json"), ("origin", ORIGIN)];
    let assertion = plain_request("POST", "/ucloud/hpc/intents/assertion", &headers, &body);
    assert!(test.core.send_http(assertion).await.unwrap().status < 300);
    assert_eq!(verdict().await.0, 200);
}
