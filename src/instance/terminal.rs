//! The terminal: the user's login shell behind UCloud's `shell.open` messages.
//!
//! What the shell writes is read when the socket has taken what was read before, so whoever does
//! not read stops the shell, not this process's memory. A socket that ends hangs the shell up, and
//! a shell that ends closes the socket. Whether somebody may open one is decided before any of
//! this.

#[cfg(fuzzing)]
pub mod fuzzing;
mod login;
#[cfg(test)]
mod tests;
mod text;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use pty_process::{ReadPty, Size, WritePty};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub(crate) use login::Login;
use text::Decoder;

use super::websocket::frames::{Asked, message, response};

/// How many shells one user has at once: more than anybody looks at, and each holds processes and
/// descriptors.
const SHELLS_MAX: usize = 16;
/// How long a socket may be open before it says what it is for.
const INITIALIZE_MAX: Duration = Duration::from_secs(10);
/// How long nothing may be typed or shown: a program that works in silence has an afternoon.
const IDLE_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// How long a session may last: a working day and a night's run.
const SESSION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long what an ended shell has written is still passed on; a program that it left in the
/// background may hold the terminal for ever.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How often a socket on which nothing happens is tried, so that one whose other end vanished is
/// noticed.
const PING_EVERY: Duration = Duration::from_secs(30);
/// What is read from the terminal at once, in bytes: the kernel gives no more than about 4 KiB.
const PIECE: usize = 4096;
/// How many messages wait for a shell that does not read. Then no more are read.
const INPUTS_MAX: usize = 4;
/// How many acknowledgements wait for a socket that does not take them.
const ACKS_MAX: usize = 64;
/// The longest message that is typed, in bytes: a large paste. The socket is opened with this.
pub(crate) const MESSAGE_MAX: usize = 256 * 1024;

/// What the browser sends. Each comes with a stream of its own.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Typed {
    Initialize { cols: u16, rows: u16 },
    Input { data: String },
    Resize { cols: u16, rows: u16 },
}

/// What the browser is sent: data always on the stream of `initialize`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Shown<'a> {
    Initialize,
    Data { data: &'a str },
    Ack,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    initialize: Duration,
    idle: Duration,
    session: Duration,
}

/// The shells of one user. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Shells {
    login: Login,
    call: String,
    places: Arc<Semaphore>,
    times: Times,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The shell ended.
    Exited,
    /// The socket ended, or cannot be written to any more.
    Left,
    /// Nothing happened for too long.
    Idle,
    /// It has lasted long enough.
    TooLong,
}

impl Shells {
    /// Shells of this account, at this provider.
    pub(crate) fn of(login: Login, provider: &str) -> Self {
        Self {
            login,
            call: format!("jobs.compute.{provider}.shell.open"),
            places: Arc::new(Semaphore::new(SHELLS_MAX)),
            times: Times { initialize: INITIALIZE_MAX, idle: IDLE_MAX, session: SESSION_MAX },
        }
    }

    /// How many are open.
    #[cfg(test)]
    fn open(&self) -> usize {
        SHELLS_MAX.saturating_sub(self.places.available_permits())
    }

    /// Serves one session on a socket, in a folder that is open. Dropped before its end, it hangs
    /// the shell up.
    pub(crate) async fn run<S>(&self, mut socket: WebSocketStream<S>, folder: OwnedFd)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(_place) = self.places.try_acquire() else {
            return close(&mut socket, CloseCode::Again, "too many of your terminals are open").await;
        };
        let Ok(Some((stream_id, size))) = timeout(self.times.initialize, self.initialized(&mut socket)).await else {
            return close(&mut socket, CloseCode::Policy, "nothing was opened").await;
        };
        let mut running = match self.login.start(&folder, size) {
            Ok(running) => running,
            Err(error) => {
                tracing::warn!(%error, shell = %self.login.shell.display(), "a shell cannot be started");
                let _ = socket.send(response(&stream_id, 500, &serde_json::json!({"why": error.to_string()}))).await;
                return close(&mut socket, CloseCode::Error, "the shell cannot be started").await;
            }
        };
        drop(folder);
        let (mut sink, stream) = socket.split();
        if sink.send(message(&stream_id, &Shown::Initialize)).await.is_err() {
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
            let _ = sink.send(response(&stream_id, 200, &Shown::Ack)).await;
            let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
            let _ = sink.send(Message::Close(Some(frame))).await;
        };
        let _ = timeout(DRAIN_MAX, farewell).await;
    }

    /// The stream and the size of the terminal that is asked for.
    async fn initialized<S>(&self, socket: &mut WebSocketStream<S>) -> Option<(String, Size)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(Ok(incoming)) = socket.next().await {
            if let Some(Asked { stream_id, payload: Typed::Initialize { cols, rows }, .. }) = self.asked(&incoming) {
                return Some((stream_id, size(cols, rows)));
            }
        }
        None
    }

    fn asked(&self, incoming: &Message) -> Option<Asked<Typed>> {
        Asked::of(&self.call, incoming.is_text().then(|| incoming.to_text().ok())??)
    }

    async fn relay<S>(
        &self,
        sink: &mut SplitSink<WebSocketStream<S>, Message>,
        mut stream: SplitStream<WebSocketStream<S>>,
        running: &mut login::Running,
        stream_id: &str,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (pty, ended) = running.parts();
        let (output, input) = pty.split();
        let (inputs, to_type) = mpsc::channel(INPUTS_MAX);
        let (acks, acked) = mpsc::channel(ACKS_MAX);
        let happened = Notify::new();
        let reading = async {
            while let Some(Ok(incoming)) = stream.next().await {
                happened.notify_one();
                if let Some(asked) = self.asked(&incoming)
                    && inputs.send(asked).await.is_err()
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

/// Passes on what the shell writes, a piece when the one before is gone.
async fn show<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    mut output: ReadPty<'_>,
    mut acked: mpsc::Receiver<String>,
    stream_id: &str,
    happened: &Notify,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut decoder = Decoder::default();
    let mut piece = vec![0; PIECE];
    loop {
        let outgoing = tokio::select! {
            Some(stream_id) = acked.recv() => response(&stream_id, 200, &Shown::Ack),
            read = output.read(&mut piece) => {
                // An error says that nobody has the terminal open any more.
                let Ok(read @ 1..) = read else { return End::Exited };
                happened.notify_one();
                let text = decoder.decode(piece.get(..read).unwrap_or_default());
                if text.is_empty() {
                    continue;
                }
                message(stream_id, &Shown::Data { data: &text })
            }
            () = tokio::time::sleep(PING_EVERY) => Message::Ping(Default::default()),
        };
        if sink.send(outgoing).await.is_err() {
            return End::Left;
        }
    }
}

/// Does what the browser sends; ends when the terminal takes nothing any more.
async fn type_in(mut input: WritePty<'_>, mut to_type: mpsc::Receiver<Asked<Typed>>, acks: mpsc::Sender<String>) {
    while let Some(Asked { stream_id, payload, .. }) = to_type.recv().await {
        let done = match payload {
            Typed::Input { data } => input.write_all(data.as_bytes()).await.is_ok(),
            Typed::Resize { cols, rows } => input.resize(size(cols, rows)).is_ok(),
            // One socket has one terminal.
            Typed::Initialize { .. } => true,
        };
        if !done {
            break;
        }
        let _ = acks.send(stream_id).await;
    }
    // Whoever reads the terminal, or waits for the shell, says how it ended.
    std::future::pending().await
}

/// A terminal has one cell at least, or programs divide by zero.
fn size(cols: u16, rows: u16) -> Size {
    Size::new(rows.max(1), cols.max(1))
}

async fn close<S>(socket: &mut WebSocketStream<S>, code: CloseCode, reason: &'static str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code, reason: reason.into() };
    let _ = timeout(DRAIN_MAX, socket.close(Some(frame))).await;
}
