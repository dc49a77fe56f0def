//! Connection pool to instances and to the server's service endpoint.
//!
//! The peer of a Unix socket has to be the gateway's own account, which made it (P7, V56). A
//! connection is driven by its request's future; no task is spawned.

mod body;
mod connection;
mod failure;
mod request;
mod response;
mod said;
mod send;
mod stream;
mod upgrade;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use countersign_keys::identity::Uid;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

pub(crate) use self::body::UpstreamBody;
pub(crate) use self::connection::Connection;
pub(crate) use self::failure::{NotPassedOn, UpstreamFailure};
pub(crate) use self::request::{Unwritable, UpstreamRequest, UpstreamRequestHead};
pub(crate) use self::said::{ContentRange, Said};
pub(crate) use self::stream::Stream;
pub(crate) use self::upgrade::{Switched, Switching};
use countersign_ipc::gateway_protocol::{InstanceAddress, SocketAddress};
use countersign_ipc::peer::Peer;
use countersign_ipc::tcp_proof;
use countersign_metrics::Histogram;
use countersign_os::clock::random_bytes;

/// Idle connections to one upstream. One user's instance rarely has more requests at a time.
const IDLE_EACH_MAX: usize = 32;

/// Fewest idle connections in all, however few descriptors the process gets.
const IDLE_MIN: usize = 64;

/// Descriptors for all but connections: logs, listening sockets, the control channel.
const OTHER_DESCRIPTORS: usize = 256;

/// How long a connection stays idle. An instance closes after 120 s, so the gateway closes first.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// How long connecting may take, on one machine.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// The idle connections. Bounded by `idle_max` and the constants above; evicts by age.
pub(crate) struct Upstreams {
    idle: Mutex<Idle>,
    idle_max: usize,
    own_uid: Uid,
    /// Durations until the head of an answer.
    answers: Histogram,
}

/// Idle connections in all that a process may keep: one for each active user, as far as its
/// descriptors reach. Each client's connection may need one more for its request.
pub(crate) fn idle_max(descriptors: usize, connections_max: usize) -> usize {
    let taken = connections_max.saturating_mul(2).saturating_add(OTHER_DESCRIPTORS);
    descriptors.saturating_sub(taken).max(IDLE_MIN)
}

#[derive(Default)]
struct Idle {
    /// By the address's location in memory, which each connection keeps alive. Hashing a path takes
    /// longer than all else here.
    by_address: HashMap<usize, Vec<Connection>>,
    count: usize,
    /// Addresses of instances that have ended. A weak reference keeps the location from being used
    /// again.
    gone: HashMap<usize, Weak<InstanceAddress>>,
}

impl Upstreams {
    /// `own_uid` is the account that makes the sockets: the server's and the gateway's.
    pub(crate) fn new(own_uid: Uid, idle_max: usize) -> Self {
        Self { idle: Mutex::default(), idle_max, own_uid, answers: Histogram::default() }
    }

    pub(crate) const fn answers(&self) -> &Histogram {
        &self.answers
    }

    /// A pooled connection to that address, or a new one.
    pub(crate) async fn connect(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        while let Some(kept) = self.pop(address) {
            if kept.idle_since().elapsed() < IDLE_FOR && kept.is_usable() {
                return Ok(kept);
            }
        }
        self.connect_anew(address).await
    }

    /// A new connection to that address.
    pub(crate) async fn connect_anew(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        tokio::time::timeout(CONNECT_WITHIN, self.open(address))
            .await
            .map_err(|_elapsed| UpstreamFailure::Connect(io::ErrorKind::TimedOut.into()))?
    }

    /// Closes the idle connections to an instance that ends, and keeps no other. The instance waits
    /// for that.
    pub(crate) fn close(&self, address: &Arc<InstanceAddress>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.gone.insert(place_of(address), Arc::downgrade(address));
        let closed = idle.by_address.remove(&place_of(address)).map_or(0, |kept| kept.len());
        idle.count = idle.count.saturating_sub(closed);
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.by_address.retain(|_, kept| {
            kept.retain(|connection| connection.idle_since().elapsed() < IDLE_FOR);
            !kept.is_empty()
        });
        idle.count = idle.by_address.values().map(Vec::len).sum();
        idle.gone.retain(|_, address| address.strong_count() > 0);
    }

    async fn open(&self, address: &Arc<InstanceAddress>) -> Result<Connection, UpstreamFailure> {
        let stream = match &address.socket {
            SocketAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(absent_or)?;
                let peer = Peer::of(&stream).map_err(|error| UpstreamFailure::Connect(io::Error::other(error)))?;
                if peer.uid != self.own_uid {
                    return Err(UpstreamFailure::Stranger(peer.uid));
                }
                Stream::Unix(stream)
            }
            SocketAddress::Tcp(port) => {
                let mut stream = TcpStream::connect(port).await.map_err(absent_or)?;
                stream.set_nodelay(true).map_err(UpstreamFailure::Connect)?;
                if let Some(key) = &address.key {
                    let nonce = random_bytes().map_err(|error| UpstreamFailure::Connect(io::Error::other(error)))?;
                    tcp_proof::connect(&mut stream, key, nonce).await.map_err(UpstreamFailure::Connect)?;
                }
                Stream::Tcp(stream)
            }
        };
        Ok(Connection::new(Arc::clone(address), stream))
    }

    fn pop(&self, address: &Arc<InstanceAddress>) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.by_address.get_mut(&place_of(address))?.pop()?;
        idle.count = idle.count.saturating_sub(1);
        Some(kept)
    }

    fn keep(&self, mut connection: Connection) {
        connection.rest(Instant::now());
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= self.idle_max || idle.gone.contains_key(&place_of(connection.address())) {
            return;
        }
        let kept = idle.by_address.entry(place_of(connection.address())).or_default();
        if kept.len() < IDLE_EACH_MAX {
            kept.push(connection);
            idle.count = idle.count.saturating_add(1);
        }
    }
}

fn place_of(address: &Arc<InstanceAddress>) -> usize {
    Arc::as_ptr(address).addr()
}

fn absent_or(error: io::Error) -> UpstreamFailure {
    let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    if is_absent { UpstreamFailure::Absent } else { UpstreamFailure::Connect(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use countersign_keys::call::Method;
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
            Self::keeping(own_uid, IDLE_MIN)
        }

        fn keeping(own_uid: Uid, idle_max: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(directory.path().join("u.sock")).unwrap();
            Self { directory, listener, upstreams: Arc::new(Upstreams::new(own_uid, idle_max)) }
        }

        fn address(&self) -> Arc<InstanceAddress> {
            let socket = SocketAddress::Unix(self.directory.path().join("u.sock"));
            Arc::new(InstanceAddress { uid: None, socket, key: None })
        }

        /// Sends a request over `connection` and reads the whole response.
        async fn exchange(&self, connection: Connection) -> Bytes {
            let answer = connection.send(&self.upstreams, hello()).await.map_err(|(failure, _)| failure).unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        }
    }

    fn hello() -> UpstreamRequest {
        UpstreamRequest::begin(Method::Post, "/x").body(Bytes::from_static(b"hello")).unwrap()
    }

    /// Sends the given responses on one connection, one a request, then closes.
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
        // A request on a second connection would get no response.
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

    /// An instance that ends waits until its connections are closed.
    #[tokio::test]
    async fn connections_to_an_instance_that_ends_are_closed_and_not_kept() {
        let upstream = Upstream::new(own_uid());
        let address = upstream.address();
        let (idle, busy) = (upstream.upstreams.connect(&address).await.unwrap(), upstream.upstreams.connect(&address));
        let busy = busy.await.unwrap();
        let (mut of_idle, _) = upstream.listener.accept().await.unwrap();
        let (mut of_busy, _) = upstream.listener.accept().await.unwrap();
        upstream.upstreams.keep(idle);
        upstream.upstreams.close(&address);
        assert_eq!(of_idle.read(&mut [0]).await.unwrap(), 0, "closed");
        upstream.upstreams.keep(busy);
        assert_eq!(of_busy.read(&mut [0]).await.unwrap(), 0, "closed too");
        // Another instance at the same path is another address.
        let next = upstream.address();
        upstream.upstreams.keep(upstream.upstreams.connect(&next).await.unwrap());
        assert!(upstream.upstreams.pop(&next).is_some());
        drop(address);
        upstream.upstreams.sweep();
        assert!(upstream.upstreams.idle.lock().unwrap().gone.is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_gives_nothing_back() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &[""]).await;
        };
        let (_, outcome) = tokio::join!(serving, connection.send(&upstream.upstreams, hello()));
        let Err((UpstreamFailure::Broken(_), None)) = outcome else { panic!("broken, and not given back") };
    }

    #[tokio::test]
    async fn a_connection_that_breaks_before_the_request_gives_it_back() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        drop(upstream.listener.accept().await.unwrap());
        let outcome = connection.send(&upstream.upstreams, hello()).await;
        let Err((UpstreamFailure::NotSent(_), Some(request))) = outcome else { panic!("not sent, and given back") };
        assert_eq!(request.body, "hello");
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}"]).await;
        };
        let asking = async {
            let answer = connection.send(&upstream.upstreams, hello()).await.map_err(|(failure, _)| failure).unwrap();
            answer.into_body().collect().await.map(|_| ()).unwrap_err().kind()
        };
        assert_eq!(tokio::join!(serving, asking).1, io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_follows_an_answer_is_not_taken_for_the_next_one() {
        let upstream = Upstream::new(own_uid());
        let stuffed = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let serving = async {
            let mut open = Vec::new();
            for said in [stuffed, closing, OK] {
                let (mut stream, _) = upstream.listener.accept().await.unwrap();
                stream.read_exact(&mut [0; 20]).await.unwrap();
                stream.write_all(said.as_bytes()).await.unwrap();
                open.push(stream);
            }
        };
        let address = upstream.address();
        let asking = async {
            for _ in 0..3 {
                let connection = upstream.upstreams.connect(&address).await.unwrap();
                assert_eq!(upstream.exchange(connection).await, "{}");
            }
        };
        // A connection that is used twice would get no response.
        tokio::join!(serving, asking);
    }

    #[tokio::test]
    async fn an_answer_may_come_before_the_whole_request_was_taken() {
        let upstream = Upstream::new(own_uid());
        let address = upstream.address();
        let connection = upstream.upstreams.connect(&address).await.unwrap();
        let request = UpstreamRequest::begin(Method::Post, "/x").body(Bytes::from(vec![b'x'; 8 << 20])).unwrap();
        let serving = async {
            let (mut stream, _) = upstream.listener.accept().await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream
        };
        let asking = async {
            let answer = connection.send(&upstream.upstreams, request).await.map_err(|(failure, _)| failure).unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        };
        let (_open, body) = tokio::join!(serving, asking);
        assert_eq!(body, "{}");
        assert!(upstream.upstreams.pop(&address).is_none(), "nobody knows where the rest of the request went");
    }

    #[tokio::test]
    async fn an_instance_does_not_switch_protocols() {
        let upstream = Upstream::new(own_uid());
        let connection = upstream.upstreams.connect(&upstream.address()).await.unwrap();
        let serving = async {
            let (stream, _) = upstream.listener.accept().await.unwrap();
            answer(stream, &["HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]).await;
        };
        let (_, outcome) = tokio::join!(serving, connection.send(&upstream.upstreams, hello()));
        assert!(matches!(outcome, Err((UpstreamFailure::InvalidResponse, None))));
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

    #[test]
    fn one_connection_for_each_user_is_kept_as_far_as_the_descriptors_reach() {
        assert_eq!(idle_max(65_536, 4_096), 57_088);
        assert_eq!(idle_max(1_024, 4_096), IDLE_MIN);
        assert_eq!(idle_max(usize::MAX, 200_000), usize::MAX - 400_256);
    }

    #[tokio::test]
    async fn no_more_connections_are_kept_than_there_is_room_for() {
        let upstream = Upstream::keeping(own_uid(), 2);
        let address = upstream.address();
        for kept in [1, 2, 2] {
            let connection = upstream.upstreams.connect_anew(&address).await.unwrap();
            upstream.upstreams.keep(connection);
            assert_eq!(upstream.upstreams.idle.lock().unwrap().count, kept);
        }
    }
}
