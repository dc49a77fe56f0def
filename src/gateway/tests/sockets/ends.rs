//! Tests of how a socket ends: with its key, its instance, the gateway, or its client.

use super::*;
use crate::tests::connections::connect;

/// A socket with a search in progress.
async fn searching(test: &TestGateway) -> Socket {
    let mut socket = test.search().await;
    let intent = test.sign_search("x");
    assert_eq!(socket.verdict(&message("x", Some(&intent))).await.0, 200);
    test.sockets.until_open(1).await;
    socket
}

#[tokio::test]
async fn v53_a_revoked_keys_socket_ends_within_a_second_and_a_later_message_is_refused() {
    let test = TestGateway::new().await;
    let mut socket = searching(&test).await;
    let later = message("y", Some(&test.sign_search("y")));
    test.revoke();
    let began = tokio::time::Instant::now();
    socket.say(&later).await;
    let (code, before) = socket.end().await;
    test.sockets.until_open(0).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(code, Some(CloseCode::Policy));
    assert!(before.iter().all(|said: &Value| said["status"] == 482), "{before:?}");
    assert_eq!(test.sockets.heard().len(), 1, "the instance has heard nothing more");
    assert_eq!(test.last_decision().0, "refuse");
    let mut another = test.search().await;
    assert_eq!(another.verdict(&later).await, (482, "INTENT_INVALID".to_owned()));
}

#[tokio::test]
async fn v53_a_socket_that_is_silent_ends_with_its_key_too() {
    let test = TestGateway::new().await;
    let mut socket = searching(&test).await;
    let began = tokio::time::Instant::now();
    test.revoke();
    assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
    test.sockets.until_open(0).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(test.last_decision().1.contains("revoked"), "{:?}", test.last_decision());
}

#[tokio::test]
async fn v53_a_socket_ends_when_its_key_expires() {
    let test = TestGateway::new().await;
    test.alice.lock().unwrap().record.expires = crate::tests::fixtures::at(countersign_portal::now() + 2);
    let mut socket = searching(&test).await;
    assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
    assert!(test.last_decision().1.contains("expired"), "{:?}", test.last_decision());
}

#[tokio::test]
async fn v53_a_socket_ends_when_its_user_is_removed() {
    let test = TestGateway::new().await;
    let mut socket = searching(&test).await;
    let username = {
        // The server no longer knows a user of that name.
        let mut alice = test.alice.lock().unwrap();
        std::mem::replace(&mut alice.record.owner, countersign_keys::identity::Username::parse("gone").unwrap())
    };
    test.gateway.key_cache.forget(&Ended::User { username });
    assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
}

#[tokio::test]
async fn somebody_elses_revocation_ends_no_socket() {
    let test = TestGateway::new().await;
    let mut socket = searching(&test).await;
    let bob = Signer::new("bob");
    test.gateway.key_cache.forget(&Ended::Key { username: bob.record.owner.clone(), kid: bob.record.kid });
    test.gateway.key_cache.forget(&Ended::User { username: bob.record.owner });
    let intent = test.sign_search("y");
    assert_eq!(socket.verdict(&message("y", Some(&intent))).await.0, 200);
}

#[tokio::test]
async fn an_end_of_the_instance_is_an_end_of_the_socket_after_all_that_it_said() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    socket.say(&message("close", Some(&test.sign_search("close")))).await;
    let (code, before) = socket.end().await;
    assert_eq!(code, Some(CloseCode::Normal));
    assert_eq!(before.len(), 21, "Core of today reads until the socket closes");
    assert_eq!(before[20]["payload"]["batch"], 19);
}

#[tokio::test]
async fn sockets_end_when_the_gateway_stops() {
    let test = TestGateway::new().await;
    let mut socket = searching(&test).await;
    test.stop.send_replace(true);
    assert_eq!(socket.end().await.0, Some(CloseCode::Away));
    test.sockets.until_open(0).await;
    drop(socket);
    tokio::time::timeout(Duration::from_secs(1), test.acceptor.connections.all_left()).await.expect("no place is held");
}

#[tokio::test]
async fn a_socket_holds_its_place_until_it_ends() {
    let test = TestGateway::new().await;
    let mut sockets = Vec::new();
    for _ in 0..PLACES {
        sockets.push(test.search().await);
    }
    let address = test.core.endpoint().origin().replace("http://", "");
    let mut one_more = TcpStream::connect(&address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), one_more.read(&mut [0])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "closed unread: {closed:?}");
    for mut socket in sockets {
        socket.0.close(None).await.unwrap();
        socket.end().await;
    }
    tokio::time::timeout(Duration::from_secs(1), test.acceptor.connections.all_left()).await.expect("no place is held");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_instances_socket_along() {
    let test = TestGateway::new().await;
    drop(searching(&test).await);
    test.sockets.until_open(0).await;
    let mut socket = searching(&test).await;
    socket.0.close(None).await.unwrap();
    test.sockets.until_open(0).await;
}

/// A socket in memory, so that time can be advanced.
async fn in_memory(test: &TestGateway) -> Socket<tokio::io::DuplexStream> {
    let mut request = format!("ws://hpc.example.org{SEARCH}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", test.bearer().parse().unwrap());
    Socket(tokio_tungstenite::client_async(request, connect(test)).await.unwrap().0)
}

#[tokio::test]
async fn v55_a_socket_on_which_nothing_is_asked_ends() {
    let test = TestGateway::new().await;
    let mut socket = in_memory(&test).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut said = None;
    while let Some(Ok(message)) = socket.0.next().await {
        said = Some(message);
    }
    assert!(matches!(said, Some(Message::Close(Some(frame))) if frame.code == CloseCode::Policy));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn v55_a_client_that_answers_no_ping_is_gone() {
    let test = TestGateway::new().await;
    let mut socket = in_memory(&test).await;
    let intent = test.sign_search("x");
    assert_eq!(socket.verdict(&message("x", Some(&intent))).await.0, 200);
    tokio::time::pause();
    let mut pings = 0;
    let began = tokio::time::Instant::now();
    // A client that reads and answers stays, however many pings come; one that does not is dropped.
    while began.elapsed() < Duration::from_secs(300) {
        let next = tokio::time::timeout(Duration::from_secs(10), socket.0.next()).await;
        pings += usize::from(matches!(next, Ok(Some(Ok(Message::Ping(_))))));
    }
    assert!((9..=10).contains(&pings), "{pings}");
    let silent = tokio::time::Instant::now();
    let mut stream = socket.0.into_inner();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!((20..=95).contains(&silent.elapsed().as_secs()), "{:?}", silent.elapsed());
}
