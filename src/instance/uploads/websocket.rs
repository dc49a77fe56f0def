//! Serves uploads over a WebSocket: UCloud's protocol, version 2, for a folder's files or a single
//! one.
//!
//! The client lists its files and is told which of them to send and how many are done. The next
//! frame is read only when the previous one is written. A slow disk therefore slows the client, and
//! memory holds one frame. A file gets its real name when it is complete (see
//! [`crate::files::incoming`]). An error ends the upload with a reason and leaves no partial file.

#[cfg(fuzzing)]
pub mod fuzzing;
mod receiver;
mod target;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::intent::Consent;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::receiver::{Failure, Receiver};
pub(crate) use self::target::Target;
use self::wire::{ClientMessage, Frame};
use crate::drives::table::Drives;
use crate::files::request::ConflictPolicy;
use crate::websocket::session_socket::Messages;

/// In bytes. UCloud's page sends pieces of 16 MB at most. The socket is opened with this limit.
pub(crate) const MESSAGE_MAX: usize = 17 * 1024 * 1024;
/// Most uploads of one user at once: more than UCloud's page starts.
const UPLOADS_MAX: usize = 8;
/// Most open files that all uploads share, beside those that each may have.
const SHARED_MAX: usize = 128;
/// How long replies are gathered, as in UCloud's own module.
const REPLY_AFTER: Duration = Duration::from_millis(50);
/// How long to wait for a client that has nothing more to send, as in UCloud's own module.
const DONE_MAX: Duration = Duration::from_secs(30);
/// How long a client that has something to send may be silent.
const SILENT_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a client may take to accept a reply.
const SEND_MAX: Duration = Duration::from_secs(60);
/// In bytes: the WebSocket limit for a close reason.
const REASON_MAX: usize = 123;

/// The upload that the user was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadRequest {
    /// Where files go.
    pub(crate) target: Target,
    /// The policy for names that are taken.
    pub(crate) policy: ConflictPolicy,
    /// Whether a person was asked. Files of a folder that programs read at startup are accepted
    /// only then.
    pub(crate) consent: Consent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The client reported the end.
    Done,
    Left,
    Silent,
    Failed(Failure),
}

#[derive(Debug, Clone, Copy)]
struct Times {
    done: Duration,
    silent: Duration,
}

/// The uploads of one user. Clones share their limits.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    drives: Arc<Drives>,
    places: Arc<Semaphore>,
    open_files: Arc<Semaphore>,
    times: Times,
}

impl Uploads {
    pub(crate) fn to(drives: Arc<Drives>) -> Self {
        Self {
            drives,
            places: Arc::new(Semaphore::new(UPLOADS_MAX)),
            open_files: Arc::new(Semaphore::new(SHARED_MAX)),
            times: Times { done: DONE_MAX, silent: SILENT_MAX },
        }
    }

    /// Serves one upload. If the future is dropped before its end, only complete files remain.
    pub(crate) async fn run(&self, mut socket: impl Messages, request: UploadRequest) {
        let place = self.places.try_acquire();
        let UploadRequest { target, policy, consent } = request;
        let receiver = match &place {
            Ok(_) => {
                Receiver::open(Arc::clone(&self.drives), target, policy, consent, Arc::clone(&self.open_files)).await
            }
            Err(_) => Err(Failure::Uploads),
        };
        let end = match receiver {
            Ok(mut receiver) => {
                let end = self.receive(&mut socket, &mut receiver).await;
                tracing::info!(done = receiver.done(), ?end, "an upload is over");
                end
            }
            Err(failure) => End::Failed(failure),
        };
        let (code, reason) = match &end {
            End::Left => return,
            End::Done => (CloseCode::Normal, String::new()),
            End::Silent => (CloseCode::Normal, "nothing has come for long".to_owned()),
            End::Failed(failure) => (failure.code(), failure.to_string()),
        };
        let frame = CloseFrame { code, reason: shortened(&reason).into() };
        let _ = timeout(SEND_MAX, socket.send(Message::Close(Some(frame)))).await;
    }

    async fn receive(&self, socket: &mut impl Messages, receiver: &mut Receiver) -> End {
        let (mut received_at, mut replied_at) = (Instant::now(), Instant::now());
        loop {
            let silence = if receiver.is_waiting() { self.times.silent } else { self.times.done };
            let outcome = tokio::select! {
                message = socket.next() => {
                    received_at = Instant::now();
                    match message {
                        Some(Ok(Message::Binary(bytes))) => take(receiver, Frame::new(bytes)).await,
                        Some(Ok(Message::Text(text))) if text.as_str() == "ping" => {
                            if !sent(socket, Message::text("pong")).await {
                                return End::Left;
                            }
                            Ok(Next::More)
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Left,
                        // The WebSocket library answers pings. Other text has no meaning.
                        Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Next::More),
                    }
                }
                placed = receiver.next_placed() => receiver.settle(placed).await.map(|()| Next::More),
                () = sleep_until(replied_at + REPLY_AFTER), if receiver.has_news() => {
                    replied_at = Instant::now();
                    if !sent(socket, Message::Binary(receiver.news())).await {
                        return End::Left;
                    }
                    Ok(Next::More)
                }
                () = sleep_until(received_at + silence) => return End::Silent,
            };
            let end = match outcome {
                Ok(Next::More) => continue,
                Ok(Next::End) => receiver.finish().await.map_or_else(End::Failed, |()| End::Done),
                Err(failure) => End::Failed(failure),
            };
            if receiver.has_news() && !sent(socket, Message::Binary(receiver.news())).await {
                return End::Left;
            }
            return end;
        }
    }
}

/// Whether more messages follow.
enum Next {
    More,
    End,
}

async fn take(receiver: &mut Receiver, frame: Frame) -> Result<Next, Failure> {
    for message in frame {
        match message? {
            ClientMessage::File(listed) => receiver.list(listed)?,
            ClientMessage::Chunk { id, bytes } => receiver.write(id, bytes).await?,
            ClientMessage::Skip { id } => receiver.skip(id),
            ClientMessage::Close => return Ok(Next::End),
        }
    }
    receiver.admit().await.map(|()| Next::More)
}

async fn sent(socket: &mut impl Messages, message: Message) -> bool {
    matches!(timeout(SEND_MAX, socket.send(message)).await, Ok(Ok(())))
}

fn shortened(reason: &str) -> String {
    let end = (0..=REASON_MAX).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    reason.get(..end).unwrap_or(reason).to_owned()
}
