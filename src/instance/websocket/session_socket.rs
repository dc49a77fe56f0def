//! The socket of a session, with messages as the session's work reads and writes them.
//!
//! An unsealed socket passes messages on. A sealed one carries one record in each binary frame: it
//! opens what arrives and seals what is sent, reasons for closing included (protocol, section 10).
//! It ends at the first frame that is not the next record. Keeps P3: the way a socket works is
//! decided by the evidence of its opening.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_keys::seal::{Kind, MessageReader, Opener, RECORD_MAX, Received, RecordRejection, Sealer};
use countersign_keys::session::Unsealed;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::frames;

/// A socket's messages, sealed or not.
pub(crate) trait Messages: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin {}

impl<T: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin> Messages for T {}

/// What a session's messages are. A record does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Text,
    Binary,
}

/// The keys of a socket's two directions.
#[derive(Debug)]
pub(crate) struct SocketKeys {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
}

/// How a session's socket carries its messages.
#[derive(Debug)]
pub(crate) enum Carriage {
    Plain(Unsealed),
    Sealed(Box<SocketKeys>),
}

#[derive(Debug)]
pub(crate) struct SessionSocket<S> {
    socket: WebSocketStream<S>,
    seal: Option<Seal>,
}

#[derive(Debug)]
struct Seal {
    reader: MessageReader,
    sealer: Sealer,
    content: Content,
    /// Records that the socket has not taken yet.
    unsent: VecDeque<Message>,
    is_over: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SessionSocket<S> {
    /// Takes over a stream that has switched. A sealed socket sends its first record.
    pub(crate) async fn open(stream: S, carriage: Carriage, content: Content, message_max: usize) -> Self {
        let (seal, frame_max) = match carriage {
            Carriage::Plain(Unsealed { .. }) => (None, message_max),
            Carriage::Sealed(keys) => {
                let SocketKeys { opener, sealer } = *keys;
                let reader = MessageReader::new(opener, message_max);
                let seal = Seal { reader, sealer, content, unsent: VecDeque::new(), is_over: false };
                (Some(seal), RECORD_MAX)
            }
        };
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(frames::reading(frame_max))).await;
        let mut opened = Self { socket, seal };
        if let Some(seal) = &mut opened.seal {
            seal.queue(|sealer| sealer.record(Kind::First, &[]).map(|record| vec![record]));
            // If this fails, the first message finds out.
            let _ = opened.flush().await;
        }
        opened
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { socket, seal } = self;
        let Some(seal) = seal else { return Poll::Ready(Ok(())) };
        while !seal.unsent.is_empty() {
            ready!(socket.poll_ready_unpin(cx))?;
            if let Some(record) = seal.unsent.pop_front() {
                socket.start_send_unpin(record)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Seal {
    /// Seals records and queues them. A key that has sealed all that it may ends the session.
    fn queue(&mut self, seal: impl FnOnce(&mut Sealer) -> Result<Vec<Vec<u8>>, RecordRejection>) {
        match seal(&mut self.sealer) {
            Ok(records) => self.unsent.extend(records.into_iter().map(|record| Message::Binary(record.into()))),
            Err(reason) => {
                tracing::warn!(%reason, "ended sealed session: nothing more can be sealed");
                self.is_over = true;
            }
        }
    }

    /// The message that a frame brings; `None` if it brings none yet.
    fn take(&mut self, frame: Message) -> Result<Option<Message>, Refused> {
        let record = match frame {
            Message::Binary(record) => Vec::from(record),
            // Frames without content of the session.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(None),
            Message::Close(_) => return Ok(Some(Message::Close(None))),
            Message::Text(_) => return Err(Refused::Unsealed),
        };
        Ok(match self.reader.take(record)? {
            Received::Confirmed | Received::Part => None,
            Received::Message(message) => Some(match self.content {
                Content::Binary => Message::Binary(Bytes::from(message)),
                Content::Text => Message::Text(Utf8Bytes::try_from(Bytes::from(message)).map_err(|_| Refused::Text)?),
            }),
            Received::End(_) => Some(Message::Close(None)),
        })
    }
}

/// Why a sealed socket ends.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Record(#[from] RecordRejection),
    #[error("a text frame on a sealed socket")]
    Unsealed,
    #[error("a message is not text")]
    Text,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for SessionSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { socket, seal } = self.get_mut();
        let Some(seal) = seal else { return socket.poll_next_unpin(cx) };
        loop {
            if seal.is_over {
                return Poll::Ready(None);
            }
            let frame = match ready!(socket.poll_next_unpin(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match seal.take(frame) {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(reason) => {
                    tracing::warn!(%reason, "ended sealed session: a frame was not accepted");
                    seal.is_over = true;
                    return Poll::Ready(Some(Err(Error::Io(io::Error::other(reason)))));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for SessionSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        this.socket.poll_ready_unpin(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let Self { socket, seal } = self.get_mut();
        let Some(seal) = seal else { return socket.start_send_unpin(message) };
        match message {
            Message::Text(text) => seal.queue(|sealer| sealer.message(text.as_bytes())),
            Message::Binary(bytes) => seal.queue(|sealer| sealer.message(&bytes)),
            Message::Close(frame) => {
                let reason = frame.as_ref().map_or("", |frame| frame.reason.as_str());
                seal.queue(|sealer| sealer.record(Kind::End, reason.as_bytes()).map(|record| vec![record]));
                // The reason may name a file.
                let frame = frame.map(|frame| CloseFrame { code: frame.code, reason: "".into() });
                seal.unsent.push_back(Message::Close(frame));
            }
            control @ (Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => seal.unsent.push_back(control),
        }
        if seal.is_over { Err(Error::ConnectionClosed) } else { Ok(()) }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        this.socket.poll_flush_unpin(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        this.socket.poll_close_unpin(cx)
    }
}
