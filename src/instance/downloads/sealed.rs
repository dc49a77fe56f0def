//! A sealed download: records with their lengths, which only the user can open.
//!
//! ```text
//! first │ head: {"name", "size", "modified"} │ content, 64 KiB a record │ … │ end
//! ```
//!
//! There are no ranges: the answer is the whole file. The last record shows that nothing is
//! missing. The answer's own headers say nothing of the file (P3).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use countersign_keys::seal::{Frames, Kind, PLAINTEXT_MAX, RECORD_OVERHEAD, RecordRejection, Sealer};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::files::outgoing::Outgoing;

/// Bytes of the file read and sealed at once: whole records. One piece is sealed while the previous
/// one is sent.
const PIECE: usize = 8 * PLAINTEXT_MAX;

/// What the user's browser learns of the file.
#[derive(Serialize)]
struct Head<'h> {
    name: &'h str,
    size: u64,
    /// In milliseconds since 1970.
    modified: u64,
}

/// A file that is read and sealed while it is sent.
#[derive(Debug)]
pub(crate) struct SealedBody {
    file: Arc<Outgoing>,
    /// Offset of the first byte that is not read yet.
    offset: u64,
    /// The sealer, and the head's records before the first piece. Both are with the thread while it
    /// reads.
    ready: Option<(Sealer, Vec<u8>)>,
    sealing: Option<JoinHandle<io::Result<(Sealer, Bytes)>>>,
    /// Bytes of the body still to be sent.
    left: u64,
}

impl SealedBody {
    pub(super) fn new(file: Outgoing, mut sealer: Sealer) -> io::Result<Self> {
        let modified = file.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = u64::try_from(modified.as_millis()).unwrap_or(u64::MAX);
        let head = serde_json::to_vec(&Head { name: &file.name, size: file.length, modified })?;
        let mut begun = Vec::new();
        append(&mut sealer, Kind::First, &[], &mut begun).map_err(io::Error::other)?;
        append(&mut sealer, Kind::Message, &head, &mut begun).map_err(io::Error::other)?;
        let head = u64::try_from(begun.len()).unwrap_or(u64::MAX);
        let records = file.length.div_ceil(wide(PLAINTEXT_MAX)).saturating_add(1);
        let left = head.saturating_add(file.length).saturating_add(records.saturating_mul(wide(FRAME)));
        Ok(Self { file: Arc::new(file), offset: 0, ready: Some((sealer, begun)), sealing: None, left })
    }

    /// Begins to read and seal the next piece of the file. The last one brings the end.
    fn seal_ahead(&mut self) {
        let Some((mut sealer, mut out)) = self.ready.take() else { return };
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let length = file.length.saturating_sub(offset).min(wide(PIECE));
        self.offset = offset.saturating_add(length);
        let is_last = self.offset == file.length;
        self.sealing = Some(tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_at(offset, &mut piece)?;
            out.reserve(piece.len().saturating_add(FRAME.saturating_mul(PIECE.div_ceil(PLAINTEXT_MAX))));
            for content in piece.chunks(PLAINTEXT_MAX) {
                append(&mut sealer, Kind::Message, content, &mut out).map_err(io::Error::other)?;
            }
            if is_last {
                append(&mut sealer, Kind::End, &[], &mut out).map_err(io::Error::other)?;
            }
            Ok((sealer, Bytes::from(out)))
        }));
    }
}

/// Bytes of a record, and of its length, beside its plaintext.
const FRAME: usize = RECORD_OVERHEAD + 4;

fn append(sealer: &mut Sealer, kind: Kind, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), RecordRejection> {
    Frames::write_length(plaintext.len().saturating_add(RECORD_OVERHEAD), out);
    sealer.seal(kind, plaintext, out)
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Body for SealedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        if body.sealing.is_none() {
            body.seal_ahead();
        }
        let Some(sealing) = &mut body.sealing else { return Poll::Ready(None) };
        let sealed = ready!(Pin::new(sealing).poll(cx)).map_err(io::Error::other).and_then(|sealed| sealed);
        body.sealing = None;
        // After an error the rest of the announced body cannot be sent: the connection ends.
        Poll::Ready(Some(sealed.map(|(sealer, bytes)| {
            body.left = body.left.saturating_sub(wide(bytes.len()));
            if body.left > 0 {
                body.ready = Some((sealer, Vec::new()));
                body.seal_ahead();
            }
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.sealing.is_none() && self.ready.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
