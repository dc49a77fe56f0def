//! HTTP/1.1 over local sockets, as served by the server and the instances.
//!
//! Serves a connection within limits and replies in JSON. Authenticates no client: `SO_PEERCRED`
//! and the verifier do.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};

use super::error_code::{ErrorCode, Reply};
use countersign_os::lingering_stream::LingeringStream;

/// Limits of a local connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may be idle, or take to send a head.
    pub idle: Duration,
    /// Bytes of a request head.
    pub head_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
}

impl Limits {
    /// For clients on this machine. The idle time is longer than a connection stays in the
    /// gateway's pool, so that the gateway closes first. The head holds an intent of 16 KiB, Core's
    /// token and their names.
    pub const LOCAL: Self = Self { idle: Duration::from_secs(120), head_max: 32 * 1024, headers_max: 64 };
}

/// Serves one connection until its end, upgrades included.
pub async fn serve_connection<S, H, F, B>(stream: S, service: H, limits: &Limits) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = hyper::service::service_fn(|request| {
        let reply = service(request);
        async { Ok::<_, Infallible>(reply.await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits.headers_max)
        .max_header_size(limits.head_max)
        .max_buf_size(limits.head_max.saturating_mul(2).max(8192)) // hyper's minimum
        .serve_connection(TokioIo::new(LingeringStream::new(stream)), service)
        .with_upgrades()
        .await
}

/// A JSON response; 503 if `content` cannot be serialised.
pub fn json_reply<T: Serialize>(status: StatusCode, content: &T) -> Reply {
    let body = match serde_json::to_vec(content) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "cannot serialise reply");
            return ErrorCode::Unavailable.reply();
        }
    };
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{BodyError, read_body};
    use crate::client::{AskError, request};
    use http::Method;
    use serde_json::json;
    use tokio::net::UnixListener;

    async fn echo(request: Request<Incoming>) -> Reply {
        match read_body(request.into_body(), 16).await {
            Ok(body) => json_reply(StatusCode::OK, &json!({"heard": String::from_utf8_lossy(&body)})),
            Err(BodyError::TooLarge { .. }) => json_reply(StatusCode::PAYLOAD_TOO_LARGE, &json!({})),
            Err(error) => panic!("{error}"),
        }
    }

    async fn ask_echo(content: &str) -> (StatusCode, Bytes) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("echo.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = serve_connection(stream, echo, &Limits::LOCAL).await;
        });
        let answer = request(&path, Method::POST, "/echo", &content).await.unwrap();
        served.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_question_is_answered() {
        let (status, body) = ask_echo("hello").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body, r#"{"heard":"\"hello\""}"#.as_bytes());
    }

    #[tokio::test]
    async fn a_long_body_is_refused() {
        let (status, _) = ask_echo("more than sixteen bytes").await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let outcome = request(&directory.path().join("none.sock"), Method::POST, "/", &json!({})).await;
        assert!(matches!(outcome, Err(AskError::Connect { .. })));
    }
}
