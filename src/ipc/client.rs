//! One question over a Unix socket, and its answer.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;

use super::body::{BodyError, collect};

/// The longest answer that [`request`] reads. The longest list of keys is under 1 MiB.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// How long [`request`] waits in all. The longest operation is a launch with its readiness (5 s) or
/// a long poll (25 s).
const ASK_TIMEOUT: Duration = Duration::from_secs(35);

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

/// Asks whoever listens at `socket` once, over a connection of its own; gives the status and the
/// body.
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
