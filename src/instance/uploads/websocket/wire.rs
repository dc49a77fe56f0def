//! Messages of UCloud's upload protocol, version 2: binary, big-endian, several per frame.
//!
//! A frame is parsed message by message, so its messages take no more memory than the frame had.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::files::path::PATH_TEXT_MAX;

/// The first byte of each message.
mod op {
    pub(super) const OK: u8 = 0;
    pub(super) const CHUNK: u8 = 2;
    pub(super) const SKIP: u8 = 3;
    pub(super) const LISTING: u8 = 4;
    pub(super) const COMPLETED: u8 = 5;
    pub(super) const CLOSE: u8 = 6;
}

/// Why a frame violates the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    /// The frame ends within a message.
    #[error("a message was cut short")]
    Short,
    /// A message that no client sends.
    #[error("there is no such message")]
    Unknown,
    #[error("the size of a file is negative")]
    Size,
    /// A path that is invalid UTF-8 or too long.
    #[error("the path of a file is too long, or no text")]
    Path,
    /// Two files have the same id.
    #[error("two files have one id")]
    Twice,
    /// More bytes of a file arrived than were listed.
    #[error("a file is longer than was said")]
    TooLong,
}

/// A file that the client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// The file's name in all later messages.
    pub(super) id: i32,
    /// In bytes.
    pub(super) size: u64,
    /// When its content last changed, in milliseconds since 1970.
    pub(super) modified_ms: i64,
    /// Relative to the session's folder.
    pub(super) path: String,
}

/// A message from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// The client has this file.
    File(ListedFile),
    /// The next bytes of a file.
    Chunk { id: i32, bytes: Bytes },
    /// The client does not send this file.
    Skip { id: i32 },
    /// The client is done.
    Close,
}

/// The messages of a frame, one after the other.
#[derive(Debug)]
pub(super) struct Frame {
    rest: Bytes,
    is_listing: bool,
}

impl Frame {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, is_listing: false }
    }

    fn read(&mut self) -> Result<ClientMessage, ProtocolError> {
        if self.is_listing {
            return self.listed().map(ClientMessage::File);
        }
        match self.rest.try_get_u8().map_err(|_| ProtocolError::Short)? {
            op::CHUNK => {
                let id = self.id()?;
                Ok(ClientMessage::Chunk { id, bytes: std::mem::take(&mut self.rest) })
            }
            op::SKIP => Ok(ClientMessage::Skip { id: self.id()? }),
            op::LISTING => {
                self.is_listing = true;
                self.listed().map(ClientMessage::File)
            }
            op::CLOSE => Ok(ClientMessage::Close),
            _ => Err(ProtocolError::Unknown),
        }
    }

    fn id(&mut self) -> Result<i32, ProtocolError> {
        self.rest.try_get_i32().map_err(|_| ProtocolError::Short)
    }

    fn listed(&mut self) -> Result<ListedFile, ProtocolError> {
        let short = |_| ProtocolError::Short;
        let id = self.id()?;
        let size = self.rest.try_get_i64().map_err(short)?;
        let modified_ms = self.rest.try_get_i64().map_err(short)?;
        let length = self.rest.try_get_u32().map_err(short)?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= PATH_TEXT_MAX).ok_or(ProtocolError::Path)?;
        if length > self.rest.len() {
            return Err(ProtocolError::Short);
        }
        let path = self.rest.split_to(length);
        let path = std::str::from_utf8(&path).map_err(|_| ProtocolError::Path)?.to_owned();
        Ok(ListedFile { id, size: u64::try_from(size).map_err(|_| ProtocolError::Size)?, modified_ms, path })
    }
}

impl Iterator for Frame {
    type Item = Result<ClientMessage, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_err() {
            self.rest.clear();
        }
        Some(message)
    }
}

/// The pending messages for the client, in one frame.
#[derive(Debug, Default)]
pub(super) struct Replies(BytesMut);

impl Replies {
    /// Tells the client to send this file.
    pub(super) fn ok(&mut self, id: i32) {
        self.0.put_u8(op::OK);
        self.0.put_i32(id);
    }

    /// Tells the client not to send it.
    pub(super) fn skip(&mut self, id: i32) {
        self.0.put_u8(op::SKIP);
        self.0.put_i32(id);
    }

    /// Tells the client how many files are done in total.
    pub(super) fn completed(&mut self, number: i32) {
        self.0.put_u8(op::COMPLETED);
        self.0.put_i32(number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the frame and leaves none pending.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0).freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], want: &[Result<ClientMessage, ProtocolError>]) {
        let got: Vec<_> = Frame::new(Bytes::copy_from_slice(bytes)).collect();
        assert_eq!(got, want, "{bytes:?}");
    }

    fn file(id: i32, size: u64, modified_ms: i64, path: &str) -> Result<ClientMessage, ProtocolError> {
        Ok(ClientMessage::File(ListedFile { id, size, modified_ms, path: path.to_owned() }))
    }

    #[test]
    fn frames() {
        check(b"", &[]);
        check(b"\x06", &[Ok(ClientMessage::Close)]);
        check(
            b"\x03\0\0\0\x01\x03\xff\xff\xff\xff\x06",
            &[Ok(ClientMessage::Skip { id: 1 }), Ok(ClientMessage::Skip { id: -1 }), Ok(ClientMessage::Close)],
        );
        check(b"\x02\0\0\0\x07\x06\x06", &[Ok(ClientMessage::Chunk { id: 7, bytes: Bytes::from_static(b"\x06\x06") })]);
        check(b"\x02\0\0\0\x07", &[Ok(ClientMessage::Chunk { id: 7, bytes: Bytes::new() })]);
        let listing = b"\x04\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\x01\x8b\xcf\xe5\x68\0\0\0\0\x03a/b\
            \0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x02\xc3\xa6";
        check(listing, &[file(1, 5, 1_700_000_000_000, "a/b"), file(2, 0, 1, "æ")]);
        for cut in 1..listing.len() {
            let last = Frame::new(Bytes::copy_from_slice(&listing[..cut])).last().unwrap();
            let is_whole = cut == 28; // only the first file
            assert_eq!(last.is_ok(), is_whole, "{cut}: {last:?}");
        }
        check(b"\x06\x00", &[Ok(ClientMessage::Close), Err(ProtocolError::Unknown)]);
        check(b"\x01\x06", &[Err(ProtocolError::Unknown)]);
        check(b"\x05\0\0\0\x01", &[Err(ProtocolError::Unknown)]);
        check(b"\x03\0\0\0", &[Err(ProtocolError::Short)]);
        check(b"\x04\0\0\0\x01\xff\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x01a", &[Err(ProtocolError::Size)]);
        check(b"\x04\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\xff\xff\xff\xffa", &[Err(ProtocolError::Path)]);
        check(b"\x04\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x01\xff", &[Err(ProtocolError::Path)]);
    }

    #[test]
    fn replies() {
        let mut replies = Replies::default();
        assert!(replies.is_empty());
        replies.ok(1);
        replies.skip(-2);
        replies.completed(258);
        assert_eq!(replies.take(), b"\0\0\0\0\x01\x03\xff\xff\xff\xfe\x05\0\0\x01\x02".as_slice());
        assert!(replies.is_empty());
    }

    proptest! {
        /// Any input is parsed to its end.
        #[test]
        fn anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Frame::new(Bytes::from(bytes.clone())).count() <= bytes.len());
        }
    }
}
