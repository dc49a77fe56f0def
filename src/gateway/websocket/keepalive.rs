//! Common parts of message sockets: limits, the writing side with its pings, and the message rate.

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
use countersign_os::limits::Rate;

/// Longest message in both directions, in bytes.
pub(super) const MESSAGE_MAX: usize = 1024 * 1024;

/// Bytes read and written at a time.
const BUFFER: usize = 8 * 1024;

/// Unsent messages to the client: the slack between its pace and the instance's.
pub(super) const UNSAID_MAX: usize = 2;

/// Interval of pings to a client.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Silence after which a client counts as gone: two pings.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How long writing one message may take.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Messages of one socket.
pub(super) const MESSAGES: Rate = Rate::new(64, 32);

pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(2 * MESSAGE_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

#[derive(Debug)]
pub(super) struct LastSeen(Mutex<Instant>);

impl LastSeen {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns after that much silence.
    pub(super) async fn nothing_for(&self, span: Duration) {
        while let Some(left) = span.checked_sub(self.silence()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Writes queued messages, and pings in between. When it ends, `in_hand` holds a message that was
/// taken and not written.
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
