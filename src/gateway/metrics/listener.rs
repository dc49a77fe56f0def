//! Serves the metrics on a listener that the server opened for nothing else.
//!
//! Answers `GET` of `/metrics` and of health checks, and refuses all else; reads no body. Few
//! connections at a time, each for a limited time. Scrapes of one second share one text, so that a
//! program in a loop costs no more than a slow one. On a loop-back address a `Host` has to be an
//! address or `localhost`. A page in a browser of this machine could otherwise read the answer
//! under another name (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Scraped;
use countersign_config::MetricsReach;
use countersign_ipc::http::{Limits, serve_connection};
use countersign_os::descriptors::Listener;

/// Connections at a time. A collector has one, and a site a few collectors.
const CONNECTIONS_MAX: usize = 8;

/// Limits of one connection. Collectors ask every few seconds to minutes; one that asks less often
/// connects again.
const LIMITS: Limits = Limits { idle: Duration::from_secs(15), head_max: 8 * 1024, headers_max: 32 };

/// How long a connection lasts at most, however it is used.
const LIFETIME: Duration = Duration::from_secs(600);

/// How long one text serves for all scrapes.
const TEXT_FOR: Duration = Duration::from_secs(1);

/// Pause after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

/// What every connection needs.
struct Served {
    scraped: Scraped,
    reach: MetricsReach,
    /// The latest text, and when it was made. Held while the next is made: scrapes wait for it.
    text: Mutex<Option<(Instant, Bytes)>>,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: Listener, scraped: Scraped, reach: MetricsReach) -> std::io::Result<()> {
    let served = Arc::new(Served { scraped, reach, text: Mutex::default() });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => begin(stream, &served, place),
                    Err(error) => pause_after(&error).await,
                }
            }
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => begin(stream, &served, place),
                    Err(error) => pause_after(&error).await,
                }
            }
        }
    }
    Ok(())
}

fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    served: &Arc<Served>,
    place: OwnedSemaphorePermit,
) {
    let served = Arc::clone(served);
    tokio::spawn(async move {
        let service = |request| served.answer(request);
        let serving = serve_connection(stream, service, &LIMITS);
        match tokio::time::timeout(LIFETIME, serving).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "connection of a collector of metrics broke"),
        }
        drop(place);
    });
}

async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a collector of metrics");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

impl Served {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if self.reach == MetricsReach::ThisMachine && !is_local_name(&request) {
            return plain(StatusCode::FORBIDDEN, "not under this name\n");
        }
        match (request.method(), request.uri().path(), request.uri().query()) {
            (&Method::GET, "/metrics", None) => {
                let mut answer = Response::new(Full::new(self.text().await));
                let text = HeaderValue::from_static(countersign_metrics::CONTENT_TYPE);
                answer.headers_mut().insert(CONTENT_TYPE, text);
                finish(answer)
            }
            (&Method::GET | &Method::HEAD, "/healthz", None) => plain(StatusCode::OK, "ok\n"),
            (&Method::GET | &Method::HEAD, "/readyz", None) => self.readiness(),
            _ => plain(StatusCode::NOT_FOUND, "not found: the metrics are at /metrics\n"),
        }
    }

    /// A line for each check.
    fn readiness(&self) -> Answer {
        let checks = self.scraped.gateway.checks();
        let is_ready = checks.iter().all(|(_, is_passed)| *is_passed);
        let lines = checks.map(|(check, is_passed)| format!("{check} {}\n", if is_passed { "ok" } else { "FAILS" }));
        plain(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines.concat())
    }

    async fn text(&self) -> Bytes {
        let mut kept = self.text.lock().await;
        if let Some((made, text)) = &*kept
            && made.elapsed() < TEXT_FOR
        {
            return text.clone();
        }
        let text = Bytes::from(self.scraped.text().await);
        *kept = Some((Instant::now(), text.clone()));
        text
    }
}

/// Whether the request names an address or `localhost`, or nothing.
fn is_local_name(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
        return host.is_empty();
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    finish(answer)
}

fn finish(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
