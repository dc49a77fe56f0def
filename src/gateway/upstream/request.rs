//! A request to an upstream, serialised: a head with exactly one body length, and the body.
//!
//! Refuses bytes outside visible ASCII, so that no header can end early or start another (V31).

use bytes::Bytes;
use countersign_keys::call::Method;

/// Capacity for a usual head: Core's token, an intent, their names.
const HEAD_USUAL: usize = 2_048;

/// A value that cannot stand in a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the request has bytes outside visible ASCII where its upstream's head would have them")]
pub(crate) struct Unwritable;

#[derive(Clone, Debug)]
pub(crate) struct UpstreamRequest {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
    /// The response has no body, whatever its head says.
    pub(super) is_head: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct UpstreamRequestHead {
    head: Vec<u8>,
    is_plain: bool,
    is_head: bool,
}

impl UpstreamRequest {
    /// Begins a request to the only host behind the connection.
    pub(crate) fn begin(method: Method, path: &str) -> UpstreamRequestHead {
        Self::begin_with(method.as_str(), path)
    }

    /// Begins a `HEAD` request.
    pub(crate) fn begin_head(path: &str) -> UpstreamRequestHead {
        UpstreamRequestHead { is_head: true, ..Self::begin_with("HEAD", path) }
    }

    fn begin_with(method: &str, path: &str) -> UpstreamRequestHead {
        let mut head = UpstreamRequestHead { head: Vec::with_capacity(HEAD_USUAL), is_plain: true, is_head: false };
        head.is_plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        for part in [method, " ", path, " HTTP/1.1\r\nhost: instance\r\n"] {
            head.head.extend_from_slice(part.as_bytes());
        }
        head
    }
}

impl UpstreamRequestHead {
    /// Adds a header. The value comes in parts, to avoid a copy.
    pub(crate) fn header<const N: usize>(mut self, name: &'static str, value: [&str; N]) -> Self {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        for part in value {
            // A fold without early exit, which the compiler vectorises: values are most of the
            // head.
            let is_plain = |is_plain, byte| is_plain & matches!(byte, b'\t' | b' '..=b'~');
            self.is_plain = part.bytes().fold(self.is_plain, is_plain);
            self.head.extend_from_slice(part.as_bytes());
        }
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the head of a request without a body or a length: one to switch protocols.
    ///
    /// # Errors
    /// If a path or value is not plain text.
    pub(crate) fn without_body(self) -> Result<UpstreamRequest, Unwritable> {
        let Self { mut head, is_plain, is_head } = self;
        head.extend_from_slice(b"\r\n");
        if is_plain { Ok(UpstreamRequest { head, body: Bytes::new(), is_head }) } else { Err(Unwritable) }
    }

    /// Ends the head with the body's length.
    ///
    /// # Errors
    /// If a path or value is not plain text.
    pub(crate) fn body(self, body: Bytes) -> Result<UpstreamRequest, Unwritable> {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Ok(UpstreamRequest { body, ..self.body_to_come(length)? })
    }

    /// Ends the head with the length of a streamed body: see [`super::Connection::begin`].
    ///
    /// # Errors
    /// If a path or value is not plain text.
    pub(crate) fn body_to_come(self, length: u64) -> Result<UpstreamRequest, Unwritable> {
        let Self { mut head, is_plain, is_head } = self.header("content-length", [&length.to_string()]);
        head.extend_from_slice(b"\r\n");
        if is_plain { Ok(UpstreamRequest { head, body: Bytes::new(), is_head }) } else { Err(Unwritable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_in_one_way() {
        let request =
            UpstreamRequest::begin(Method::Post, "/ucloud/hpc/files/move").header("authorization", ["Bearer ", "t"]);
        let request = request.body(Bytes::from_static(b"{}")).unwrap();
        let want = "POST /ucloud/hpc/files/move HTTP/1.1\r\nhost: instance\r\nauthorization: Bearer t\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(String::from_utf8(request.head).unwrap(), want);
        assert_eq!(request.body, "{}");
    }

    #[test]
    fn v31_no_value_ends_its_line() {
        let with = |value: &str| UpstreamRequest::begin(Method::Get, "/x").header("a", ["b", value]).body(Bytes::new());
        assert!(with("c").is_ok());
        for trick in ["\r\nx: y", "\n", "\r", "\0", "\u{7f}", "é"] {
            assert_eq!(with(trick).map(|_| ()), Err(Unwritable), "{trick:?}");
        }
        for path in ["/a b", "/a\r\n", "", "x", "/é"] {
            assert_eq!(
                UpstreamRequest::begin(Method::Get, path).body(Bytes::new()).map(|_| ()),
                Err(Unwritable),
                "{path:?}"
            );
        }
    }
}
