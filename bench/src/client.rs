//! The load: a lean HTTP/1.1 client over TLS. It keeps its connections, reads every answer
//! completely and times it. It is lean because it shares the machine with the proxies that it
//! measures. It reads only answers with a `Content-Length`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;
use crate::proxy::Running;
use crate::workload::Workload;

/// Holds an answer's head and kilobyte without growing.
const BUFFER_BYTES: usize = 8 * 1024;
/// No proxy here answers with more. A longer answer is not the dummy's.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// How much of a wrong answer's body an error shows.
const BODY_SHOWN_BYTES: usize = 300;

/// Twice the time for which a new replay log refuses to vouch, plus a margin.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(15);
const SETTLE_POLL: Duration = Duration::from_millis(100);

/// Opens connections that trust only the run's certificate.
pub(crate) struct Client {
    connector: TlsConnector,
    host: ServerName<'static>,
}

/// One open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// An answer, its body borrowed from the connection until the next request.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// What every answer must be.
#[derive(Clone)]
pub(crate) struct Want {
    pub(crate) status: u16,
    /// Absent if any is accepted.
    pub(crate) body: Option<Bytes>,
}

impl Want {
    fn is_met_by(&self, answer: &Answer<'_>) -> bool {
        answer.status == self.status && self.body.as_ref().is_none_or(|body| body == answer.body)
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
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = ServerName::try_from("localhost").map_err(|_| BenchError::Empty("a host to connect to"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    pub(crate) async fn connect(&self, proxy: &Running) -> Result<Connection, BenchError> {
        let stream = TcpStream::connect(proxy.address()).await.map_err(BenchError::io("connecting to a proxy"))?;
        stream.set_nodelay(true).map_err(BenchError::io("connecting to a proxy"))?;
        let stream = self
            .connector
            .connect(self.host.clone(), stream)
            .await
            .map_err(BenchError::io("TLS handshake with a proxy"))?;
        Ok(Connection { stream, received: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Opens this many connections.
    pub(crate) async fn connect_all(&self, proxy: &Running, count: usize) -> Result<Vec<Connection>, BenchError> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect(proxy).await?);
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

    /// Waits until a good request is answered with 200. A new replay log cannot know which intents
    /// were used before. So it refuses those signed until then and, because clocks differ, for a
    /// few seconds after.
    pub(crate) async fn settle(&mut self, workload: &Workload) -> Result<(), BenchError> {
        let begun = Instant::now();
        while self.exchange(&workload.request_of(&workload.first)?).await?.status != 200 && begun.elapsed() < SETTLE_MAX
        {
            tokio::time::sleep(SETTLE_POLL).await;
        }
        Ok(())
    }

    /// Sends one rendered request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("sending a request"))?;
        self.received.clear();
        let (status, begin, end) = loop {
            let read = self.stream.read_buf(&mut self.received).await.map_err(BenchError::io("reading an answer"))?;
            if read == 0 {
                return Err(BenchError::Answer("the connection ended early"));
            }
            if let Some(found) = parse(&self.received)? {
                break found;
            }
        };
        let body = self.received.get(begin..end).ok_or(BenchError::Answer("bytes after its end"))?;
        Ok(Answer { status, body })
    }
}

/// Status, and begin and end of the body, of a complete answer; `None` if it is incomplete.
fn parse(received: &[u8]) -> Result<Option<(u16, usize, usize)>, BenchError> {
    if received.len() > ANSWER_MAX_BYTES {
        return Err(BenchError::Answer("too long"));
    }
    let Some(head_end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = received.get(..head_end).and_then(|head| std::str::from_utf8(head).ok());
    let mut lines = head.ok_or(BenchError::Answer("its head is not text"))?.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|word| word.parse().ok())
        .ok_or(BenchError::Answer("no status"))?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or(BenchError::Answer("no Content-Length"))?;
    let begin = head_end.saturating_add(4);
    let end = begin.saturating_add(length);
    Ok((received.len() >= end).then_some((status, begin, end)))
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
                if !want.is_met_by(&answer) {
                    let shown = answer.body.get(..BODY_SHOWN_BYTES).unwrap_or(answer.body);
                    let body = String::from_utf8_lossy(shown).into_owned();
                    return Err(BenchError::Unexpected { proxy: name, status: answer.status, body });
                }
                latencies.borrow_mut().push(sent.elapsed());
            }
            Ok(connection)
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
    use super::parse;

    fn check(received: &str, want: Option<(u16, usize, usize)>) {
        assert_eq!(parse(received.as_bytes()).unwrap(), want, "{received:?}");
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        check("", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", None);
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, 38, 40)));
        check("HTTP/1.1 482 \r\ncontent-length:0\r\n\r\n", Some((482, 35, 35)));
    }

    #[test]
    fn an_answer_without_a_length_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
