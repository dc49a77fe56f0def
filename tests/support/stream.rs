//! What a browser or Core does with a WebSocket of a centre's gateway.

// Each test file takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use countersign_portal::session::{self, OPEN};
use countersign_portal::{Deed, now};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::centre::{Centre, Person};

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a WebSocket.
pub struct Browser(WebSocketStream<TcpStream>);

/// Opens a WebSocket as a browser or as Core does; the status if that is refused.
pub async fn open(centre: &Centre, target: &str, headers: &[(&'static str, &str)]) -> Result<Browser, u16> {
    let origin = centre.origin();
    let address = origin.strip_prefix("http://").unwrap().to_owned();
    let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(&address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Browser(socket)),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}\n{}", centre.last_words()),
    }
}

impl Browser {
    /// Sends a message.
    pub async fn say(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next message that says something; nothing when the socket has ended.
    pub async fn hear(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    /// The same, read as JSON.
    pub async fn hear_json(&mut self) -> Option<Value> {
        Some(serde_json::from_str(self.hear().await?.to_text().unwrap()).unwrap())
    }
}

/// The token in the answer to a signed call, and the proof with which its user redeems it.
pub async fn granted(centre: &Centre, person: &Person, deed: &Deed) -> (String, String) {
    let answer = centre.perform(person, deed).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let response = &answer.json()["responses"][0];
    let token = response["sessionIdentifier"].as_str().or(response["token"].as_str()).unwrap().to_owned();
    let proof = session::proof(&centre.origin(), &person.username, OPEN, &token, None, now()).unwrap();
    (token, proof.sign(&person.key).unwrap())
}
