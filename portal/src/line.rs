//! HTTP/1.1 toward the provider, with connections kept open and used again as Go's client does it.
//!
//! Certificates are believed only if they chain to the one test authority that the caller names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Fault;

/// Connections kept for the next request; Core's own client keeps up to 100 a host.
const IDLE_MAX: usize = 100;

/// Where the provider is, and how to speak to it.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Endpoint({} at {})", self.authority, self.address)
    }
}

impl Endpoint {
    /// Plain HTTP to a loop-back address.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, authority: address.to_string(), tls: None }
    }

    /// The same, known by a name and not by its address.
    #[must_use]
    pub fn plain_at(address: SocketAddr, name: &str) -> Self {
        Self { authority: format!("{name}:{}", address.port()), ..Self::plain(address) }
    }

    /// TLS to `address`, whose certificate must be `name`'s and chain to `authority_pem`.
    ///
    /// # Errors
    /// [`Fault::Certificate`] or [`Fault::Tls`] for an unusable name or certificate.
    pub fn tls(address: SocketAddr, name: &str, authority_pem: &str) -> Result<Self, Fault> {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority_pem.as_bytes())
            .map_err(|why| Fault::Certificate(why.to_string()))?;
        roots.add(root)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(name.to_owned()).map_err(|why| Fault::Certificate(why.to_string()))?;
        Ok(Self {
            address,
            authority: format!("{name}:{}", address.port()),
            tls: Some((TlsConnector::from(Arc::new(config)), server)),
        })
    }

    /// `https://name:port` or `http://address:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// Sends these very bytes on a connection of their own and returns what comes back until the other side
    /// closes or `patience` is over: for requests that no HTTP library would write.
    ///
    /// # Errors
    /// [`Fault::Io`] where no connection comes about. One that is cut in the middle is no fault.
    pub async fn raw(&self, bytes: &[u8], patience: Duration) -> Result<Vec<u8>, Fault> {
        let mut stream = self.open().await?;
        let mut answer = Vec::new();
        let talk = async {
            stream.write_all(bytes).await?;
            stream.flush().await?;
            stream.read_to_end(&mut answer).await
        };
        let _cut_or_late = tokio::time::timeout(patience, talk).await;
        Ok(answer)
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// [`Fault::Io`] where none comes about.
    pub async fn open(&self) -> Result<Box<dyn Stream>, Fault> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
        })
    }
}

/// Bytes both ways, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the provider answered, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: http::HeaderMap,
    /// The body's bytes, as they came.
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none. What was compressed is read as Core's own client would.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let read = match self.header("content-encoding") {
            "gzip" => serde_json::from_reader(flate2::read::GzDecoder::new(self.bytes.as_ref())),
            _ => serde_json::from_slice(&self.bytes),
        };
        read.unwrap_or(serde_json::Value::Null)
    }

    /// A string member of the body, or `""`.
    #[must_use]
    pub fn text(&self, member: &str) -> String {
        self.json().get(member).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    }

    /// The machine-readable class of a refusal, or `""`.
    #[must_use]
    pub fn error_code(&self) -> String {
        self.text("errorCode")
    }

    /// A header's value, or `""`.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether Core would take it for a success: 2xx, and with JSON in it.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status) && !self.json().is_null()
    }

    pub(crate) fn unexpected(&self, what: &'static str) -> Fault {
        let body = String::from_utf8_lossy(&self.bytes).into_owned();
        Fault::Unexpected { what, status: self.status, body }
    }
}

/// Kept connections to one [`Endpoint`].
#[derive(Debug)]
pub struct Line {
    endpoint: Endpoint,
    patience: Duration,
    /// Owned by this line; at most [`IDLE_MAX`], a dead one leaves when it is next taken.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Line {
    /// A line on which every request must be answered within `patience`.
    #[must_use]
    pub fn new(endpoint: Endpoint, patience: Duration) -> Self {
        Self { endpoint, patience, idle: Mutex::new(Vec::new()) }
    }

    /// The other end.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same, with another patience and no connections yet.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self::new(self.endpoint.clone(), patience)
    }

    /// Sends a request, whose URI is a path, and reads the whole answer.
    ///
    /// # Errors
    /// [`Fault::Late`], or what the connection died of.
    pub async fn send(&self, request: http::Request<Full<Bytes>>) -> Result<Answer, Fault> {
        tokio::time::timeout(self.patience, self.exchange(request)).await.map_err(|_| Fault::Late(self.patience))?
    }

    async fn exchange(&self, mut request: http::Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let host = http::HeaderValue::from_str(&self.endpoint.authority).map_err(http::Error::from)?;
        request.headers_mut().insert(http::header::HOST, host);
        loop {
            let (mut sender, kept) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.dial().await?, false),
            };
            if kept && sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let bytes = body.collect().await?.to_bytes();
                    self.keep(sender);
                    return Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes });
                }
                // Given back unsent, because the other side had closed a kept connection: Go tries again too.
                Err(mut unsent) => match unsent.take_message() {
                    Some(whole) if kept => request = whole,
                    _ => return Err(unsent.into_error().into()),
                },
            }
        }
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let stream = TokioIo::new(self.endpoint.open().await?);
        let (sender, connection) = http1::Builder::new().title_case_headers(true).handshake(stream).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }
}
