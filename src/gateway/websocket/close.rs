//! The end of a socket, and the close frames for both its ends.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::response::refusal::Refusal;

/// How long a closing handshake may take. The sockets of a revoked key are gone within a second,
/// this included.
const LEAVE_WITHIN: Duration = Duration::from_millis(300);

/// How much is read of a client that is being closed, in bytes. Closing with unread bytes could
/// lose the close frame.
const SCRAP_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum End {
    /// The gateway stops.
    Stop,
    /// The client has closed the socket, or is gone.
    Gone,
    /// The client broke the protocol.
    Protocol(CloseCode),
    /// The client did what is not allowed here.
    Policy,
    /// The instance has closed the socket.
    Closed(Option<CloseFrame>),
    /// The instance is gone, or broke the protocol.
    Broken,
    /// The user's key is not valid any more, or that cannot be determined.
    KeyWatch(Refusal),
}

impl End {
    /// Maps an error of the client's side.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
                Self::Protocol(CloseCode::Size)
            }
            Error::Utf8(_) => Self::Protocol(CloseCode::Invalid),
            // The connection ended without a close frame.
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Self::Protocol(CloseCode::Protocol),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Io(_)
            | Error::Tls(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Self::Gone,
        }
    }

    /// The close frame for the client.
    fn frame(&self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Stop => (CloseCode::Away, "the provider restarts"),
            Self::Gone => (CloseCode::Normal, ""),
            Self::Protocol(code) => (*code, ""),
            Self::Policy => (CloseCode::Policy, "not allowed here"),
            Self::Closed(None) => (CloseCode::Normal, ""),
            Self::Closed(Some(frame)) => return frame.clone(),
            Self::Broken => (CloseCode::Error, "the instance is gone"),
            Self::KeyWatch(_) => (CloseCode::Policy, "the key does not speak for its user any more"),
        };
        CloseFrame { code, reason: reason.into() }
    }

    /// Whether queued messages have to reach the client first.
    const fn is_orderly(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Policy)
    }
}

/// Sends the queued messages and the close frame to the client, then closes.
pub(super) async fn close_client<S>(
    end: &End,
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut source: SplitStream<WebSocketStream<S>>,
    in_hand: Option<Message>,
    mut unsaid: mpsc::Receiver<Message>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let leaving = async {
        if end.is_orderly() {
            let mut next = in_hand.or_else(|| unsaid.try_recv().ok());
            while let Some(message) = next {
                sink.send(message).await?;
                next = unsaid.try_recv().ok();
            }
        }
        if !matches!(end, End::Gone) {
            sink.send(Message::Close(Some(end.frame()))).await?;
        }
        // Until the peer has closed too; the reply to its own close frame is sent on the way.
        while source.next().await.is_some_and(|message| message.is_ok()) {}
        sink.flush().await
    };
    let _ = tokio::time::timeout(LEAVE_WITHIN, leaving).await; // a client that does not read is left
    let Ok(socket) = sink.reunite(source) else { return };
    let mut stream = socket.into_inner();
    let hanging_up = async {
        stream.shutdown().await?;
        let mut scrap = [0; 4096];
        let mut thrown_away = 0_usize;
        while thrown_away < SCRAP_MAX {
            match stream.read(&mut scrap).await? {
                0 => break,
                count => thrown_away = thrown_away.saturating_add(count),
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LEAVE_WITHIN, hanging_up).await;
}

/// Sends a close frame to the instance and drops the connection.
pub(super) async fn close_upstream<S>(end: &End, mut instance: SplitSink<WebSocketStream<S>, Message>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !matches!(end, End::Closed(_) | End::Broken) {
        let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
        let _ = tokio::time::timeout(LEAVE_WITHIN, instance.send(Message::Close(Some(frame)))).await;
    }
}
