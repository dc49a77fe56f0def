//! A client for one request over a Unix socket.

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

/// Longest answer of [`request`], in bytes. The longest list of keys is under 1 MiB.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// Timeout of [`request`]. The longest operations are a launch with its readiness (5 s) and a long
/// poll (25 s).
const ASK_TIMEOUT: Duration = Duration::from_secs(35);

/// Why a request over a Unix socket failed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No process listens there, or access is denied.
    #[error("cannot connect to {path}")]
    Connect {
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The body cannot be serialised, or the path is invalid.
    #[error("the request cannot be written")]
    Question(#[source] Box<dyn Error + Send + Sync>),
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// The answer is too long or incomplete.
    #[error("the answer cannot be read")]
    Answer(#[from] BodyError),
    #[error("no answer in time")]
    Slow,
}

/// Sends one request to `socket` over a new connection; returns the status and the body.
pub async fn request<T: Serialize>(
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
