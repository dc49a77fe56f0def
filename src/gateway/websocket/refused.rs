//! A socket that is opened only to send a refusal, because Core crashes on another response to its
//! handshake (V76).

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::close::{End, close_client};
use super::keepalive::{UNSAID_MAX, limits};

pub(super) struct Refused {
    /// The last message of its only stream.
    pub(super) said: String,
}

impl Refused {
    /// Sends the refusal and closes the socket. Reads only the peer's close frame.
    pub(super) async fn run<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await;
        let (sink, source) = socket.split();
        let (_, unsaid) = mpsc::channel(UNSAID_MAX);
        close_client(&End::Policy, sink, source, Some(Message::Text(self.said.into())), unsaid).await;
    }
}
