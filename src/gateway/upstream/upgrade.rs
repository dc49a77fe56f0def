//! Switches a connection to an instance to WebSocket, if its response is exactly the expected one
//! (RFC 6455 section 4.1).
//!
//! Any other response of the instance is a refusal, and is passed on like any response.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::UpstreamFailure;
use super::body::UpstreamBody;
use super::connection::Connection;
use super::request::UpstreamRequest;
use super::response::{HEAD_MAX, Head, InvalidResponse};
use super::stream::Stream;
use crate::response::instance_answer::InstanceAnswer;

/// How long an instance may take to switch or refuse. It has to verify a head, nothing more.
const SWITCH_WITHIN: Duration = Duration::from_secs(10);

/// Most header lines of that response.
const HEADERS_MAX: usize = 64;

/// A connection that has become a WebSocket.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) stream: Stream,
    /// The bytes that followed the response, which begin the instance's frames.
    pub(crate) begun: BytesMut,
}

impl Switched {
    pub(crate) async fn into_socket(self, limits: WebSocketConfig) -> WebSocketStream<Stream> {
        WebSocketStream::from_partially_read(self.stream, self.begun.into(), Role::Client, Some(limits)).await
    }
}

/// The instance's response to the handshake.
pub(crate) enum Switching {
    Switched(Switched),
    /// It refused.
    Answered(Box<InstanceAnswer>),
}

impl Connection {
    /// Sends the handshake and waits for the response, which has to contain `accept`.
    pub(crate) async fn switch(self, request: &UpstreamRequest, accept: &str) -> Result<Switching, UpstreamFailure> {
        let outcome = tokio::time::timeout(SWITCH_WITHIN, self.ask_to_switch(request, accept)).await;
        outcome.map_err(|_elapsed| UpstreamFailure::Slow)?
    }

    async fn ask_to_switch(mut self, request: &UpstreamRequest, accept: &str) -> Result<Switching, UpstreamFailure> {
        self.stream.write_all(&request.head).await.map_err(UpstreamFailure::NotSent)?;
        loop {
            match take(&mut self.buffer, accept).map_err(|InvalidResponse| UpstreamFailure::InvalidResponse)? {
                Some(Taken::Switches) => {
                    return Ok(Switching::Switched(Switched { stream: self.stream, begun: self.buffer }));
                }
                Some(Taken::Head(Head { said, framing, .. })) => {
                    let body = UpstreamBody::new(self, framing, None);
                    return Ok(Switching::Answered(Box::new(InstanceAnswer::new(said, body))));
                }
                None => {}
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(UpstreamFailure::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(UpstreamFailure::Broken(error)),
            }
        }
    }
}

enum Taken {
    Switches,
    Head(Head),
}

/// Takes a complete head off the buffer; `None` if it is incomplete.
fn take(buffer: &mut BytesMut, accept: &str) -> Result<Option<Taken>, InvalidResponse> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_MAX => return Ok(None),
        Ok(_) | Err(_) => return Err(InvalidResponse),
    };
    if answer.code != Some(101) {
        return Ok(Head::take(buffer)?.map(Taken::Head));
    }
    let said = |name: &str| {
        let mut values = answer.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        values.next().map(|header| header.value).filter(|_| values.next().is_none())
    };
    let is_ours = said("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
        && said("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"upgrade"))
        && said("sec-websocket-accept") == Some(accept.as_bytes());
    // None was offered, so the instance may not choose one.
    let chooses = |name: &str| answer.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    if answer.version != Some(1) || !is_ours || chooses("sec-websocket-extensions") || chooses("sec-websocket-protocol")
    {
        return Err(InvalidResponse);
    }
    buffer.advance(length);
    Ok(Some(Taken::Switches))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: yes=\r\n\r\n";

    /// Checks how a response is parsed, and what is left after it.
    fn check(answer: &str, want: Result<Option<&str>, InvalidResponse>) {
        let mut buffer = BytesMut::from(answer);
        let got = take(&mut buffer, "yes=").map(|taken| {
            taken.map(|taken| match taken {
                Taken::Switches => format!("switches {}", String::from_utf8_lossy(&buffer)),
                Taken::Head(head) => {
                    format!("{} {}", head.said.status.as_u16(), String::from_utf8_lossy(&buffer))
                }
            })
        });
        assert_eq!(got, want.map(|want| want.map(ToOwned::to_owned)), "{answer:?}");
    }

    #[test]
    fn only_an_instance_that_says_so_switches() {
        check(GOOD, Ok(Some("switches ")));
        check(&format!("{GOOD}\u{1}x"), Ok(Some("switches \u{1}x")));
        for cut in 0..GOOD.len() {
            check(&GOOD[..cut], Ok(None));
        }
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", Ok(Some("404 {}")));
        for (from, to) in [
            ("HTTP/1.1 101", "HTTP/1.0 101"),
            ("HTTP/1.1 101", "HTTP/1.1 100"),
            ("upgrade: websocket", "upgrade: h2c"),
            ("upgrade: websocket", "x: websocket"),
            ("connection: Upgrade", "connection: close"),
            ("yes=", "no"),
            ("sec-websocket-accept: yes=", "x: yes="),
            ("sec-websocket-accept: yes=", "sec-websocket-accept: yes=\r\nsec-websocket-accept: yes="),
            ("\r\n\r\n", "\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"),
            ("\r\n\r\n", "\r\nsec-websocket-protocol: x\r\n\r\n"),
        ] {
            check(&GOOD.replacen(from, to, 1), Err(InvalidResponse));
        }
    }
}
