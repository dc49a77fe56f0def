//! Client for the server's IPC socket: one request, one response.
//!
//! The server identifies the caller through the kernel; the request names no identity. A response
//! is believed only as far as the account's own files and the user can confirm it: see
//! [`super::offer`].

use std::path::PathBuf;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::commands::error::CommandError;
use countersign_config::Config;
use countersign_ipc::client::{AskError, request};
use countersign_ipc::server_protocol::{BODY_MAX, Refused};

/// A connection to the server.
#[derive(Debug)]
pub(super) struct ServerLine {
    socket: PathBuf,
    runtime: Runtime,
}

impl ServerLine {
    /// Connects to the server of that configuration.
    pub(super) fn of(config: &Config) -> Result<Self, CommandError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
        Ok(Self { socket: config.ipc.socket(), runtime })
    }

    /// Performs one operation.
    pub(super) fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        operation: &str,
        question: &Q,
    ) -> Result<A, CommandError> {
        let (status, body) = self
            .runtime
            .block_on(request(&self.socket, Method::POST, operation, question))
            .map_err(|source| self.unanswered(source))?;
        if body.len() > BODY_MAX {
            return Err(CommandError::Answer(None));
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| CommandError::Answer(Some(error)));
        }
        let refused: Refused = serde_json::from_slice(&body).map_err(|error| CommandError::Answer(Some(error)))?;
        Err(CommandError::Refused { status: status.as_u16(), refused })
    }

    fn unanswered(&self, source: AskError) -> CommandError {
        CommandError::Unreachable { socket: self.socket.clone(), source }
    }
}
