//! Asks the server over its socket, as this account. The server learns the account from the kernel.

use std::path::PathBuf;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use countersign_ipc::client::{AskError, request};
use countersign_ipc::error_code::Reply;
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::Refused;

#[derive(Debug)]
pub(crate) struct ServerClient {
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot reach the server")]
    Unreachable(#[from] AskError),
    #[error("the server refuses: {}", refused.why)]
    Refused { status: StatusCode, refused: Refused },
    #[error("the server's answer is malformed")]
    Answer(#[from] serde_json::Error),
}

impl ServerError {
    /// The answer to the account's user, if the server refused for a reason of the user's own.
    pub(crate) fn reply_to_user(&self) -> Option<Reply> {
        match self {
            Self::Refused { status, refused } if status.is_client_error() => Some(json_reply(*status, refused)),
            Self::Refused { .. } | Self::Unreachable(_) | Self::Answer(_) => None,
        }
    }

    /// Whether the server answered 404.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

impl ServerClient {
    pub(crate) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        operation: &str,
        question: &Q,
    ) -> Result<A, ServerError> {
        let (status, body) = request(&self.socket, Method::POST, operation, question).await?;
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&body)?);
        }
        Err(ServerError::Refused { status, refused: serde_json::from_slice(&body)? })
    }
}
