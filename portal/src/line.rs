//! HTTP toward the provider as Go's client speaks it. Over TLS it uses one HTTP/2 connection if the
//! provider offers it; otherwise it keeps and reuses HTTP/1.1 connections.
//!
//! It accepts only certificates of the one test authority that its caller names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Fault;

/// The ALPN name of HTTP/2.
const H2: &[u8] = b"h2";

/// Maximum of kept connections. Core's own client keeps up to 100 for each host.
const IDLE_MAX: usize = 100;

/// The address of the provider, and its TLS parameters.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    authority: String,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    name: ServerName<'static>,
    /// For HTTP/1.1 without ALPN: WebSockets, and bytes that no HTTP library writes.
    bare: TlsConnector,
    /// Offers HTTP/2 and HTTP/1.1 by ALPN.
    offering: TlsConnector,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Endpoint({} at {})", self.authority, self.address)
    }
}

impl Endpoint {
    /// Plain HTTP to a loopback address.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, authority: address.to_string(), tls: None }
    }

    /// Plain HTTP to a loopback address, with a host name in place of the address.
    #[must_use]
    pub fn plain_at(address: SocketAddr, name: &str) -> Self {
        Self { authority: format!("{name}:{}", address.port()), ..Self::plain(address) }
    }

    /// TLS to `address`. The certificate must be for `name` and chain to `authority_pem`.
    ///
    /// # Errors
    /// [`Fault::Certificate`] or [`Fault::Tls`] for an unusable name or certificate.
    pub fn tls(address: SocketAddr, name: &str, authority_pem: &str) -> Result<Self, Fault> {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority_pem.as_bytes())
            .map_err(|why| Fault::Certificate(why.to_string()))?;
        roots.add(root)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let bare = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut offering = bare.clone();
        offering.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        let name_there = ServerName::try_from(name.to_owned()).map_err(|why| Fault::Certificate(why.to_string()))?;
        Ok(Self {
            address,
            authority: format!("{name}:{}", address.port()),
            tls: Some(Tls { name: name_there, bare: Arc::new(bare).into(), offering: Arc::new(offering).into() }),
        })
    }

    /// `https://name:port` or `http://address:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// Sends these bytes on a new connection and returns the bytes that arrive until the provider
    /// closes it or `patience` ends. For requests that no HTTP library writes.
    ///
    /// # Errors
    /// [`Fault::Io`] if the connection fails. A later cut of the connection is not an error.
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

    /// Opens a new connection.
    ///
    /// # Errors
    /// [`Fault::Io`] if the connection fails.
    pub async fn open(&self) -> Result<Box<dyn Stream>, Fault> {
        let tcp = self.connect().await?;
        Ok(match &self.tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(tls.bare.connect(tls.name.clone(), tcp).await?),
        })
    }

    async fn connect(&self) -> Result<TcpStream, Fault> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// A byte stream, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A complete response of the provider.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: http::HeaderMap,
    /// The body's bytes as received.
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON, decompressed as Core's client does; null if it is not JSON.
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

    /// The member `errorCode` of a refusal, or `""`.
    #[must_use]
    pub fn error_code(&self) -> String {
        self.text("errorCode")
    }

    /// A header's value, or `""`.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether Core accepts it as a success: status 2xx with a JSON body.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status) && !self.json().is_null()
    }

    pub(crate) fn unexpected(&self, what: &'static str) -> Fault {
        let body = String::from_utf8_lossy(&self.bytes).into_owned();
        Fault::Unexpected { what, status: self.status, body }
    }
}

/// The kept connections to one [`Endpoint`].
#[derive(Debug)]
pub struct Line {
    endpoint: Endpoint,
    patience: Duration,
    /// Idle HTTP/1.1 connections, at most [`IDLE_MAX`]; a closed one is removed when it is next
    /// used.
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
    /// The HTTP/2 connection. The lock is held while it is made, so that there is only one.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

/// A connection for the next request.
enum Way {
    /// For one request at a time; the flag says whether it was kept from an earlier request.
    Alone(http1::SendRequest<Full<Bytes>>, bool),
    /// For concurrent requests; the flag as above.
    Shared(http2::SendRequest<Full<Bytes>>, bool),
}

impl Line {
    /// Makes a line on which every response must arrive within `patience`.
    #[must_use]
    pub fn new(endpoint: Endpoint, patience: Duration) -> Self {
        Self { endpoint, patience, idle: Mutex::new(Vec::new()), shared: tokio::sync::Mutex::new(None) }
    }

    /// The provider's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A line to the same endpoint with another limit and without connections.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self::new(self.endpoint.clone(), patience)
    }

    /// Sends a request, whose URI is a path, and reads the complete response.
    ///
    /// # Errors
    /// [`Fault::Late`], or the error of the connection.
    pub async fn send(&self, request: http::Request<Full<Bytes>>) -> Result<Answer, Fault> {
        tokio::time::timeout(self.patience, self.exchange(request)).await.map_err(|_| Fault::Late(self.patience))?
    }

    async fn exchange(&self, mut request: http::Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let path = request.uri().clone();
        let is_handshake = request.headers().contains_key(http::header::UPGRADE);
        loop {
            let (sent, kept) = match self.way(is_handshake).await? {
                Way::Alone(mut sender, kept) => {
                    if kept && sender.ready().await.is_err() {
                        continue;
                    }
                    *request.uri_mut() = path.clone();
                    let host = http::HeaderValue::from_str(&self.endpoint.authority).map_err(http::Error::from)?;
                    request.headers_mut().insert(http::header::HOST, host);
                    let sent = sender.try_send_request(request).await;
                    if let Ok(response) = sent {
                        let answer = read(response).await?;
                        self.keep(sender);
                        return Ok(answer);
                    }
                    (sent, kept)
                }
                Way::Shared(mut sender, kept) => {
                    *request.uri_mut() =
                        format!("https://{}{path}", self.endpoint.authority).parse().map_err(http::Error::from)?;
                    request.headers_mut().remove(http::header::HOST);
                    (sender.try_send_request(request).await, kept)
                }
            };
            match sent {
                Ok(response) => return read(response).await,
                // The provider closed a kept connection before the request was sent: retry, as Go
                // does.
                Err(mut unsent) => match unsent.take_message() {
                    Some(whole) if kept => request = whole,
                    _ => return Err(unsent.into_error().into()),
                },
            }
        }
    }

    /// A WebSocket handshake uses a new HTTP/1.1 connection.
    async fn way(&self, is_handshake: bool) -> Result<Way, Fault> {
        if is_handshake {
            return alone(self.endpoint.open().await?).await;
        }
        let Some(tls) = &self.endpoint.tls else {
            return match self.take_idle() {
                Some(sender) => Ok(Way::Alone(sender, true)),
                None => alone(self.endpoint.connect().await?).await,
            };
        };
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Way::Shared(sender.clone(), true));
        }
        if let Some(sender) = self.take_idle() {
            return Ok(Way::Alone(sender, true));
        }
        let stream = tls.offering.connect(tls.name.clone(), self.endpoint.connect().await?).await?;
        if stream.get_ref().1.alpn_protocol() != Some(H2) {
            return alone(stream).await;
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        *shared = Some(sender.clone());
        Ok(Way::Shared(sender, false))
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: http1::SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }
}

async fn alone(stream: impl Stream + 'static) -> Result<Way, Fault> {
    let (sender, connection) = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Way::Alone(sender, false))
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Answer, Fault> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
}
