//! Parses an upstream's response: the head, and the framing of its body. Does no I/O.
//!
//! Does not trust an instance to frame correctly. Accepts HTTP/1.1 with one `Content-Length` or
//! `chunked`, never both, within limits. Everything else is an invalid response, and its connection
//! is not reused.

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;

use super::said::{Said, Values};

/// Longest head of a response, in bytes. It is parsed from the start with each piece, so a long
/// head in small pieces would cost time.
pub(super) const HEAD_MAX: usize = 16 * 1024;

/// Most header lines of a response.
const HEADERS_MAX: usize = 64;

/// Longest line with a chunk's size, in bytes.
const CHUNK_LINE_MAX: usize = 256;

/// Not a response to one of the gateway's requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct InvalidResponse;

#[derive(Debug)]
pub(super) struct Head {
    /// The values taken from it.
    pub(super) said: Said,
    pub(super) framing: Framing,
    /// Whether the peer keeps the connection open.
    pub(super) stays_open: bool,
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// That many bytes; 0 is the end.
    Length(u64),
    /// The line with the next chunk's size.
    ChunkLine,
    /// The rest of a chunk, and the end of its line.
    Chunk(u64),
    /// The empty line after the last chunk.
    LastLine,
}

impl Head {
    /// Takes a complete head off the buffer; `None` if it is incomplete.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, InvalidResponse> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let length = match answer.parse(buffer) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if buffer.len() < HEAD_MAX => return Ok(None),
            Ok(_) | Err(_) => return Err(InvalidResponse),
        };
        let head = Self::of(&answer)?;
        buffer.advance(length);
        Ok(Some(head))
    }

    fn of(answer: &httparse::Response<'_, '_>) -> Result<Self, InvalidResponse> {
        let (Some(1), Some(status)) = (answer.version, answer.code) else { return Err(InvalidResponse) };
        let status = StatusCode::from_u16(status).map_err(|_out_of_range| InvalidResponse)?;
        // No request allows an interim response (100, 103) or a switch (101). No call has a
        // response without a body (204, 205, 304), where parsers differ about what follows the
        // head.
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
        if status.is_informational() || has_none {
            return Err(InvalidResponse);
        }
        let (mut length, mut is_chunked, mut stays_open) = (None, false, true);
        let mut values = Values::default();
        for httparse::Header { name, value } in answer.headers.iter() {
            if name.eq_ignore_ascii_case("content-length") {
                if length.replace(content_length(value)?).is_some() {
                    return Err(InvalidResponse);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(InvalidResponse);
                }
                is_chunked = true;
            } else if name.eq_ignore_ascii_case("content-encoding") {
                return Err(InvalidResponse); // the body would not be the bytes of its content type
            } else if name.eq_ignore_ascii_case("connection") {
                stays_open = value.eq_ignore_ascii_case(b"keep-alive");
            } else {
                values.note(name, value);
            }
        }
        let framing = match (length, is_chunked) {
            (Some(_), true) => return Err(InvalidResponse),
            (Some(length), false) => Framing::Length(length),
            (None, true) => Framing::ChunkLine,
            // A body that ends with the connection: a truncated one would look complete.
            (None, false) => return Err(InvalidResponse),
        };
        Ok(Self { said: values.said(status), framing, stays_open })
    }
}

/// Digits alone: no sign, no list, no white space.
fn content_length(value: &[u8]) -> Result<u64, InvalidResponse> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(InvalidResponse)
}

impl Head {
    /// As a response to `HEAD`: its length describes a body that does not come (RFC 9110 section
    /// 9.3.2).
    pub(super) fn without_body(mut self) -> Self {
        if let Framing::Length(length) = self.framing {
            self.said.length_of_get = Some(length);
        }
        self.framing = Framing::Length(0);
        self
    }
}

impl Framing {
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// The bytes to come, if known.
    pub(super) const fn exact(self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(left),
            Self::ChunkLine | Self::Chunk(_) | Self::LastLine => None,
        }
    }

    /// Takes the next piece of the body off the buffer. `None` if more has to arrive first, or at
    /// the end.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, InvalidResponse> {
        loop {
            match *self {
                Self::Length(left) => return Ok(self.piece(left, buffer, Self::Length)),
                Self::Chunk(0) => match end_of_line(buffer)? {
                    true => *self = Self::ChunkLine,
                    false => return Ok(None),
                },
                Self::Chunk(left) => return Ok(self.piece(left, buffer, Self::Chunk)),
                Self::ChunkLine => match httparse::parse_chunk_size(buffer) {
                    Ok(httparse::Status::Complete((line, size))) if line <= CHUNK_LINE_MAX => {
                        buffer.advance(line);
                        *self = if size == 0 { Self::LastLine } else { Self::Chunk(size) };
                    }
                    Ok(httparse::Status::Partial) if buffer.len() < CHUNK_LINE_MAX => return Ok(None),
                    Ok(_) | Err(_) => return Err(InvalidResponse),
                },
                // Trailers are not passed on, so they are refused unread.
                Self::LastLine => match end_of_line(buffer)? {
                    true => *self = Self::Length(0),
                    false => return Ok(None),
                },
            }
        }
    }

    fn piece(&mut self, left: u64, buffer: &mut BytesMut, rest: fn(u64) -> Self) -> Option<Bytes> {
        let there = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if there == 0 {
            return None;
        }
        *self = rest(left.saturating_sub(u64::try_from(there).unwrap_or(u64::MAX)));
        Some(buffer.split_to(there).freeze())
    }
}

fn end_of_line(buffer: &mut BytesMut) -> Result<bool, InvalidResponse> {
    match buffer.as_ref() {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => {
            buffer.advance(2);
            Ok(true)
        }
        _ => Err(InvalidResponse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a response that arrives byte by byte: its status, its body, and the rest.
    fn read(text: &str) -> Result<(u16, String, String), InvalidResponse> {
        let (mut buffer, mut head, mut body) = (BytesMut::new(), None, Vec::new());
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            if head.is_none() {
                head = Head::take(&mut buffer)?;
            }
            while let Some(Head { framing, .. }) = &mut head
                && let Some(piece) = framing.take(&mut buffer)?
            {
                body.extend_from_slice(&piece);
            }
        }
        let head = head.filter(|head| head.framing.is_over()).ok_or(InvalidResponse)?;
        let left = String::from_utf8(buffer.to_vec()).unwrap();
        Ok((head.said.status.as_u16(), String::from_utf8(body).unwrap(), left))
    }

    fn check(headers: &str, body: &str, want: Result<&str, InvalidResponse>) {
        let outcome = read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"));
        assert_eq!(outcome, want.map(|body| (200, body.to_owned(), String::new())), "{headers:?} {body:?}");
    }

    #[test]
    fn one_way_to_say_where_a_body_ends() {
        check("content-length: 2\r\n", "{}", Ok("{}"));
        check("Content-Length: 0\r\n", "", Ok(""));
        check("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", Ok("{}"));
        check("Transfer-Encoding: Chunked\r\n", "1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n", Ok("{}"));
        for headers in [
            "",
            "content-length: 2\r\ncontent-length: 2\r\n",
            "content-length: 2, 2\r\n",
            "content-length: +2\r\n",
            "content-length: -2\r\n",
            "content-length: 0x2\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length: 2\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            check(headers, "2\r\n{}\r\n0\r\n\r\n", Err(InvalidResponse));
        }
    }

    #[test]
    fn chunks_are_whole_lines() {
        for body in [
            "2\r\n{}0\r\n\r\n",
            "2\r\n{}\n0\r\n\r\n",
            "\r\n{}\r\n0\r\n\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}\r\n0\r\ntrailer: x\r\n\r\n",
            "2\r\n{}\r\n",
        ] {
            check("transfer-encoding: chunked\r\n", body, Err(InvalidResponse));
        }
        let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(CHUNK_LINE_MAX));
        check("transfer-encoding: chunked\r\n", &long, Err(InvalidResponse));
    }

    #[test]
    fn what_comes_after_an_answer_is_none_of_it() {
        let (_, body, left) = read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK").unwrap();
        assert_eq!((body.as_str(), left.as_str()), ("{}", "HTTP/1.1 200 OK"));
    }

    #[test]
    fn only_final_answers_of_http_1_1() {
        for text in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n folded\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert_eq!(read(text), Err(InvalidResponse), "{text:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_MAX));
        assert_eq!(Head::take(&mut BytesMut::from(long.as_bytes())).unwrap_err(), InvalidResponse);
        let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(HEADERS_MAX));
        assert_eq!(read(&many), Err(InvalidResponse));
    }

    #[test]
    fn v63_s01_of_the_headers_no_bytes_are_kept() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nset-cookie: a=b\r\nretry-after: 7\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let head = Head::take(&mut BytesMut::from(text.as_bytes())).unwrap().unwrap();
        assert!(!head.stays_open);
        let want = Said { retry_after_s: Some(7), ..Values::default().said(StatusCode::OK) };
        assert_eq!(head.said, want);
    }
}
