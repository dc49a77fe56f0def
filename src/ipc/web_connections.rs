//! Connections to the next process on the way to a web interface, kept for the next request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

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

/// The connections of one session.
pub struct WebConnections<B>(Mutex<Vec<Kept<B>>>);

impl<B> Default for WebConnections<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B> std::fmt::Debug for WebConnections<B> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("WebConnections")
    }
}

impl<B> WebConnections<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection that can take a request.
    pub fn take(&self) -> Option<SendRequest<B>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| !one.sender.is_closed() && one.since.elapsed() < KEPT_FOR);
        let at = kept.iter().position(|one| one.sender.is_ready())?;
        Some(kept.swap_remove(at).sender)
    }

    /// Keeps a connection whose request was answered. The next one is taken when the answer was
    /// read.
    pub fn keep(&self, sender: SendRequest<B>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX && !sender.is_closed() {
            kept.push(Kept { sender, since: Instant::now() });
        }
    }

    /// Closes those that have no request in flight.
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
