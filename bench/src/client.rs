//! The load: a lean HTTP/1.1 client over TLS. It keeps its connections, reads every answer
//! completely and times it. It is lean because it shares the machine with the proxies that it
//! measures. It reads answers with a `Content-Length` or in chunks, and no others.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use httparse::Status;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;
use crate::proxy::{Name, Running};
use crate::workload::Workload;

/// Holds an answer's head and kilobyte without growing.
const BUFFER_BYTES: usize = 8 * 1024;
/// No proxy here answers with more. A longer answer is not the dummy's.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// nginx sends some ten.
const HEADERS_MAX: usize = 64;
/// How much of a wrong answer's body an error shows.
const BODY_SHOWN_BYTES: usize = 300;

/// Twice the time for which a new replay log refuses to vouch, plus a margin.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(15);
const SETTLE_POLL: Duration = Duration::from_millis(100);

/// Opens connections that trust only the run's certificate.
pub(crate) struct Client {
    http1: TlsConnector,
    http2: TlsConnector,
    host: ServerName<'static>,
}

/// One open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// An answer. Its body is borrowed from the connection until the next request, unless it came in
/// chunks.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
}

/// What every answer must be.
#[derive(Clone)]
pub(crate) struct Want {
    pub(crate) status: u16,
    /// Absent if any is accepted.
    pub(crate) body: Option<Bytes>,
}

impl Want {
    /// Checks an answer of that proxy's.
    pub(crate) fn check(&self, proxy: Name, status: u16, body: &[u8]) -> Result<(), BenchError> {
        if status == self.status && self.body.as_ref().is_none_or(|wanted| wanted == body) {
            return Ok(());
        }
        let shown = body.get(..BODY_SHOWN_BYTES).unwrap_or(body);
        Err(BenchError::Unexpected { proxy, status, body: String::from_utf8_lossy(shown).into_owned() })
    }
}

/// The durations of the answers, and the total time.
pub(crate) struct Timing {
    pub(crate) latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl Client {
    pub(crate) fn trusting(certificate: &CertificateDer<'static>) -> Result<Self, BenchError> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let [http1, http2] = ["http/1.1", "h2"].map(|protocol| {
            config.alpn_protocols = vec![protocol.into()];
            TlsConnector::from(Arc::new(config.clone()))
        });
        let host = ServerName::try_from("localhost").map_err(|_| BenchError::Empty("a host to connect to"))?;
        Ok(Self { http1, http2, host })
    }

    pub(crate) async fn connect(&self, proxy: &Running) -> Result<Connection, BenchError> {
        let stream = self.shake_hands(&self.http1, proxy).await?;
        Ok(Connection { stream, received: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// A connection for HTTP/2, on which nothing was sent yet.
    pub(crate) async fn connect_http2(&self, proxy: &Running) -> Result<TlsStream<TcpStream>, BenchError> {
        self.shake_hands(&self.http2, proxy).await
    }

    async fn shake_hands(&self, connector: &TlsConnector, proxy: &Running) -> Result<TlsStream<TcpStream>, BenchError> {
        let stream = TcpStream::connect(proxy.address()).await.map_err(BenchError::io("connecting to a proxy"))?;
        stream.set_nodelay(true).map_err(BenchError::io("connecting to a proxy"))?;
        connector.connect(self.host.clone(), stream).await.map_err(BenchError::io("TLS handshake with a proxy"))
    }

    /// Opens this many connections, and sends one good request on each before it opens the next: of
    /// clients that have shown nothing, Countersign lets one address have only some.
    pub(crate) async fn connect_all(
        &self,
        proxy: &Running,
        count: usize,
        workload: &Workload,
    ) -> Result<Vec<Connection>, BenchError> {
        let want = Want { status: 200, body: None };
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = self.connect(proxy).await?;
            let answer = connection.exchange(&workload.request_of(&workload.first)?).await?;
            want.check(proxy.name(), answer.status, &answer.body)?;
            connections.push(connection);
        }
        Ok(connections)
    }
}

impl Connection {
    /// The TLS version and cipher suite of the connection.
    pub(crate) fn protection(&self) -> String {
        let (_, session) = self.stream.get_ref();
        format!("{:?} {:?}", session.protocol_version(), session.negotiated_cipher_suite().map(|suite| suite.suite()))
            .replace("Some(", "")
            .replace(')', "")
    }

    /// Waits until a good request is answered with 200. Starts the first user's instance if there
    /// is none. A new replay log cannot know which intents were used before. So it refuses those
    /// signed until then and, because clocks differ, for a few seconds after.
    pub(crate) async fn settle(&mut self, workload: &Workload) -> Result<(), BenchError> {
        let begun = Instant::now();
        loop {
            let answer = self.exchange(&workload.request_of(&workload.first)?).await?;
            match answer.status {
                200 => return Ok(()),
                status if begun.elapsed() > SETTLE_MAX => {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(BenchError::Unexpected { proxy: Name::Countersign, status, body });
                }
                449 => {
                    self.exchange(&workload.init()).await?;
                }
                _ => {}
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Sends one rendered request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("sending a request"))?;
        self.received.clear();
        let (status, body) = loop {
            let read = self.stream.read_buf(&mut self.received).await.map_err(BenchError::io("reading an answer"))?;
            if read == 0 {
                return Err(BenchError::Answer("the connection ended early"));
            }
            if let Some(found) = parse(&self.received)? {
                break found;
            }
        };
        let body = match body {
            Body::At(range) => Cow::Borrowed(self.received.get(range).unwrap_or_default()),
            Body::Joined(body) => Cow::Owned(body),
        };
        Ok(Answer { status, body })
    }
}

/// The body of a complete answer.
#[derive(Debug, Eq, PartialEq)]
enum Body {
    /// As it was received.
    At(Range<usize>),
    /// In chunks, which are joined here.
    Joined(Vec<u8>),
}

/// Status and body of a complete answer; `None` if it is incomplete.
fn parse(received: &[u8]) -> Result<Option<(u16, Body)>, BenchError> {
    if received.len() > ANSWER_MAX_BYTES {
        return Err(BenchError::Answer("too long"));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(received).map_err(|_| BenchError::Answer("a malformed head"))?;
    let Status::Complete(begin) = parsed else { return Ok(None) };
    let status = head.code.ok_or(BenchError::Answer("no status"))?;
    let value_of = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    if value_of("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        let body = join_chunks(received.get(begin..).unwrap_or_default())?;
        return Ok(body.map(|body| (status, Body::Joined(body))));
    }
    let length: usize = value_of("content-length")
        .and_then(|length| length.parse().ok())
        .ok_or(BenchError::Answer("neither a Content-Length nor chunks"))?;
    let end = begin.saturating_add(length);
    Ok((received.len() >= end).then_some((status, Body::At(begin..end))))
}

/// The chunks of a body (RFC 9112 §7.1), joined; `None` if the last is missing. No proxy here sends
/// trailers.
fn join_chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, BenchError> {
    let malformed = || BenchError::Answer("malformed chunks");
    let mut body = Vec::new();
    loop {
        let Status::Complete((begin, length)) = httparse::parse_chunk_size(rest).map_err(|_| malformed())? else {
            return Ok(None);
        };
        let end = begin.saturating_add(usize::try_from(length).map_err(|_| malformed())?);
        let next = end.saturating_add(2);
        let (Some(chunk), Some(line_end)) = (rest.get(begin..end), rest.get(end..next)) else { return Ok(None) };
        if line_end != b"\r\n" {
            return Err(malformed());
        }
        if chunk.is_empty() {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        rest = rest.get(next..).unwrap_or_default();
    }
}

/// Sends `requests` over `connections`, each connection one at a time, and checks every answer
/// against `want`.
pub(crate) async fn drive(
    proxy: &Running,
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
    want: Want,
) -> Result<(Vec<Connection>, Timing), BenchError> {
    let tasks = LocalSet::new();
    let total = requests.len();
    let (requests, next) = (Rc::new(requests), Rc::new(Cell::new(0_usize)));
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(total)));
    let begun = Instant::now();
    let mut workers = Vec::new();
    for mut connection in connections {
        let (name, requests, next, latencies, want) =
            (proxy.name(), Rc::clone(&requests), Rc::clone(&next), Rc::clone(&latencies), want.clone());
        workers.push(tasks.spawn_local(async move {
            while let Some(request) = requests.get(next.replace(next.get().saturating_add(1))) {
                let sent = Instant::now();
                let answer = connection.exchange(request).await?;
                want.check(name, answer.status, &answer.body)?;
                latencies.borrow_mut().push(sent.elapsed());
            }
            Ok::<_, BenchError>(connection)
        }));
    }
    let kept = tasks
        .run_until(async {
            let mut kept = Vec::new();
            for worker in workers {
                kept.push(worker.await.map_err(|_| BenchError::Empty("a connection's task ended"))??);
            }
            Ok::<_, BenchError>(kept)
        })
        .await?;
    Ok((kept, Timing { latencies: latencies.take(), elapsed: begun.elapsed() }))
}

#[cfg(test)]
mod tests {
    use super::{Body, parse};

    fn check(received: &str, want: Option<(u16, Body)>) {
        assert_eq!(parse(received.as_bytes()).unwrap(), want, "{received:?}");
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        check("", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", None);
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, Body::At(38..40))));
        check("HTTP/1.1 482 \r\ncontent-length:0\r\n\r\n", Some((482, Body::At(35..35))));
    }

    #[test]
    fn chunks_are_joined_when_the_last_has_come() {
        let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\n[{\r\n3;x=y\r\n\r\n}\r\n1\r\n]\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            check(&whole[..end], None);
        }
        check(whole, Some((200, Body::Joined(b"[{\r\n}]".to_vec()))));
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for received in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}}\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(parse(received.as_bytes()).is_err(), "{received:?}");
        }
    }
}
