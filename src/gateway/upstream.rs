//! Connections to instances and to the server's service endpoint, kept open between requests.
//!
//! At the other end of a Unix socket must be our own account, which made it (P7, V56). Whoever polls a request polls its connection too:
//! there is no task for it, and it ends with whoever holds it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use countersign_keys::identity::Uid;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use crate::ipc::control::{InstanceAddress, SocketAddress};
use crate::ipc::peer::Peer;

/// Idle connections kept to one upstream. More requests than this at a time to one user's instance are rare.
const IDLE_EACH_MAX: usize = 32;

/// Idle connections kept in all: a third of the descriptors that a process usually gets.
const IDLE_MAX: usize = 4_096;

/// How long one is kept. An instance closes after 120 s: it is we who close.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// How long connecting may take, on one machine.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long an upstream may take to begin its answer. The longest is a long poll of 25 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Longest head of an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamFailure {
    /// Nobody listens there.
    #[error("nobody listens there")]
    Absent,
    /// It cannot be reached, for a reason of the system's.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Somebody else's process is at the other end.
    #[error("the other end is uid {0}, not this account")]
    Stranger(Uid),
    /// The connection broke before any byte of the request went out.
    #[error("the request could not be sent")]
    NotSent(#[source] hyper::Error),
    /// The connection broke after that: what became of the request is unknown.
    #[error("the connection broke before the answer")]
    Broken(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer in time")]
    Slow,
    /// It wants to speak something else than HTTP with whoever asked.
    #[error("the answer is no answer to the request")]
    NoAnswer,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// An open connection on which nothing is under way.
pub(super) struct Connection {
    address: Arc<InstanceAddress>,
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    /// The driver has ended, and must not be polled again.
    is_over: bool,
    /// Armed anew only when it fires, so that an answer in time costs no timer.
    timer: Pin<Box<Sleep>>,
    idle_since: Instant,
}

/// The connections kept. Bounded by the constants above; age evicts.
pub(super) struct Upstreams {
    idle: Mutex<Idle>,
    own_uid: Uid,
}

#[derive(Default)]
struct Idle {
    /// By where the address is in memory: each connection holds it there, and hashing a path takes longer than all else here.
    by_address: HashMap<usize, Vec<Connection>>,
    count: usize,
}

impl Upstreams {
    /// None kept yet. `own_uid` is the account that makes the sockets: the server's, and ours.
    pub(super) fn new(own_uid: Uid) -> Self {
        Self { idle: Mutex::default(), own_uid }
    }

    /// A connection to that address: one that was kept, or another.
    pub(super) async fn connect(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        while let Some(mut kept) = self.pop(address) {
            if kept.idle_since.elapsed() < IDLE_FOR && kept.is_usable() {
                return Ok(kept);
            }
        }
        self.connect_anew(address).await
    }

    /// A connection to that address on which nothing has been sent yet.
    pub(super) async fn connect_anew(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        tokio::time::timeout(CONNECT_WITHIN, self.open(address))
            .await
            .map_err(|_elapsed| UpstreamFailure::Connect(io::ErrorKind::TimedOut.into()))?
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.by_address.retain(|_, kept| {
            kept.retain(|connection| connection.idle_since.elapsed() < IDLE_FOR);
            !kept.is_empty()
        });
        idle.count = idle.by_address.values().map(Vec::len).sum();
    }

    async fn open(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        let (sender, driver) = match &address.socket {
            SocketAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(absent_or)?;
                let peer = Peer::of(&stream).map_err(|error| UpstreamFailure::Connect(io::Error::other(error)))?;
                if peer.uid != self.own_uid {
                    return Err(UpstreamFailure::Stranger(peer.uid));
                }
                begin(stream).await?
            }
            SocketAddress::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(absent_or)?;
                stream.set_nodelay(true).map_err(UpstreamFailure::Connect)?;
                begin(stream).await?
            }
        };
        Ok(Connection {
            address: Arc::clone(address),
            sender,
            driver,
            is_over: false,
            timer: Box::pin(tokio::time::sleep(ANSWER_WITHIN)),
            idle_since: Instant::now(),
        })
    }

    fn pop(&self, address: &Arc<InstanceAddress>) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.by_address.get_mut(&place_of(address))?.pop()?;
        idle.count = idle.count.saturating_sub(1);
        Some(kept)
    }

    fn keep(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= IDLE_MAX {
            return;
        }
        let kept = idle.by_address.entry(place_of(&connection.address)).or_default();
        if kept.len() < IDLE_EACH_MAX {
            kept.push(connection);
            idle.count = idle.count.saturating_add(1);
        }
    }
}

fn place_of(address: &Arc<InstanceAddress>) -> usize {
    Arc::as_ptr(address).addr()
}

async fn begin<S>(stream: S) -> Result<(SendRequest<Full<Bytes>>, Driver), UpstreamFailure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).max_headers(64).handshake(TokioIo::new(stream));
    let (sender, driver) = handshake.await.map_err(UpstreamFailure::NotSent)?;
    Ok((sender, Box::pin(driver)))
}

fn absent_or(error: io::Error) -> UpstreamFailure {
    let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    if is_absent { UpstreamFailure::Absent } else { UpstreamFailure::Connect(error) }
}

impl Connection {
    /// Where it leads.
    pub(super) fn address(&self) -> &Arc<InstanceAddress> {
        &self.address
    }

    /// Sends a request and waits for the head of its answer. A failure to send gives the request back.
    pub(super) async fn send(
        mut self,
        upstreams: &Arc<Upstreams>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, (UpstreamFailure, Option<Request<Full<Bytes>>>)> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let answer = {
            let mut answer = std::pin::pin!(self.sender.try_send_request(request));
            let exchange = std::future::poll_fn(|cx| {
                // The answer first, then what brings it on, then the answer that this has brought.
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                if !self.is_over {
                    self.is_over = self.driver.as_mut().poll(cx).is_ready();
                }
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                while self.timer.as_mut().poll(cx).is_ready() {
                    if deadline <= Instant::now() {
                        return Poll::Ready(None);
                    }
                    self.timer.as_mut().reset(deadline);
                }
                Poll::Pending
            });
            exchange.await
        };
        match answer {
            None => Err((UpstreamFailure::Slow, None)),
            Some(Err(mut unsent)) => match unsent.take_message() {
                Some(request) => Err((UpstreamFailure::NotSent(unsent.into_error()), Some(request))),
                None => Err((UpstreamFailure::Broken(unsent.into_error()), None)),
            },
            Some(Ok(answer)) if answer.status().is_informational() => Err((UpstreamFailure::NoAnswer, None)),
            Some(Ok(answer)) => {
                let upstreams = Arc::clone(upstreams);
                Ok(answer.map(|incoming| UpstreamBody { incoming, rest: Some((self, upstreams)) }))
            }
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) {
        if !self.is_over {
            self.is_over = self.driver.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether the next request may go out on it: the other end has not closed it, and has not said anything unasked.
    fn is_usable(&mut self) -> bool {
        self.poll_over(&mut Context::from_waker(Waker::noop()));
        !self.is_over && self.sender.is_ready()
    }
}

/// The body of an upstream's answer as it comes. Read to its end, it leaves its connection for the next request.
pub(super) struct UpstreamBody {
    incoming: Incoming,
    rest: Option<(Connection, Arc<Upstreams>)>,
}

impl UpstreamBody {
    fn finish(&mut self) {
        if let Some((mut connection, upstreams)) = self.rest.take()
            && connection.is_usable()
        {
            upstreams.keep(connection);
        }
    }
}

impl hyper::body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending()
            && let Some((connection, _)) = &mut self.rest
        {
            connection.poll_over(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                if self.incoming.is_end_stream() {
                    self.finish();
                }
            }
            Poll::Ready(Some(Ok(_))) => return Poll::Ready(None), // trailers are not passed on
            Poll::Ready(Some(Err(_))) => self.rest = None,
            Poll::Ready(None) => self.finish(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish(); // an answer without a body is never polled
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    struct Upstream {
        directory: tempfile::TempDir,
        listener: UnixListener,
        upstreams: Arc<Upstreams>,
    }

    fn own_uid() -> Uid {
        Uid(nix::unistd::geteuid().as_raw())
    }

    impl Upstream {
        fn new(own_uid: Uid) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(directory.path().join("u.sock")).unwrap();
            Self { directory, listener, upstreams: Arc::new(Upstreams::new(own_uid)) }
        }

        fn address(&self) -> Arc<InstanceAddress> {
            let socket = SocketAddress::Unix(self.directory.path().join("u.sock"));
            Arc::new(InstanceAddress { uid: None, socket })
        }

        /// Sends a request over `connection` and reads the whole answer.
        async fn exchange(&self, connection: Connection) -> Bytes {
            let request = Request::post("/x").header("host", "instance").body(Full::from("hello")).unwrap();
            let answer = connection.send(&self.upstreams, request).await.map_err(|(failure, _)| failure).unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        }
    }

    /// Answers that many requests on one connection with what is given, then closes.
    async fn answer(mut stream: UnixStream, answers: &[&str]) {
        let mut heard = vec![0; 4096];
        for answer in answers {
            let length = stream.read(&mut heard).await.unwrap();
            assert!(heard[..length].starts_with(b"POST /x HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let upstream = Upstream::new(own_uid());
        let empty = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &[OK, empty, chunked, OK]).await;
        };
        let address = upstream.address();
        let asking = async {
            for want in ["{}", "", "{}", "{}"] {
                let connection = upstream.upstreams.connect(&address).await.unwrap();
                assert_eq!(upstream.exchange(connection).await, want);
                tokio::task::yield_now().await;
            }
        };
        // Were any of the four sent over a second connection, nobody would answer it.
        tokio::join!(serving, asking);
    }

    #[tokio::test]
    async fn a_closed_connection_is_not_used_again() {
        let upstream = Upstream::new(own_uid());
        let serving = async {
            for _ in 0..2 {
                let (stream, _) = upstream.listener.accept().await.unwrap();
                answer(stream, &[OK]).await;
            }
        };
        let address = upstream.address();
        let asking = async {
            for _ in 0..2 {
                let connection = upstream.upstreams.connect(&address).await.unwrap();
                assert_eq!(upstream.exchange(connection).await, "{}");
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(serving, asking);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_gives_nothing_back() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &[""]).await;
        };
        let request = Request::post("/x").header("host", "instance").body(Full::from("hello")).unwrap();
        let (_, outcome) = tokio::join!(serving, connection.send(&upstream.upstreams, request));
        let Err((UpstreamFailure::Broken(_), None)) = outcome else { panic!("broken, and not given back") };
    }

    #[tokio::test]
    async fn an_instance_does_not_switch_protocols() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &["HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]).await;
        };
        let request = Request::post("/x").header("host", "instance").body(Full::from("hello")).unwrap();
        let (_, outcome) = tokio::join!(serving, connection.send(&upstream.upstreams, request));
        assert!(matches!(outcome, Err((UpstreamFailure::NoAnswer | UpstreamFailure::Broken(_), None))));
    }

    #[tokio::test]
    async fn v56_somebody_elses_socket_is_not_talked_to() {
        let upstream = Upstream::new(Uid(own_uid().0.wrapping_add(1)));
        let outcome = upstream.upstreams.connect(&upstream.address()).await;
        assert!(matches!(outcome, Err(UpstreamFailure::Stranger(_))));
    }

    #[tokio::test]
    async fn nobody_there_is_absent() {
        let upstream = Upstream::new(own_uid());
        let address = upstream.address();
        drop(upstream.listener);
        assert!(matches!(upstream.upstreams.connect(&address).await, Err(UpstreamFailure::Absent)));
        std::fs::remove_file(upstream.directory.path().join("u.sock")).unwrap();
        assert!(matches!(upstream.upstreams.connect(&address).await, Err(UpstreamFailure::Absent)));
    }
}
