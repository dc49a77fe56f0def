//! The WebSockets that the Go Core opens at a provider: one for each search and one for each
//! followed job.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Fault;
use crate::core::Core;
use crate::line::Stream;

/// How long Core waits for the response to a handshake: the limit of its WebSocket library.
const PATIENCE: Duration = Duration::from_secs(45);
/// Larger than the head of any response.
const HEAD_MAX: usize = 16 * 1024;

/// The reason why Core ends: it closes a connection that it does not have.
const ENDED: &str = "the WebSocket handshake of a search was answered with anything but 101, or not at all";

impl Core {
    /// Opens the WebSocket of a search. The handshake names the user only in the address and has no
    /// intent.
    ///
    /// # Errors
    /// [`Fault::Died`] if the response is not 101: Core's process ends.
    pub async fn search_socket(&self, username: &str) -> Result<Box<dyn Stream>, Fault> {
        let path = self.path("files");
        self.socket(&path, username).await.map_err(|_any| self.die(ENDED))
    }

    /// Opens the WebSocket on which Core follows a job. Core's process survives a refusal here.
    ///
    /// # Errors
    /// [`Fault::Unexpected`] if the response is not 101.
    pub async fn follow_socket(&self, username: &str) -> Result<Box<dyn Stream>, Fault> {
        let path = format!("/ucloud/jobs.provider.{}/websocket", self.provider());
        self.socket(&path, username).await
    }

    async fn socket(&self, path: &str, username: &str) -> Result<Box<dyn Stream>, Fault> {
        self.check_alive()?;
        let origin = self.endpoint().origin();
        let authority = origin.split_once("://").map_or(origin.as_str(), |(_, authority)| authority);
        let head = format!(
            "GET {path}?usernameHint={} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: Go-http-client/1.1\r\n\
             Authorization: Bearer {}\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n",
            URL_SAFE.encode(username),
            self.token()?,
        );
        let shake = async {
            let mut stream = self.endpoint().open().await?;
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            // Byte by byte, because later bytes belong to the WebSocket.
            while !answer.ends_with(b"\r\n\r\n") && answer.len() < HEAD_MAX {
                answer.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&answer).into_owned();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            if status == 101 {
                Ok(stream)
            } else {
                Err(Fault::Unexpected { what: "WebSocket handshake", status, body: head })
            }
        };
        tokio::time::timeout(PATIENCE, shake).await.map_err(|_| Fault::Late(PATIENCE))?
    }
}
