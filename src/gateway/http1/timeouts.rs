//! Timeouts of a connection: for its next request, for the rest of a head, and for writing.
//!
//! One timer a connection, reset only when it fires: a request in time costs two stores and no
//! timer. Bodies have their own limit in [`crate::http1::body`], which knows their length.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a connection may be idle. Core's client keeps its connections for 90 s, so that it
/// closes first.
pub(crate) const IDLE: Duration = Duration::from_secs(100);

/// How long a head may take from its first byte to its last. It fits into a few packets.
pub(crate) const HEAD: Duration = Duration::from_secs(10);

/// How long a client may leave a response unread.
pub(crate) const WRITE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turns {
    /// HTTP/1.1: what comes between two requests is the next head.
    OneByOne,
    /// HTTP/2: frames of any kind may come; hyper limits them.
    Interleaved,
}

/// State shared by the stream and the service that answers its requests.
#[derive(Debug)]
pub(crate) struct Deadlines {
    began: Instant,
    turns: Turns,
    /// Milliseconds after `began` at which the connection times out.
    deadline: AtomicU64,
    /// Requests in flight. While there are any, only a stalled write times out.
    answering: AtomicUsize,
}

/// Marks a request as in flight while it lives.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Deadlines>);

impl Deadlines {
    fn new(turns: Turns) -> Self {
        let deadlines =
            Self { began: Instant::now(), turns, deadline: AtomicU64::new(0), answering: AtomicUsize::new(0) };
        deadlines.allow(IDLE);
        deadlines
    }

    /// Begins a request.
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    fn allow(&self, span: Duration) {
        let end = self.began.elapsed().saturating_add(span);
        self.deadline.store(u64::try_from(end.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.deadline.load(Ordering::Relaxed))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.allow(IDLE);
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a stream is between two requests, judged by its reads and writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nothing of the next request has come.
    Between,
    /// Part of a head has come.
    InHead,
    /// Written bytes find no room.
    Stalled,
}

/// A stream that fails with `TimedOut` at its deadline.
#[derive(Debug)]
pub(crate) struct TimeoutStream<S> {
    stream: S,
    deadlines: Arc<Deadlines>,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
}

impl<S> TimeoutStream<S> {
    pub(crate) fn new(stream: S, turns: Turns) -> Self {
        let deadlines = Arc::new(Deadlines::new(turns));
        let timer = Box::pin(tokio::time::sleep_until(deadlines.deadline()));
        Self { stream, deadlines, phase: Phase::Between, timer }
    }

    /// The deadlines, for the service that answers requests.
    pub(crate) fn deadlines(&self) -> Arc<Deadlines> {
        Arc::clone(&self.deadlines)
    }

    /// Whether the deadline has passed. If not, wakes the task when it may have.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let owed_by_us = self.deadlines.is_answering() && self.phase != Phase::Stalled;
            let deadline = if owed_by_us { Instant::now() + IDLE } else { self.deadlines.deadline() };
            if deadline <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(deadline);
        }
        false
    }

    /// Sets the deadline, and resets the timer if that was set for later.
    fn allow(&mut self, span: Duration) {
        self.deadlines.allow(span);
        if self.deadlines.deadline() < self.timer.deadline() {
            let deadline = self.deadlines.deadline();
            self.timer.as_mut().reset(deadline);
        }
    }

    fn poll_pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.poll_ended(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    fn has_read(&mut self) {
        match (self.deadlines.turns, self.phase) {
            (Turns::OneByOne, Phase::Between) if !self.deadlines.is_answering() => {
                self.phase = Phase::InHead;
                self.allow(HEAD);
            }
            (Turns::OneByOne, Phase::InHead) if self.deadlines.is_answering() => self.phase = Phase::Between,
            (Turns::Interleaved, Phase::Between) => self.deadlines.allow(IDLE),
            (_, Phase::Between | Phase::InHead | Phase::Stalled) => {}
        }
    }

    /// Ends a turn: the head that is being answered was complete.
    fn has_written(&mut self) {
        if self.phase != Phase::Between {
            self.phase = Phase::Between;
            self.deadlines.allow(IDLE);
        } else if !self.deadlines.is_answering() {
            self.deadlines.allow(IDLE); // a long response is being streamed
        }
    }

    fn finds_no_room(&mut self) {
        if self.phase != Phase::Stalled {
            self.phase = Phase::Stalled;
            self.allow(WRITE);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    self.has_read();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_pending(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> TimeoutStream<S> {
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Ok(written)) => {
                self.has_written();
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.finds_no_room();
                self.poll_pending(cx)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                self.finds_no_room();
                self.poll_pending(cx)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                self.finds_no_room();
                self.poll_pending(cx)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    fn stream(turns: Turns) -> (TimeoutStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(16);
        (TimeoutStream::new(ours, turns), theirs)
    }

    /// Whole seconds until the deadline, rounded up.
    fn left<S>(stream: &TimeoutStream<S>) -> u64 {
        let left = stream.deadlines.deadline().duration_since(Instant::now());
        left.as_secs() + u64::from(left.subsec_millis() > 0)
    }

    #[tokio::test]
    async fn a_first_byte_leaves_the_time_of_a_head() {
        let (mut ours, mut theirs) = stream(Turns::OneByOne);
        assert_eq!(left(&ours), IDLE.as_secs());
        theirs.write_all(b"G").await.unwrap();
        ours.read_u8().await.unwrap();
        assert_eq!(left(&ours), HEAD.as_secs());
        ours.deadlines.deadline.store(0, Ordering::Relaxed);
        ours.timer.as_mut().reset(Instant::now());
        assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn more_bytes_of_a_head_leave_no_more_time() {
        let (mut ours, mut theirs) = stream(Turns::OneByOne);
        theirs.write_all(b"G").await.unwrap();
        ours.read_u8().await.unwrap();
        ours.deadlines.deadline.store(1, Ordering::Relaxed);
        theirs.write_all(b"E").await.unwrap();
        ours.read_u8().await.unwrap();
        assert_eq!(ours.deadlines.deadline.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_answer_begins_the_next_turn() {
        let (mut ours, mut theirs) = stream(Turns::OneByOne);
        theirs.write_all(b"G").await.unwrap();
        ours.read_u8().await.unwrap();
        let answering = ours.deadlines().answering();
        ours.deadlines.deadline.store(0, Ordering::Relaxed);
        ours.timer.as_mut().reset(Instant::now());
        let waited = std::future::poll_fn(|cx| Poll::Ready(ours.poll_ended(cx))).await;
        assert!(!waited, "while it is we who owe the answer, nothing ends");
        drop(answering);
        ours.write_all(b"ok").await.unwrap();
        assert_eq!((left(&ours), ours.phase), (IDLE.as_secs(), Phase::Between));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut ours, _theirs) = stream(Turns::OneByOne);
        let _answering = ours.deadlines().answering();
        ours.write_all(&[0; 16]).await.unwrap();
        let stalled =
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_write(cx, b"x").is_pending())).await;
        assert!(stalled);
        assert_eq!(left(&ours), WRITE.as_secs());
        ours.deadlines.deadline.store(0, Ordering::Relaxed);
        ours.timer.as_mut().reset(Instant::now());
        assert_eq!(ours.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn frames_between_requests_are_no_head() {
        let (mut ours, mut theirs) = stream(Turns::Interleaved);
        theirs.write_all(b"PING").await.unwrap();
        ours.read_u32().await.unwrap();
        assert_eq!(left(&ours), IDLE.as_secs());
    }
}
