//! Connections to the next process on the way to a web interface, kept for the next request until
//! their session ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// Most kept: a browser has six connections at a time, or one with many requests.
const KEPT_MAX: usize = 16;

/// How long one is kept. Many applications close a connection after 5 s without a request.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// How long an open socket may be silent in both directions. A desktop that its user only looks at
/// is silent.
const SILENT_MAX: Duration = Duration::from_secs(60 * 60);

/// Bytes copied at a time on a socket.
const BUFFER: usize = 64 * 1024;

/// A connection without a request in flight, or with one whose answer is still being read.
struct Kept<B> {
    sender: SendRequest<B>,
    since: Instant,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum NotAnswered<E> {
    /// There is no new connection, for this reason.
    NotConnected(E),
    /// The time was over.
    Slow,
    /// The connection broke.
    Broken(hyper::Error),
}

/// The connections of one session.
pub struct WebConnections<B> {
    kept: Mutex<Vec<Kept<B>>>,
    /// Whether the session has ended.
    closed: watch::Sender<bool>,
}

impl<B> Default for WebConnections<B> {
    fn default() -> Self {
        Self { kept: Mutex::default(), closed: watch::channel(false).0 }
    }
}

impl<B> std::fmt::Debug for WebConnections<B> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("WebConnections")
    }
}

impl<B> WebConnections<B> {
    /// Closes those that have no request in flight, and notes that the session has ended: its
    /// sockets end.
    pub fn close(&self) {
        self.closed.send_replace(true);
        self.kept().clear();
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until the session has ended.
    pub async fn until_closed(&self) {
        // An error would mean that the sender is gone, and it is this value's.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept<B>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> WebConnections<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends a request on a kept connection, or on a new one. `within`: the longest time until the
    /// answer begins.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send<E, F>(
        &self,
        mut request: Request<B>,
        within: Duration,
        connect: impl Fn() -> F,
    ) -> Result<Response<Incoming>, NotAnswered<E>>
    where
        F: Future<Output = Result<SendRequest<B>, E>>,
    {
        let is_upgrade = request.headers().contains_key(UPGRADE);
        loop {
            let kept = self.take();
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect().await.map_err(NotAnswered::NotConnected)?,
            };
            let answering = timeout(within, sender.try_send_request(request));
            match answering.await.map_err(|_elapsed| NotAnswered::Slow)? {
                Ok(answer) => {
                    if !is_upgrade {
                        self.keep(sender);
                    }
                    return Ok(answer);
                }
                // A kept connection was closed before it took the request.
                Err(mut error) => match error.take_message().filter(|_| is_kept) {
                    Some(unsent) => request = unsent,
                    None => return Err(NotAnswered::Broken(error.into_error())),
                },
            }
        }
    }

    /// A connection that can take a request.
    fn take(&self) -> Option<SendRequest<B>> {
        let mut kept = self.kept();
        kept.retain(|one| !one.sender.is_closed() && one.since.elapsed() < KEPT_FOR);
        let at = kept.iter().position(|one| one.sender.is_ready())?;
        Some(kept.swap_remove(at).sender)
    }

    /// Keeps a connection whose request was answered. The next one is taken when the answer was
    /// read.
    fn keep(&self, sender: SendRequest<B>) {
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX && !sender.is_closed() {
            kept.push(Kept { sender, since: Instant::now() });
        }
    }
}

/// Speaks HTTP/1.1 on a stream, upgrades included. A task drives the connection until it ends.
///
/// # Errors
/// The stream failed.
pub async fn speak<B, S>(stream: S) -> hyper::Result<SendRequest<B>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection of a web interface broke");
        }
    });
    Ok(sender)
}

/// Copies bytes both ways until one side closes, or both are silent for long. `passed` is called
/// for each piece.
pub async fn copy_until_silent<N, F>(near: N, far: F, passed: impl Fn())
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_near, mut to_near) = tokio::io::split(near);
    let (mut from_far, mut to_far) = tokio::io::split(far);
    let last = Mutex::new(Instant::now());
    let note = || {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        passed();
    };
    let silent = async {
        loop {
            let end = *last.lock().unwrap_or_else(PoisonError::into_inner) + SILENT_MAX;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    };
    tokio::select! {
        () = copy(&mut from_near, &mut to_far, &note) => {}
        () = copy(&mut from_far, &mut to_near, &note) => {}
        () = silent => {}
    }
    let _ = tokio::join!(to_near.shutdown(), to_far.shutdown());
}

async fn copy<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(from: &mut R, to: &mut W, note: &impl Fn()) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count) = from.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() || to.write_all(piece).await.is_err() || to.flush().await.is_err() {
            return;
        }
        note();
    }
}
