//! Tests of Core's handshakes: UCloud's Core crashes if one gets a response other than 101 (V76).

use countersign_keys::identity::Username;

use super::*;

/// Where today's Core follows a job.
const FOLLOW: &str = "/ucloud/jobs.provider.hpc/websocket";

/// A handshake's target and headers, and how it is refused.
type Case<'c> = (String, &'c [(&'c str, &'c str)], (u64, &'c str));

/// For a job's output what [`message`] is for a search.
fn follow(intent: Option<&str>) -> Value {
    let mut message = json!({
        "call": "jobs.provider.hpc.follow", "streamId": "ignored", "bearer": "", "project": null,
        "payload": { "type": "init", "job": { "id": "1" } },
    });
    if let Some(intent) = intent {
        message["signedIntent"] = json!(intent);
    }
    message
}

/// Core's token, issued at that moment.
fn bearer_at(moment: i64) -> String {
    format!("Bearer {}", CORE_KEYS.core2_token(moment).unwrap())
}

#[tokio::test]
async fn v76_c03_whatever_is_wrong_with_a_handshake_of_cores_is_said_on_the_socket() {
    let test = TestGateway::new().await;
    let bearer = test.bearer();
    let token = ("authorization", bearer.as_str());
    for path in [SEARCH_BARE, FOLLOW] {
        let with_hint = |more: &str| format!("{path}?usernameHint=YWxpY2U%3D{more}");
        let cases: &[Case<'_>] = &[
            (path.to_owned(), &[token], (400, "BAD_REQUEST")),
            (with_hint(""), &[token, ("ucloud-username", "Ym9i")], (400, "BAD_REQUEST")),
            (with_hint(""), &[token, ("ucloud-username", "%%%")], (400, "BAD_REQUEST")),
            (with_hint(""), &[token, ("ucloud-signed-intent", "a.b.c")], (400, "BAD_REQUEST")),
            (with_hint("&token=x"), &[token], (400, "BAD_REQUEST")),
            (format!("{path}?token=x"), &[token], (404, "NOT_FOUND")),
            (format!("{path}?usernameHint="), &[token], (400, "BAD_REQUEST")),
            (with_hint(""), &[token, ("origin", "https://evil.example")], (403, "FORBIDDEN")),
            (with_hint(""), &[token, ("sec-fetch-dest", "script")], (403, "FORBIDDEN")),
            (with_hint(""), &[token, ("service-worker", "script")], (403, "FORBIDDEN")),
        ];
        for (target, headers, (status, class)) in cases {
            let mut socket = test.open(target, headers).await.unwrap();
            assert_eq!(socket.refusal().await, (*status, (*class).to_owned()), "{target} {headers:?}");
            assert_eq!(test.last_decision().0, "refuse", "{target} {headers:?}");
            // Without Core's token the same handshake is not Core's.
            let without = test.open(target, &headers[1..]).await.map(drop);
            assert_eq!(without.unwrap_err().0, u16::try_from(*status).unwrap(), "{target} {headers:?}");
        }
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v76_c03_a_token_of_cores_that_only_the_time_makes_bad_is_told_on_the_socket() {
    let test = TestGateway::new().await;
    let now = countersign_portal::now();
    for moment in [now - 3_600, now + 3_600] {
        let mut socket = test.open(SEARCH, &[("authorization", &bearer_at(moment))]).await.unwrap();
        assert_eq!(socket.refusal().await, (401, "UNAUTHORIZED".to_owned()), "{}", moment - now);
    }
    let forged = format!("{}x", bearer_at(now));
    for bearer in ["Bearer a.b.c", &forged, &format!("Bearer {}", CORE_KEYS.provider_token(now).unwrap())] {
        let refused = test.open(SEARCH, &[("authorization", bearer)]).await.map(drop);
        assert_eq!(refused, Err((401, "UNAUTHORIZED".to_owned())), "{bearer}");
    }
    // Rate-limited, because it is unauthenticated.
    let client = std::net::IpAddr::from([127, 0, 0, 1]);
    let mut verdicts = Vec::new();
    // One more is admitted every 50 ms, which may be before this one comes.
    while verdicts.len() < 50 && !verdicts.contains(&Err((429, "TOO_MANY".to_owned()))) {
        while test.gateway.public_calls.admits(client, tokio::time::Instant::now()) {}
        verdicts.push(test.open(SEARCH, &[("authorization", &bearer_at(now - 3_600))]).await.map(drop));
    }
    assert!(verdicts.contains(&Err((429, "TOO_MANY".to_owned()))), "{verdicts:?}");
    assert!(test.open(SEARCH, &[("authorization", &test.bearer())]).await.is_ok(), "Core is not counted");
}

#[tokio::test]
async fn v76_c03_a_refused_call_is_the_last_word_of_its_socket() {
    let test = TestGateway::new().await;
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::ForAllBut(Default::default()));
    for (target, message) in
        [(SEARCH.to_owned(), message("x", None)), (SEARCH.replace(SEARCH_BARE, FOLLOW), follow(None))]
    {
        let mut socket = test.open(&target, &[("authorization", &test.bearer())]).await.unwrap();
        socket.say(&message).await;
        assert_eq!(socket.refusal().await, (404, "MAINTENANCE".to_owned()), "{target}");
    }
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::None);
    let began = tokio::time::Instant::now();
    for (target, message) in
        [(SEARCH.to_owned(), message("x", None)), (SEARCH.replace(SEARCH_BARE, FOLLOW), follow(None))]
    {
        let mut socket = test.open(&target, &[("authorization", &test.bearer())]).await.unwrap();
        socket.say(&message).await;
        assert_eq!(socket.refusal().await, (482, "INTENT_REQUIRED".to_owned()), "{target}");
    }
    // An instance that opens no socket has the last word.
    test.sockets.refuses.store(true, Ordering::SeqCst);
    let mut socket = test.search().await;
    socket.say(&message("x", Some(&test.sign_search("x")))).await;
    assert_eq!(socket.refusal().await, (482, "INTENT_INVALID".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(5), "not after a silence of 10 s: {:?}", began.elapsed());
}

#[tokio::test]
async fn v76_c03_one_users_unsigned_searches_take_no_place_for_long() {
    let test = TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.deposit_wait = Duration::ZERO)).await;
    for number in 0..PLACES * 4 {
        let mut socket = test.search().await;
        socket.say(&message("x", None)).await;
        assert_eq!(socket.refusal().await, (482, "INTENT_REQUIRED".to_owned()), "{number}");
    }
}

#[tokio::test]
async fn v76_c03_sockets_that_wait_are_counted_by_their_user() {
    let test = TestGateway::new().await;
    let alice = Username::parse("alice").unwrap();
    let mut waiting: Vec<_> = std::iter::from_fn(|| test.gateway.waiting_sockets.begin(&alice)).collect();
    assert_eq!(waiting.len(), 64);
    let mut refused = test.search().await;
    assert_eq!(refused.refusal().await, (429, "TOO_MANY".to_owned()));
    let bob = [("authorization", test.bearer()), ("ucloud-username", "Ym9i".to_owned())];
    let bob: Vec<(&str, &str)> = bob.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut another = test.open(SEARCH_BARE, &bob).await.unwrap();
    another.say(&message("x", None)).await;
    assert_eq!(another.refusal().await.0, 403, "another user's is judged for itself");
    // A handshake without Core's token takes no user's share.
    assert!(test.open(SEARCH, &[]).await.is_ok());

    waiting.truncate(63);
    let mut socket = test.search().await;
    assert!(test.gateway.waiting_sockets.begin(&alice).is_none(), "it waits");
    assert_eq!(socket.verdict(&message("x", Some(&test.sign_search("x")))).await.0, 200);
    assert!(test.gateway.waiting_sockets.begin(&alice).is_some(), "it waits no more");
}
