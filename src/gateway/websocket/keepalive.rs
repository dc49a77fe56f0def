//! What every socket of messages has: its limits, the writing side with its pings, and how often it
//! may be used.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::close::End;
use crate::limits::Rate;

/// Longest message, in bytes, both ways.
pub(super) const MESSAGE_MAX: usize = 1024 * 1024;

/// Read and written at a time, in bytes.
const BUFFER: usize = 8 * 1024;

/// Messages to the client that wait for it to read: what stands between its pace and the
/// instance's.
pub(super) const UNSAID_MAX: usize = 2;

/// How often a client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// After how much silence it is taken for gone. Two pings.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How long writing one message may take.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Messages of one socket.
pub(super) const MESSAGES: Rate = Rate::new(64, 32);

/// The limits of what is read and written.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(2 * MESSAGE_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

/// When the client was last heard.
#[derive(Debug)]
pub(super) struct LastSeen(Mutex<Instant>);

impl LastSeen {
    /// Now.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// It was heard.
    pub(super) fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when nothing was heard for so long.
    pub(super) async fn nothing_for(&self, span: Duration) {
        while let Some(left) = span.checked_sub(self.silence()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Writes what is to be said, and asks in between whether anybody is there. `in_hand` is what was
/// taken and is not written yet, whenever this ends.
pub(super) async fn write<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    unsaid: &mut mpsc::Receiver<Message>,
    in_hand: &mut Option<Message>,
    heard: &LastSeen,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = unsaid.recv() => message,
            _ = pings.tick() => {
                if heard.silence() >= DEAD_AFTER {
                    return End::Gone;
                }
                Some(Message::Ping(Vec::new().into()))
            }
        };
        if message.is_none() {
            return std::future::pending().await;
        }
        *in_hand = message;
        let writing = async {
            std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await?;
            if let Some(message) = in_hand.take() {
                sink.start_send_unpin(message)?;
            }
            sink.flush().await
        };
        match tokio::time::timeout(WRITE_WITHIN, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return End::Gone,
        }
    }
}
