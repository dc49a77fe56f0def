//! Accepts connections and serves HTTP on them, within connection limits and timeouts.
//!
//! Over TLS: HTTP/1.1 and HTTP/2, chosen by ALPN. Without TLS: HTTP/1.1 on the loop-back interface
//! only.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::exchange::Exchange;
use crate::http1::message_filter::MessageFilter;
use crate::http1::paced_stream::PacedStream;
use crate::http1::request_syntax::{HEAD_MAX, HEADERS_MAX};
use crate::http1::timeouts::{TimeoutStream, Turns};
use crate::http1::upgrade::{self, PendingUpgrade};
use crate::limits::connections::{ClientConnection, ConnectionTable};
use crate::response::Transport;
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::tls::H2;
use countersign_os::lingering_stream::LingeringStream;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after a failed `accept`, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Read buffer of a connection, in bytes: a head, and the part of a body that came with it.
const BUFFER_MAX: usize = 2 * HEAD_MAX;

/// Longest body that has arrived by the time its request is refused, in bytes. The rest of a longer
/// one may still be unread, so no request can follow it on HTTP/1.1: the response has `Connection:
/// close`.
const BODY_AHEAD_MAX: u64 = 8 * 1024;

/// Longest HTTP/2 header list as RFC 9113 counts it, with 32 bytes for each header. A list between
/// the limit of heads and this one gets a response with a body.
const LIST_MAX: u32 = 64 * 1024;

/// Concurrent requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Streams that a client may reset before they were handled (CVE-2023-44487), and that the gateway
/// may reset for the client's errors (CVE-2025-8671).
const RESETS_MAX: usize = 32;

/// Bytes of a body that a stream, and a connection, may send unrequested.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Interval of HTTP/2 pings on a silent connection, and how long the client has to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) connections: Arc<ConnectionTable>,
    /// `None` without TLS, on the loop-back interface only.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Turns true when no further request is taken.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Accepts connections until `stop` turns true.
pub(crate) async fn accept(listener: TcpListener, mut acceptor: Acceptor) {
    let mut stop = acceptor.stop.clone();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    acceptor.open(stream, from);
                    // Open connections have their turn before the next is accepted, however many
                    // wait.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown_requested(&mut stop) => {}
    }
}

impl Acceptor {
    fn open(&mut self, stream: TcpStream, from: SocketAddr) {
        // Beyond its limits a connection is closed unread: a response would take the resource that
        // is short.
        let Some(client) = self.connections.take(from.ip()) else {
            tracing::debug!(%from, "refused connection: every place is Core's");
            return;
        };
        let acceptor = self.clone();
        tokio::spawn(async move {
            let serving = acceptor.serve(stream, Arc::clone(&client));
            let outcome = tokio::select! {
                outcome = serving => outcome,
                () = client.is_needed() => {
                    tracing::debug!(%from, "ended connection: its place is needed");
                    return;
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%from, %error, "connection failed");
            }
        });
    }

    async fn serve(self, stream: TcpStream, client: Arc<ClientConnection>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream = LingeringStream::new(stream);
        match self.tls.clone() {
            None => self.serve_http1(stream, Transport::LoopBack, client).await,
            Some(tls) => {
                client.may_shake_hands().await;
                let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
                let stream = handshake.map_err(|_elapsed| io::ErrorKind::TimedOut)??;
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                if !is_h2 {
                    return self.serve_http1(stream, Transport::Tls, client).await;
                }
                self.serve_http2(stream, Transport::Tls, client).await
            }
        }
    }

    /// `place` is freed when the connection ends, or the socket that it becomes.
    pub(crate) async fn serve_http1<S>(
        self,
        stream: S,
        transport: Transport,
        client: Arc<ClientConnection>,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let whole = Arc::clone(&client);
        let stream = TimeoutStream::new(stream, Turns::OneByOne);
        let deadlines = stream.deadlines();
        let stream = MessageFilter::new(stream);
        let (gateway, refused, passage) = (Arc::clone(&self.gateway), stream.refused(), stream.passage());
        // Outside the message filter, which passes one message at a time.
        let stream = PacedStream::new(stream, Arc::clone(&client), Turns::OneByOne);
        let stop = self.stop.clone();
        let served = AtomicU64::new(0);
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, answering) = (Arc::clone(&gateway), deadlines.answering());
            let rejection = refused.stands_for(request.method());
            let is_long = request.body().size_hint().upper().is_none_or(|length| length > BODY_AHEAD_MAX);
            let client = Arc::clone(&client);
            let number = served.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let pending = upgrade::is_asked(request.headers()).then(|| PendingUpgrade {
                passage: passage.clone(),
                number,
                stop: stop.clone(),
                client: Arc::clone(&client),
            });
            async move {
                let mut answer = match (rejection, pending) {
                    (Some(rejection), _) => {
                        Exchange::new(&gateway, &client).answer_rejected(rejection, transport).await
                    }
                    (None, None) => Exchange::new(&gateway, &client).answer(request, transport).await,
                    // Takes `answering` along: a socket has its own timeouts.
                    (None, Some(pending)) => {
                        return Ok(Exchange::new(&gateway, &client)
                            .upgrade(request, pending, answering, transport)
                            .await);
                    }
                };
                drop(answering);
                if is_long && !answer.status().is_success() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http1 = http1::Builder::new();
        // The timeouts of heads come from `deadlines`, which tells an idle connection from a slow
        // head; their syntax was checked by the message filter. These limits are a second barrier.
        http1.header_read_timeout(None).max_headers(HEADERS_MAX).max_header_size(HEAD_MAX).max_buf_size(BUFFER_MAX);
        let connection = http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
        self.until_its_end(connection, &whole, http1::UpgradeableConnection::graceful_shutdown).await
    }

    async fn serve_http2<S>(self, stream: S, transport: Transport, client: Arc<ClientConnection>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let whole = Arc::clone(&client);
        let stream = TimeoutStream::new(stream, Turns::Interleaved);
        let deadlines = stream.deadlines();
        let stream = PacedStream::new(stream, Arc::clone(&client), Turns::Interleaved);
        let gateway = Arc::clone(&self.gateway);
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, answering, client) = (Arc::clone(&gateway), deadlines.answering(), Arc::clone(&client));
            if client.is_strangers() {
                client.has_sent(); // one piece may have held many
            }
            async move {
                let answer = Exchange::new(&gateway, &client).answer(request, transport).await;
                drop(answering);
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(LIST_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(RESETS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFER_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        let connection = http2.serve_connection(TokioIo::new(stream), service);
        self.until_its_end(connection, &whole, http2::Connection::graceful_shutdown).await
    }

    /// Serves a connection until it ends. On shutdown, or when its place is told to finish, calls
    /// `finish` and completes the requests under way.
    async fn until_its_end<C>(
        mut self,
        connection: C,
        client: &Arc<ClientConnection>,
        finish: impl FnOnce(Pin<&mut C>),
    ) -> io::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            biased;
            outcome = connection.as_mut() => outcome,
            () = async { tokio::select! { () = shutdown_requested(&mut self.stop) => {}, () = client.is_finished() => {} } } => {
                finish(connection.as_mut());
                connection.await
            }
        };
        outcome.map_err(|error| self.broke(error, client))
    }

    /// Records a parse error of hyper behind the message filter, which hyper has answered.
    fn broke(&self, error: hyper::Error, client: &Arc<ClientConnection>) -> io::Error {
        if error.is_parse() {
            Exchange::new(&self.gateway, client).record_no_request(&format!("head: {error}"));
        }
        io::Error::other(error)
    }
}
