//! The WebSockets that the Go Core opens at a provider: a new one for every search and for every
//! job that is followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Fault;
use crate::core::Core;
use crate::line::Stream;

/// How long Core waits for the answer to a handshake: its WebSocket library's own limit.
const PATIENCE: Duration = Duration::from_secs(45);
/// More than any head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// What ends Core: it closes a connection that it has not got.
const ENDED: &str = "the WebSocket handshake of a search was answered with anything but 101, or not at all";

impl Core {
    /// Opens the socket of a search. The handshake names the user in the address alone, and has no
    /// intent.
    ///
    /// # Errors
    /// [`Fault::Died`] where the answer is anything but 101: Core's process ends.
    pub async fn search_socket(&self, username: &str) -> Result<Box<dyn Stream>, Fault> {
        let path = self.path("files");
        self.socket(&path, username).await.map_err(|_any| self.die(ENDED))
    }

    /// Opens the socket on which a job is followed. Here Core takes a refusal well.
    ///
    /// # Errors
    /// [`Fault::Unexpected`] where the answer is anything but 101.
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
            // Byte by byte: what follows is the socket's.
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
