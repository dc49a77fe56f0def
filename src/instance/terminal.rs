//! Serves the user's login shell over UCloud's `shell.open` messages.
//!
//! Reads the next output only after the socket has taken the previous one. A client that does not
//! read therefore stops the shell and does not fill this process's memory. When the socket ends,
//! the shell is hung up; when the shell ends, the socket is closed. The caller has already
//! authorised the session.

#[cfg(fuzzing)]
pub mod fuzzing;
mod login;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use pty_process::{ReadPty, Size, WritePty};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub(crate) use login::{Launch, Login, Opened};
pub(crate) use text::Decoder;

use super::websocket::frames::{CallMessage, message, response};
use super::websocket::session_socket::Messages;

/// Most terminals of one user at once: more than a person watches. Each holds processes and
/// descriptors.
const SHELLS_MAX: usize = 16;
/// How long a socket may be open before its `initialize` message.
const INITIALIZE_MAX: Duration = Duration::from_secs(10);
/// How long a session may pass without input or output: a silent program gets an afternoon.
const IDLE_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// How long a session may last: a working day and a night's run.
const SESSION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long output of an ended shell is still forwarded. A background program that the shell
/// started may hold the terminal for ever.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How often a quiet socket is pinged, to detect that the client has vanished.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Bytes read from the terminal at once: the kernel gives no more than about 4 KiB.
const PIECE: usize = 4096;
/// Most messages that wait for a shell that does not read. At this limit no more are read.
const INPUTS_MAX: usize = 4;
/// Most acknowledgements that wait for a socket that does not take them.
const ACKS_MAX: usize = 64;
/// In bytes: a large paste fits. The socket is opened with this limit.
pub(crate) const MESSAGE_MAX: usize = 256 * 1024;

/// A message from the browser. Each comes with its own stream.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ClientMessage {
    Initialize { cols: u16, rows: u16 },
    Input { data: String },
    Resize { cols: u16, rows: u16 },
}

/// A message to the browser. Data always uses the stream of `initialize`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ServerMessage<'a> {
    Initialize,
    Data { data: &'a str },
    Ack,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    initialize: Duration,
    idle: Duration,
    session: Duration,
}

/// The terminals of one user. Clones share one limit.
#[derive(Debug, Clone)]
pub(crate) struct Shells {
    login: Login,
    call: String,
    places: Arc<Semaphore>,
    times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited,
    /// The socket ended or can no longer be written.
    Left,
    /// The session was idle longer than its limit.
    Idle,
    /// The session reached its maximum length.
    TooLong,
}

impl Shells {
    /// Terminals of this account, at this provider.
    pub(crate) fn of(login: Login, provider: &str) -> Self {
        Self {
            login,
            call: format!("jobs.compute.{provider}.shell.open"),
            places: Arc::new(Semaphore::new(SHELLS_MAX)),
            times: Times { initialize: INITIALIZE_MAX, idle: IDLE_MAX, session: SESSION_MAX },
        }
    }

    /// The number of open terminals.
    #[cfg(test)]
    fn open(&self) -> usize {
        SHELLS_MAX.saturating_sub(self.places.available_permits())
    }

    /// Serves one session on a socket: the login shell, or another program. If the future is
    /// dropped before its end, that is hung up.
    pub(crate) async fn run(&self, mut socket: impl Messages, opened: Opened) {
        let Ok(_place) = self.places.try_acquire() else {
            return close(&mut socket, CloseCode::Again, "too many of your terminals are open").await;
        };
        let Ok(Some((stream_id, size))) = timeout(self.times.initialize, self.initialized(&mut socket)).await else {
            return close(&mut socket, CloseCode::Policy, "nothing was opened").await;
        };
        let mut running = match self.login.start(&opened, size) {
            Ok(running) => running,
            Err(error) => {
                tracing::warn!(%error, shell = %self.login.shell.display(), "a shell cannot be started");
                let _ = socket.send(response(&stream_id, 500, &serde_json::json!({"why": error.to_string()}))).await;
                return close(&mut socket, CloseCode::Error, "the shell cannot be started").await;
            }
        };
        drop(opened);
        let (mut sink, stream) = socket.split();
        if sink.send(message(&stream_id, &ServerMessage::Initialize)).await.is_err() {
            return;
        }
        let end = self.relay(&mut sink, stream, &mut running, &stream_id).await;
        drop(running);
        let farewell = async {
            let reason = match end {
                End::Left => return,
                End::Exited => "the shell has ended",
                End::Idle => "nothing has happened for long",
                End::TooLong => "the session has lasted as long as one may",
            };
            let _ = sink.send(response(&stream_id, 200, &ServerMessage::Ack)).await;
            let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
            let _ = sink.send(Message::Close(Some(frame))).await;
        };
        let _ = timeout(DRAIN_MAX, farewell).await;
    }

    /// Waits for `initialize`, and returns its stream and the terminal size.
    async fn initialized(&self, socket: &mut impl Messages) -> Option<(String, Size)> {
        while let Some(Ok(incoming)) = socket.next().await {
            if let Some(CallMessage { stream_id, payload: ClientMessage::Initialize { cols, rows }, .. }) =
                self.parse(&incoming)
            {
                return Some((stream_id, size(cols, rows)));
            }
        }
        None
    }

    fn parse(&self, incoming: &Message) -> Option<CallMessage<ClientMessage>> {
        CallMessage::of(&self.call, incoming.is_text().then(|| incoming.to_text().ok())??)
    }

    async fn relay<M: Messages>(
        &self,
        sink: &mut SplitSink<M, Message>,
        mut stream: SplitStream<M>,
        running: &mut login::Running,
        stream_id: &str,
    ) -> End {
        let (pty, ended) = running.parts();
        let (output, input) = pty.split();
        let (inputs, to_type) = mpsc::channel(INPUTS_MAX);
        let (acks, acked) = mpsc::channel(ACKS_MAX);
        let happened = Notify::new();
        let reading = async {
            while let Some(Ok(incoming)) = stream.next().await {
                happened.notify_one();
                if let Some(call) = self.parse(&incoming)
                    && inputs.send(call).await.is_err()
                {
                    break;
                }
            }
            End::Left
        };
        let idle = async {
            while timeout(self.times.idle, happened.notified()).await.is_ok() {}
            End::Idle
        };
        let exited = async {
            ended.await;
            tokio::time::sleep(DRAIN_MAX).await;
            End::Exited
        };
        tokio::select! {
            end = reading => end,
            end = show(sink, output, acked, stream_id, &happened) => end,
            () = type_in(input, to_type, acks) => End::Exited,
            end = exited => end,
            end = idle => end,
            () = tokio::time::sleep(self.times.session) => End::TooLong,
        }
    }
}

/// Forwards the shell's output, one piece after the previous one was sent.
async fn show<M: Messages>(
    sink: &mut SplitSink<M, Message>,
    mut output: ReadPty<'_>,
    mut acked: mpsc::Receiver<String>,
    stream_id: &str,
    happened: &Notify,
) -> End {
    let mut decoder = Decoder::default();
    let mut piece = vec![0; PIECE];
    loop {
        let outgoing = tokio::select! {
            Some(stream_id) = acked.recv() => response(&stream_id, 200, &ServerMessage::Ack),
            read = output.read(&mut piece) => {
                // An error means that no process has the terminal open any more.
                let Ok(read @ 1..) = read else { return End::Exited };
                happened.notify_one();
                let text = decoder.decode(piece.get(..read).unwrap_or_default());
                if text.is_empty() {
                    continue;
                }
                message(stream_id, &ServerMessage::Data { data: &text })
            }
            () = tokio::time::sleep(PING_EVERY) => Message::Ping(Default::default()),
        };
        if sink.send(outgoing).await.is_err() {
            return End::Left;
        }
    }
}

/// Carries out the browser's messages. Stops when the terminal takes no more input.
async fn type_in(
    mut input: WritePty<'_>,
    mut to_type: mpsc::Receiver<CallMessage<ClientMessage>>,
    acks: mpsc::Sender<String>,
) {
    while let Some(CallMessage { stream_id, payload, .. }) = to_type.recv().await {
        let done = match payload {
            ClientMessage::Input { data } => input.write_all(data.as_bytes()).await.is_ok(),
            ClientMessage::Resize { cols, rows } => input.resize(size(cols, rows)).is_ok(),
            // A socket has only one terminal.
            ClientMessage::Initialize { .. } => true,
        };
        if !done {
            break;
        }
        let _ = acks.send(stream_id).await;
    }
    // The other futures, which read the output and wait for the shell, report how the session
    // ended.
    std::future::pending().await
}

/// A terminal has at least one cell, because programs divide by its size.
fn size(cols: u16, rows: u16) -> Size {
    Size::new(rows.max(1), cols.max(1))
}

async fn close(socket: &mut impl Messages, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    let _ = timeout(DRAIN_MAX, socket.send(Message::Close(Some(frame)))).await;
}
