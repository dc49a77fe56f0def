//! The socket of an upload or of a desktop: relays bytes between the user and the user's instance,
//! which has verified token and proof too.
//!
//! Reads no frames and so can send none: a socket that has to end is cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;

use super::close::End;
use super::keepalive::LastSeen;
use super::key_watch::KeyWatch;
use super::session::Opened;
use crate::exchange::Exchange;
use crate::limits::connections::ClientConnection;
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;

/// Longest silence of an upload in both directions. An instance pings every 30 s, and a live client
/// answers.
const IDLE: Duration = Duration::from_secs(120);

/// Longest silence of a desktop, which has no pings, and nothing to say while its user only looks.
const IDLE_DESKTOP: Duration = Duration::from_secs(60 * 60);

/// Bytes read and written at a time.
const BUFFER: usize = 64 * 1024;

/// What a tunnel is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Upload,
    Desktop,
}

/// A socket whose bytes pass unread, with the instance's side open.
pub(super) struct Tunnel {
    pub(super) gateway: Arc<Gateway>,
    pub(super) opened: Opened,
    pub(super) kind: Kind,
}

impl Tunnel {
    /// Relays bytes until one side closes, or the socket has to end.
    pub(super) async fn run<S>(self, stream: S, mut stop: watch::Receiver<bool>, client: &Arc<ClientConnection>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Opened { username, kid, instance } = self.opened;
        let Some(_counted) = self.gateway.sockets.begin(&username) else { return };
        let key_watch = KeyWatch::new(&self.gateway, &username);
        if let Some(kid) = kid
            && key_watch.add(kid).is_err()
        {
            return;
        }
        let idle = match self.kind {
            Kind::Upload => IDLE,
            Kind::Desktop => IDLE_DESKTOP,
        };
        let heard = LastSeen::new();
        let mut outer = Watched { stream, heard: &heard };
        let mut instance_end = instance.stream;
        let passing = async {
            outer.write_all(&instance.begun).await?;
            tokio::io::copy_bidirectional_with_sizes(&mut outer, &mut instance_end, BUFFER, BUFFER).await
        };
        let end = tokio::select! {
            biased;
            () = shutdown_requested(&mut stop) => End::Stop,
            end = key_watch.ends() => end,
            () = heard.nothing_for(idle) => End::Gone,
            _ = passing => End::Gone,
        };
        if let End::KeyWatch(refusal) = &end {
            Exchange::of_session(&self.gateway, client, &username, kid).record_refusal(refusal, None);
        }
    }
}

/// A stream whose bytes, in or out, count as signs of life.
struct Watched<'h, S> {
    stream: S,
    heard: &'h LastSeen,
}

impl<S> Watched<'_, S> {
    fn note<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.heard.again();
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.note(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
