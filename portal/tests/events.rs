//! Core's notifications as a provider hears them, byte by byte, and which of them it never hears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_portal::core::Control;
use countersign_portal::core::events::{DROPPED_AFTER, Event, Owner, QUEUE_MAX, Wallet};
use countersign_portal::line::Line;
use countersign_portal::{CoreKeys, Endpoint, now};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

struct Provider {
    control: Control,
    keys: Arc<CoreKeys>,
    token: String,
}

struct Socket(WebSocketStream<TcpStream>);

impl Provider {
    async fn start() -> Self {
        let keys = Arc::new(CoreKeys::generate("k8").unwrap());
        let control = Control::start(Arc::clone(&keys)).await.unwrap();
        let line = Line::new(Endpoint::plain(control.address()), Duration::from_secs(5));
        let body = json!({"items": [{"refreshToken": control.refresh_token()}]}).to_string();
        let request = http::Request::post("/auth/providers/refresh").body(Bytes::from(body).into()).unwrap();
        let answer = line.send(request).await.unwrap().json();
        let token = answer["responses"][0]["accessToken"].as_str().unwrap().to_owned();
        Self { control, keys, token }
    }

    async fn open(&self) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        // The less the kernel keeps, the sooner the queue is full.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let stream = socket.connect(self.control.address()).await.unwrap();
        let address = format!("ws://{}/api/accounting/notifications", self.control.address());
        Socket(tokio_tungstenite::client_async(address, stream).await.unwrap().0)
    }

    /// A socket that hears of all that happened from a time on, in milliseconds since 1970.
    async fn listen(&self, from_ms: i64, flags: u64) -> Socket {
        let mut socket = self.open().await;
        socket.say(auth(0, from_ms, flags, &self.token)).await;
        socket
    }
}

impl Socket {
    async fn say(&mut self, frame: Vec<u8>) {
        self.0.send(Message::binary(frame)).await.unwrap();
    }

    /// The next frame; `None` at the end.
    async fn hear(&mut self) -> Option<Bytes> {
        match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame") {
            Some(Ok(Message::Binary(frame))) => Some(frame),
            None | Some(Ok(Message::Close(_)) | Err(Error::Protocol(_) | Error::Io(_))) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn auth(opcode: u8, from_ms: i64, flags: u64, token: &str) -> Vec<u8> {
    let length = u32::try_from(token.len()).unwrap().to_be_bytes();
    [&[opcode], &from_ms.to_be_bytes()[..], &flags.to_be_bytes(), &length, token.as_bytes()].concat()
}

fn project(number: usize, padding: usize) -> Event {
    Event::Project(
        json!({"id": format!("p{number}"), "modifiedAt": 1_700_000_000_000_i64, "title": "x".repeat(padding)}),
    )
}

fn wallet(owner: Owner) -> Event {
    let category = json!({"name": "disk", "provider": "k8"});
    Event::Wallet(Wallet { owner, category, quota: 1000, used: 7, is_locked: true })
}

fn text(opcode: u8, reference: u32, more: &[u8], text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[opcode], &reference.to_be_bytes()[..], more, &length, text.as_bytes()].concat()
}

/// A wallet without its time, which is Core's own, and what follows the time.
fn wallet_head(owner: u32, category: u32, flags: u32) -> Vec<u8> {
    let (quota, used) = (1000_u64.to_be_bytes(), 7_u64.to_be_bytes());
    [&[1], &owner.to_be_bytes()[..], &category.to_be_bytes(), &quota, &used, &flags.to_be_bytes()].concat()
}

#[tokio::test]
async fn what_happens_is_told_in_the_order_of_the_wire() {
    let provider = Provider::start().await;
    let category = text(3, 0, &[], r#"{"name":"disk","provider":"k8"}"#);
    provider.control.push(wallet(Owner::User("alice#1".into()))).await;
    for (flags, after_the_wallet) in [(0, 8), (1, 16)] {
        // What happened before comes first.
        let mut socket = provider.listen(0, flags).await;
        let frame = socket.hear().await.unwrap();
        let want = [text(4, 0, &[], "alice#1"), category.clone(), wallet_head(0, 0, 1)].concat();
        assert_eq!((&frame[..want.len()], frame.len() - want.len()), (&want[..], after_the_wallet), "{flags}");
    }
    let mut socket = provider.listen(i64::MAX, 0).await;
    // It has subscribed when it hears something; what it is told of must be of after that.
    let told = async {
        while provider.control.listeners() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    let one = json!({"id": "p", "modifiedAt": 5});
    assert_eq!(provider.control.push(wallet(Owner::Project(one.clone()))).await, 0);
    let frame = socket.hear().await.unwrap();
    let info = text(2, 0, &5_i64.to_be_bytes(), &one.to_string());
    let want = [info.clone(), category, wallet_head(0, 0, 3)].concat();
    assert_eq!(&frame[..want.len()], &want[..], "a project's wallet, and nothing of what happened before");
    provider.control.push(Event::Project(one)).await;
    assert_eq!(socket.hear().await.unwrap(), info, "a project that changed is told again, by the same number");
}

#[tokio::test]
async fn strangers_hear_nothing() {
    let provider = Provider::start().await;
    provider.control.push(project(1, 0)).await;
    let cores = provider.keys.core2_token(now()).unwrap();
    for frame in [auth(0, 0, 0, ""), auth(0, 0, 0, &cores), auth(1, 0, 0, &provider.token), vec![], vec![0; 12]] {
        let mut socket = provider.open().await;
        socket.say(frame.clone()).await;
        assert_eq!(socket.hear().await, None, "{frame:?}");
    }
}

/// A provider that does not read loses what happens meanwhile, and is not told so.
#[tokio::test]
async fn core_drops_an_event_when_a_connections_queue_is_full() {
    let provider = Provider::start().await;
    let mut socket = provider.listen(0, 0).await;
    provider.control.push(project(0, 0)).await;
    assert!(socket.hear().await.is_some(), "it is subscribed");
    let mut queued = 0;
    let dropping = loop {
        let began = Instant::now();
        if provider.control.push(project(queued, 64 * 1024)).await == 1 {
            break began.elapsed();
        }
        queued += 1;
        assert!(queued < 10_000, "the queue has no end");
    };
    assert!(dropping >= DROPPED_AFTER, "dropped after {dropping:?}");
    assert!(queued >= QUEUE_MAX, "{queued}");
    assert_eq!(provider.control.push(wallet(Owner::User("a".into()))).await, 0, "wallets have a queue of their own");

    let (mut projects, mut wallets) = (Vec::new(), 0);
    while projects.len() < queued || wallets < 1 {
        let frame = socket.hear().await.unwrap();
        match frame[0] {
            2 => projects.push(serde_json::from_slice::<Value>(&frame[17..]).unwrap()["id"].clone()),
            4 => wallets += 1,
            other => panic!("{other}"),
        }
    }
    let want: Vec<Value> = (0..queued).map(|number| format!("p{number}").into()).collect();
    assert_eq!(projects, want);
    assert_eq!(provider.control.push(project(queued + 1, 0)).await, 0);
    let frame = socket.hear().await.unwrap();
    assert!(String::from_utf8_lossy(&frame).contains(&format!("p{}\"", queued + 1)), "the dropped one never comes");
    // What a connection missed is there for the next: of all that happened, nothing is dropped.
    let mut next = provider.listen(0, 0).await;
    let mut heard = 0;
    while heard < queued + 4 {
        next.hear().await.unwrap();
        heard += 1;
    }
}
