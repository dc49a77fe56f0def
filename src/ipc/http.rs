//! HTTP/1.1 over a local socket: what the server and the instances serve, and what asks them.
//!
//! One way to serve a connection within limits, one to read a body, one to reply in JSON and one to ask over a
//! Unix socket. It decides nothing about who asks: `SO_PEERCRED` and the verifier do.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::answers::Told;

/// A reply whose whole body is at hand.
pub(crate) type Reply = Response<Full<Bytes>>;

/// The longest answer that [`request`] reads. The longest list of keys is under 1 MiB.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// How long [`request`] waits in all. The longest operation is a launch with its readiness (5 s) or a long poll
/// (25 s).
const ASK_TIMEOUT: Duration = Duration::from_secs(35);

/// How long a body may take to arrive. Who sends it is on this machine and has it at hand.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a local connection may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a connection may be idle, or take to send a head.
    pub(crate) idle: Duration,
    /// Bytes of a request head.
    pub(crate) head_max: usize,
    /// Header lines of a request.
    pub(crate) headers_max: usize,
}

impl Limits {
    /// For whoever is on this machine. The idle time is longer than the gateway keeps a connection in its pool, so
    /// that it is the gateway that closes; the head holds an intent of 16 KiB, Core's token and their names.
    pub(crate) const LOCAL: Self = Self { idle: Duration::from_secs(120), head_max: 32 * 1024, headers_max: 64 };
}

/// Serves one connection until its end; upgrades are possible.
pub(crate) async fn serve_connection<S, H, F, B>(stream: S, service: H, limits: &Limits) -> Result<(), hyper::Error>
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
        .max_buf_size(limits.head_max.saturating_mul(2).max(8192)) // hyper's own floor
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
}

/// A JSON reply. The type's own failure to serialize is our failure, and so is the status.
pub(crate) fn json_reply<T: Serialize>(status: StatusCode, content: &T) -> Reply {
    let body = match serde_json::to_vec(content) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a reply could not be written as JSON");
            return Told::Unavailable.reply();
        }
    };
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Longer than the caller allows.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// What is allowed.
        max: usize,
    },
    /// The connection ended, or the framing is broken.
    #[error("the body broke off")]
    Broken,
    /// It did not come in time.
    #[error("the body took too long")]
    Slow,
}

/// Reads a whole body of at most `max` bytes. A body that came in one piece is not copied.
pub(crate) async fn read_body<B>(body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(BODY_TIMEOUT, collect(body, max)).await.map_err(|_elapsed| BodyError::Slow)?
}

async fn collect<B>(mut body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let promised = body.size_hint().lower();
    if usize::try_from(promised).map_or(true, |promised| promised > max) {
        return Err(BodyError::TooLarge { max });
    }
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_error| BodyError::Broken)?;
        let Ok(piece) = frame.into_data() else {
            continue; // trailers mean nothing here
        };
        let so_far = whole.len().saturating_add(pieces.len());
        if so_far.saturating_add(piece.len()) > max {
            return Err(BodyError::TooLarge { max });
        }
        if so_far == 0 {
            whole = piece;
            continue;
        }
        pieces.extend_from_slice(&whole);
        whole = Bytes::new();
        pieces.extend_from_slice(&piece);
    }
    Ok(if pieces.is_empty() { whole } else { pieces.freeze() })
}

/// Why a question over a Unix socket has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens there, or we may not connect.
    #[error("cannot connect to {path}")]
    Connect {
        /// The socket.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The question could not be written as JSON, or its path is none.
    #[error("the question cannot be asked")]
    Question(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke.
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// The answer is too long, or broke off.
    #[error("the answer cannot be read")]
    Answer(#[from] BodyError),
    /// No answer came in time.
    #[error("no answer in time")]
    Slow,
}

/// Asks whoever listens at `socket` once, over a connection of its own; gives the status and the body.
pub(crate) async fn request<T: Serialize>(
    socket: &Path,
    method: Method,
    path: &str,
    content: &T,
) -> Result<(StatusCode, Bytes), AskError> {
    let body = serde_json::to_vec(content).map_err(|error| AskError::Question(error.into()))?;
    let question = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| AskError::Question(error.into()))?;
    tokio::time::timeout(ASK_TIMEOUT, ask(socket, question)).await.map_err(|_elapsed| AskError::Slow)?
}

async fn ask(socket: &Path, question: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), AskError> {
    let stream =
        UnixStream::connect(socket).await.map_err(|source| AskError::Connect { path: socket.to_owned(), source })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(question).await?;
        let status = answer.status();
        let body = collect(answer.into_body(), ANSWER_MAX).await?;
        Ok((status, body))
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        driven = connection => {
            driven?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
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
