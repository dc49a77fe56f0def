//! Web pages on a loopback port, for people and browsers that try Countersign.
//!
//! Pages of other origins must not use them. A request must name this origin as its host, and a
//! request that changes something must come from a page of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Fault;

/// Larger than any body that is sent here.
const BODY_MAX: usize = 64 * 1024;

/// The body of an answer: whole, or a [`Feed`].
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The function that answers requests, whose bodies it gets complete.
pub type Pages = Arc<dyn Fn(http::Request<Bytes>) -> Answering + Send + Sync>;

/// A response in progress.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Web pages on a port. Dropping the value closes the port.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Site {
    /// Binds a loopback port that the system chooses, for pages that must know their origin before
    /// they are made.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot listen.
    pub async fn bind() -> Result<TcpListener, Fault> {
        Self::bind_at(0).await
    }

    /// Binds a loopback port; 0 lets the system choose.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot listen, for example because the port is in use.
    pub async fn bind_at(port: u16) -> Result<TcpListener, Fault> {
        Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?)
    }

    /// Serves `pages` on `listener`.
    ///
    /// # Errors
    /// [`Fault::Io`] if the listener has no address.
    pub fn serve(listener: TcpListener, pages: Pages) -> Result<Self, Fault> {
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&pages)));
            }
        });
        Ok(Self { address, accepting })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(stream: TcpStream, pages: Pages) {
    let service = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(answer(request, &pages).await) }
    });
    let _peer_may_vanish =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: http::Request<Incoming>, pages: &Pages) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => pages(http::Request::from_parts(parts, body.to_bytes())).await,
        Err(_) => json(StatusCode::BAD_REQUEST, &serde_json::json!({"why": "Unreadable"})),
    }
}

/// Whether a request names `origin` as its host and, if it may change something, comes from a page
/// of `origin`.
#[must_use]
pub fn is_own(request: &http::Request<Bytes>, origin: &str) -> bool {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let host = origin.split_once("://").map(|(_, host)| host.as_bytes());
    let is_safe = request.method() == Method::GET;
    header(HOST) == host && (is_safe || header(ORIGIN) == Some(origin.as_bytes()))
}

/// A JSON response.
#[must_use]
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    whole(status, "application/json", body.to_string())
}

/// A response with a complete body of content type `kind`.
#[must_use]
pub fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body that lasts until its sender is dropped: one chunk for each event.
#[derive(Debug)]
pub struct Feed(pub mpsc::Receiver<Bytes>);

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}
