//! Asks the server over its socket, as this account: the server has that from the kernel.

use std::path::PathBuf;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ipc::client::{AskError, request};
use crate::ipc::messages::Refused;

/// Where the server is asked.
#[derive(Debug)]
pub(super) struct ServerClient {
    socket: PathBuf,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnswered {
    /// The server cannot be asked.
    #[error("the server cannot be asked")]
    Unreachable(#[from] AskError),
    /// It said no.
    #[error("the server refuses: {}", refused.why)]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its reason.
        refused: Refused,
    },
    /// What it said makes no sense.
    #[error("the server's answer is not understood")]
    Answer(#[from] serde_json::Error),
}

impl NotAnswered {
    /// Whether the server said that there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

impl ServerClient {
    /// The server that listens there.
    pub(super) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks one thing.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        operation: &str,
        question: &Q,
    ) -> Result<A, NotAnswered> {
        let (status, body) = request(&self.socket, Method::POST, operation, question).await?;
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&body)?);
        }
        Err(NotAnswered::Refused { status, refused: serde_json::from_slice(&body)? })
    }
}
