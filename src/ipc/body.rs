//! Reads bodies of local requests and responses whole, within a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// How long a body may take. The sender is on this machine and has the whole body ready.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the caller allows.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// In bytes.
        max: usize,
    },
    /// The connection ended, or the framing is invalid.
    #[error("the body broke off")]
    Broken,
    #[error("the body took too long")]
    Slow,
}

/// Reads a whole body of at most `max` bytes. Does not copy a body that came in one piece.
pub async fn read_body<B>(body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(BODY_TIMEOUT, collect(body, max)).await.map_err(|_elapsed| BodyError::Slow)?
}

pub(super) async fn collect<B>(mut body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let promised = body.size_hint().lower();
    if usize::try_from(promised).map_or(true, |promised| promised > max) {
        return Err(BodyError::TooLarge { max });
    }
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_error| BodyError::Broken)?;
        let Ok(piece) = frame.into_data() else {
            continue; // trailers are ignored
        };
        let so_far = whole.len().saturating_add(pieces.len());
        if so_far.saturating_add(piece.len()) > max {
            return Err(BodyError::TooLarge { max });
        }
        if so_far == 0 {
            whole = piece;
            continue;
        }
        pieces.extend_from_slice(&whole);
        whole = Bytes::new();
        pieces.extend_from_slice(&piece);
    }
    Ok(if pieces.is_empty() { whole } else { pieces.freeze() })
}
