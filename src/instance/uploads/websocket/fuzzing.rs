//! Fuzz entry for upload frames: the messages encode back to the frame, and no bytes are left over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use bytes::Bytes;

use super::wire::{ClientMessage, Frame, ProtocolError};
use crate::files::path::PATH_TEXT_MAX;

/// Parses a frame and encodes it again.
pub fn frame(bytes: &[u8]) {
    let (mut written, mut is_listing) = (Vec::new(), false);
    let mut frame = Frame::new(Bytes::copy_from_slice(bytes));
    for message in frame.by_ref() {
        match message {
            Ok(ClientMessage::File(listed)) => {
                if !is_listing {
                    written.push(4);
                }
                is_listing = true;
                assert!(listed.path.len() <= PATH_TEXT_MAX);
                written.extend(listed.id.to_be_bytes());
                written.extend(listed.size.to_be_bytes());
                written.extend(listed.modified_ms.to_be_bytes());
                written.extend(u32::try_from(listed.path.len()).unwrap().to_be_bytes());
                written.extend(listed.path.as_bytes());
            }
            Ok(ClientMessage::Chunk { id, bytes }) => {
                written.push(2);
                written.extend(id.to_be_bytes());
                written.extend(bytes);
            }
            Ok(ClientMessage::Skip { id }) => {
                written.push(3);
                written.extend(id.to_be_bytes());
            }
            Ok(ClientMessage::Close) => written.push(6),
            Err(why) => {
                assert!(bytes.starts_with(&written), "another frame than came");
                assert!(frame.next().is_none(), "read on after {why}");
                assert!(why != ProtocolError::Twice && why != ProtocolError::TooLong, "one frame cannot tell");
                return;
            }
        }
    }
    assert_eq!(written, bytes, "another frame than came");
}
