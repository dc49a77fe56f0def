//! Tests of WebSockets through a whole gateway: who may open one, and that each message is verified
//! separately.
//!
//! A fake instance records what it receives, and answers as a search would. The client is another
//! project's library.

mod ends;
mod handshakes;
mod limits;
mod messages;
mod others;
mod sessions;
mod upgrades;

use std::sync::atomic::AtomicUsize;

use countersign_portal::signer::Projection;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// Where today's Core opens a search.
const SEARCH: &str = "/ucloud/hpc/files?usernameHint=YWxpY2U%3D";

/// The same without the hint.
const SEARCH_BARE: &str = "/ucloud/hpc/files";

/// The call, as messages name it.
const CALL: &str = "files.provider.hpc.streamingSearch";

/// The fake instance's sockets.
#[derive(Default)]
pub(super) struct Played {
    /// Every message received.
    heard: Mutex<Vec<Value>>,
    open: AtomicUsize,
    /// Whether it refuses every socket.
    refuses: AtomicBool,
}

impl Played {
    pub(super) fn is_asked(&self, head: &[u8]) -> bool {
        String::from_utf8_lossy(head).contains("\r\nupgrade: websocket\r\n")
    }

    /// Answers an upgrade. On a session's socket, echoes each message. On others answers with a
    /// result; a query for `"end"` with the last one; a query for `"close"` ends the socket.
    pub(super) async fn play(&self, mut stream: UnixStream, head: &[u8]) {
        if self.refuses.load(Ordering::SeqCst) {
            let said = r#"{"statusCode":482,"why":"no","errorCode":"INTENT_INVALID"}"#;
            let answer = format!("HTTP/1.1 482 No\r\ncontent-length: {}\r\n\r\n{said}", said.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            return;
        }
        let head = String::from_utf8_lossy(head).into_owned();
        let (_, key) = head.split_once("sec-websocket-key: ").unwrap();
        let accept = derive_accept_key(key.split_once("\r\n").unwrap().0.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        self.open.fetch_add(1, Ordering::SeqCst);
        let is_session = head.contains("\r\nucloud-session-token: ");
        while let Some(Ok(message)) = socket.next().await {
            if is_session && (message.is_text() || message.is_binary()) {
                self.heard.lock().unwrap().push(json!(String::from_utf8_lossy(&message.clone().into_data())));
                let _ = socket.send(message).await;
                continue;
            }
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            self.heard.lock().unwrap().push(message.clone());
            let said = |kind: &str, payload: Value| {
                let mut said = json!({ "type": kind, "streamId": message["streamId"], "payload": payload });
                if kind == "response" {
                    said["status"] = json!(200);
                }
                Message::Text(said.to_string().into())
            };
            let query = message["payload"]["query"].as_str().unwrap_or_default();
            socket.send(said("message", json!({ "type": "result", "query": query }))).await.unwrap();
            match query {
                "end" => socket.send(said("response", json!({ "type": "end_of_results" }))).await.unwrap(),
                "close" => {
                    for number in 0..20 {
                        socket.send(said("message", json!({ "batch": number }))).await.unwrap();
                    }
                    let _ = socket.close(None).await;
                }
                _ => {}
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    /// Returns when that many sockets are open.
    async fn until_open(&self, count: usize) {
        while self.open.load(Ordering::SeqCst) != count {
            tokio::task::yield_now().await;
        }
    }
}

struct Socket<S = TcpStream>(WebSocketStream<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<S> {
    async fn say(&mut self, message: &Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await.expect("an answer in time");
        match next {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message but {other:?}"),
        }
    }

    /// Sends a message; returns the status and class of the response.
    async fn verdict(&mut self, message: &Value) -> (u64, String) {
        self.say(message).await;
        let answer = self.hear().await;
        assert_eq!(answer["streamId"], message["streamId"]);
        match answer["type"].as_str().unwrap() {
            "message" => (200, String::new()),
            kind => {
                assert_eq!((kind, &answer["status"]), ("response", &answer["payload"]["statusCode"]));
                (answer["status"].as_u64().unwrap(), answer["payload"]["errorCode"].as_str().unwrap().to_owned())
            }
        }
    }

    /// Status and class of the only message on a refused socket. Checks that it is the end of
    /// results, and that the socket is closed then.
    async fn refusal(&mut self) -> (u64, String) {
        let (code, said) = self.end().await;
        assert_eq!((code, said.len()), (Some(CloseCode::Policy), 1), "{said:?}");
        assert_eq!((&said[0]["type"], &said[0]["payload"]["type"]), (&json!("response"), &json!("end_of_results")));
        assert_eq!(said[0]["status"], said[0]["payload"]["statusCode"]);
        (said[0]["status"].as_u64().unwrap(), said[0]["payload"]["errorCode"].as_str().unwrap().to_owned())
    }

    /// The close code, and the messages before it.
    async fn end(&mut self) -> (Option<CloseCode>, Vec<Value>) {
        let mut before = Vec::new();
        let ending = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => before.push(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        let code = tokio::time::timeout(Duration::from_secs(5), ending).await.expect("an end in time");
        (code, before)
    }
}

impl TestGateway {
    /// Opens a socket as today's Core does, or returns the status and class of the refusal.
    async fn open(&self, target: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, String)> {
        let host = self.core.endpoint().origin().replace("http://", "");
        let stream = TcpStream::connect(&host).await.unwrap();
        let mut request = format!("ws://{host}{target}").into_client_request().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => {
                let body: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or(b"{}")).unwrap_or_default();
                Err((answer.status().as_u16(), body["errorCode"].as_str().unwrap_or_default().to_owned()))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// A socket with Core's token in its head.
    async fn search(&self) -> Socket {
        self.open(SEARCH, &[("authorization", &self.bearer())]).await.unwrap()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.core.token().unwrap())
    }

    /// alice's intent for a search.
    fn sign_search(&self, query: &str) -> String {
        sign_search(&self.alice.lock().unwrap(), query)
    }
}

fn sign_search(signer: &Signer, query: &str) -> String {
    let item = Projection::new([("query", json!(query)), ("currentFolder", json!("/1"))]);
    let now = countersign_portal::now();
    let intent = Intent::new(ORIGIN, signer.username.as_str(), "files.streamingSearch", &[item], now).unwrap();
    intent.sign(&signer.key).unwrap()
}

/// A search's request, with Core's additions.
fn payload(query: &str) -> Value {
    json!({
        "query": query, "currentFolder": "/1", "owner": { "createdBy": "alice", "project": null },
        "flags": { "includeSizes": true }, "category": { "name": "storage", "provider": "hpc" },
    })
}

/// As today's Core writes it, except for the intent, which Core drops.
fn message(query: &str, intent: Option<&str>) -> Value {
    let mut message =
        json!({ "call": CALL, "streamId": "ignored", "payload": payload(query), "bearer": "", "project": null });
    if let Some(intent) = intent {
        message["signedIntent"] = json!(intent);
    }
    message
}
