//! WebSocket clients of a centre's gateway: a browser's and Core's.

use std::time::Duration;

use countersign_portal::line::Stream;
use countersign_portal::session::{self, OPEN};
use countersign_portal::signer::Projection;
use countersign_portal::{Deed, Intent, now};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::test_site::{PROVIDER, Person, TestSite};

/// The longest wait of a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The client's end of a WebSocket.
pub(crate) struct Browser(WebSocketStream<Box<dyn Stream>>);

/// Opens a WebSocket as a browser or as Core does; returns the status if that is refused.
pub(crate) async fn open(centre: &TestSite, target: &str, headers: &[(&'static str, &str)]) -> Result<Browser, u16> {
    let origin = centre.origin();
    open_at(centre, origin.split_once("://").unwrap().1, target, headers).await
}

/// [`open`], at another host name of the gateway.
pub(crate) async fn open_at(
    centre: &TestSite,
    authority: &str,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<Browser, u16> {
    let mut request = format!("ws://{authority}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = centre.core.endpoint().open().await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Browser(socket)),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}\n{}", centre.last_words()),
    }
}

impl Browser {
    /// Sends a message.
    pub(crate) async fn say(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next text or binary message; `None` when the socket has ended.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    /// The code that the socket is closed with; `None` if the connection is cut.
    pub(crate) async fn end(&mut self) -> Option<CloseCode> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an end") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next text message, parsed as JSON.
    pub(crate) async fn hear_json(&mut self) -> Option<Value> {
        Some(serde_json::from_str(self.hear().await?.to_text().unwrap()).unwrap())
    }
}

/// The token in the answer to a signed call, and the proof with which its user redeems it.
pub(crate) async fn granted(centre: &TestSite, person: &Person, deed: &Deed) -> (String, String) {
    let answer = centre.perform(person, deed).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let response = &answer.json()["responses"][0];
    let token = response["sessionIdentifier"].as_str().or(response["token"].as_str()).unwrap().to_owned();
    let proof = session::proof(&centre.origin(), &person.username, OPEN, &token, None, now()).unwrap();
    (token, proof.sign(&person.key).unwrap())
}

fn shell_message(stream_id: &str, payload: &Value) -> Message {
    Message::text(text_of(&format!("jobs.compute.{PROVIDER}.shell.open"), stream_id, payload))
}

/// A message of a stream, as text.
pub(crate) fn text_of(call: &str, stream_id: &str, payload: &Value) -> String {
    json!({"call": call, "streamId": stream_id, "payload": payload}).to_string()
}

/// A terminal in the person's home, and its output.
pub(crate) struct Terminal {
    /// The terminal's socket.
    pub(crate) browser: Browser,
    shown: String,
}

impl Terminal {
    /// Asks for a terminal and opens it.
    pub(crate) async fn open(centre: &TestSite, person: &Person) -> Self {
        Self::open_for(centre, person, &Deed::Terminal("/home".to_owned())).await
    }

    /// Asks for a terminal with that deed and opens it.
    pub(crate) async fn open_for(centre: &TestSite, person: &Person, deed: &Deed) -> Self {
        let (token, proof) = granted(centre, person, deed).await;
        let target = format!("/ucloud/{PROVIDER}/websocket?session={token}&intent={proof}");
        let mut browser =
            open(centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()));
        let initialize = json!({"type": "initialize", "sessionIdentifier": token, "cols": 200, "rows": 50});
        browser.say(shell_message("0", &initialize)).await;
        assert_eq!(browser.hear_json().await.unwrap()["payload"], json!({"type": "initialize"}));
        assert_eq!(open(centre, &target, &[]).await.err(), Some(482), "it opens one");
        Self { browser, shown: String::new() }
    }

    /// The output of a command, between two marks that the typed line does not contain.
    pub(crate) async fn run(&mut self, command: &str) -> String {
        let line = format!("echo be'gi'n; {command}; echo e'n'd\r");
        self.browser.say(shell_message("1", &json!({"type": "input", "data": line}))).await;
        loop {
            if let Some((_, after)) = self.shown.split_once("begin\r\n")
                && let Some((said, after)) = after.split_once("end\r\n")
            {
                let said = said.replace("\r\n", "\n");
                self.shown = after.to_owned();
                return said;
            }
            let message = self.browser.hear_json().await.unwrap_or_else(|| panic!("closed: {:?}", self.shown));
            self.shown += message["payload"]["data"].as_str().unwrap_or_default();
        }
    }
}

/// A signed message of Core's.
pub(crate) fn message(
    centre: &TestSite,
    person: &Person,
    call: (&str, &str),
    item: &Projection,
    payload: &Value,
) -> Message {
    let intent = Intent::new(&centre.origin(), &person.username, call.0, std::slice::from_ref(item), now()).unwrap();
    let intent = intent.sign(&person.key).unwrap();
    let message = json!({
        "call": call.1, "streamId": "ignored", "payload": payload, "bearer": "", "project": null, "signedIntent": intent,
    });
    Message::text(message.to_string())
}

/// Opens a socket as Core does.
pub(crate) async fn rpc(centre: &TestSite, person: &Person, path: &str) -> Browser {
    let token = format!("Bearer {}", centre.core.token().unwrap());
    let name = countersign_portal::core::username_header(&person.username);
    let opened = open(centre, path, &[("authorization", &token), ("ucloud-username", &name)]).await;
    opened.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()))
}
