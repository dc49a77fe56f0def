//! Tests of a socket's limits.

use super::*;

#[tokio::test]
async fn v55_a_message_has_a_mebibyte_and_is_text() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    let long = Message::Text("x".repeat(1024 * 1024 + 1).into());
    let _ = socket.0.send(long).await; // it may be refused before it is sent
    assert!(matches!(socket.end().await.0, Some(CloseCode::Size) | None));
    let mut socket = test.search().await;
    socket.0.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
    assert_eq!(socket.end().await.0, Some(CloseCode::Unsupported));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v55_so_many_messages_and_no_more() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    // While a stream is open, a refusal does not end the socket.
    assert_eq!(socket.verdict(&message("x", Some(&test.sign_search("x")))).await.0, 200);
    for _ in 0..200 {
        let unsigned = message("x", Some("a.b.c"));
        let _ = socket.0.send(Message::Text(unsigned.to_string().into())).await;
    }
    let (code, answers) = socket.end().await;
    assert_eq!(code, Some(CloseCode::Policy));
    assert_eq!(answers.last().unwrap()["status"], 429);
    assert!((60..100).contains(&answers.len()), "{}", answers.len());
}

#[tokio::test]
async fn v55_so_many_streams_of_one_socket_and_no_more() {
    let test = TestGateway::new().await;
    let mut socket = test.search().await;
    let begin = |stream: usize, query: &str| {
        let mut message = message(query, Some(&test.sign_search(query)));
        message["streamId"] = json!(stream.to_string());
        message
    };
    for stream in 0..64 {
        assert_eq!(socket.verdict(&begin(stream, "x")).await.0, 200, "{stream}");
        tokio::time::sleep(Duration::from_millis(10)).await; // within the rate
    }
    assert_eq!(socket.verdict(&begin(64, "x")).await, (429, "TOO_MANY".to_owned()));
    assert_eq!(socket.verdict(&begin(0, "end")).await.0, 200, "the same name again");
    assert_eq!(socket.hear().await["type"], "response", "and it ends");
    assert_eq!(socket.verdict(&begin(64, "x")).await.0, 200);
}

#[tokio::test]
async fn v55_so_many_sockets_of_one_user_and_no_more() {
    let test = TestGateway::new().await;
    let alice = test.alice.lock().unwrap().username.clone();
    let mut others: Vec<_> = std::iter::from_fn(|| test.gateway.sockets.begin(&alice)).collect();
    assert_eq!(others.len(), 64);
    let mut socket = test.search().await;
    let good = message("x", Some(&test.sign_search("x")));
    assert_eq!(socket.verdict(&good).await, (429, "TOO_MANY".to_owned()));
    assert_eq!(test.upstream_saw(), "");
    others.pop();
    let mut socket = test.search().await;
    assert_eq!(socket.verdict(&good).await.0, 200, "the intent was not used up");
    assert!(test.gateway.sockets.begin(&alice).is_none(), "it counts");
    socket.0.close(None).await.unwrap();
    test.sockets.until_open(0).await;
    while test.gateway.sockets.begin(&alice).is_none() {
        tokio::task::yield_now().await; // until it has ended
    }
}
