//! UCloud's chunked upload: one file in pieces, one request per piece.
//!
//! Pieces come in order, or again from an offset that was reached before. A piece is written as it
//! arrives. It counts only when it is complete and matches the digest that the user signed;
//! otherwise it is undone. After the last piece the file gets its name (V54).

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use countersign_keys::intent::Consent;
use countersign_keys::seal::{PieceReader, RecordRejection, SealedSession, plaintext_of};
use countersign_keys::session::{ContentDigest, Piece, Unsealed};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as IncomingBody;
use tokio::sync::{Mutex, mpsc};

use crate::files::Files;
use crate::files::error::{FilesError, RequestError};
use crate::files::incoming::Incoming;
use crate::sessions::served::Served;
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use http::StatusCode;
use serde::Serialize;

/// Bytes that are gathered before the writing thread gets them.
const GATHERED: usize = 256 * 1024;

/// Most gathered batches that wait for the thread: the next ones arrive while it digests and
/// writes.
const AHEAD: usize = 4;

/// Why a piece is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    /// Another piece of the same file is still arriving.
    #[error("another piece of this file is being written")]
    Busy,
    /// The request describes an impossible piece.
    #[error("{0}")]
    Malformed(&'static str),
    /// The bytes do not match the digest in the head.
    #[error("the bytes are not those of the digest")]
    Digest,
    /// The body ended early.
    #[error("the piece broke off")]
    Broken,
    /// A sealed piece that this session's user did not seal, or not for this place.
    #[error("the piece does not open: {0}")]
    Sealed(RecordRejection),
    /// A task that was writing the file panicked or was cancelled.
    #[error("the part of the file that had arrived was removed: send the whole file again")]
    Lost,
    #[error(transparent)]
    Files(#[from] RequestError),
}

impl ChunkError {
    fn of(trouble: FilesError) -> Self {
        Self::Files(RequestError::whole(trouble))
    }

    /// The answer to the sender.
    pub(crate) fn reply(&self) -> Reply {
        let code = match self {
            Self::Busy => ErrorCode::Conflict,
            Self::Malformed(_) | Self::Digest | Self::Broken | Self::Sealed(_) => ErrorCode::Malformed,
            Self::Lost => ErrorCode::Failed,
            Self::Files(error) => error.error_code(),
        };
        code.reply_with(&self.to_string())
    }
}

/// A piece that is in its place.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    /// What the client of a sealed session believes, in base64url: the gateway cannot make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<String>,
}

impl Taken {
    /// The evidence that a piece was taken, of what opened it.
    fn of(reader: Option<&PieceReader>) -> Result<Self, ChunkError> {
        let answer = reader.map(PieceReader::answer).transpose().map_err(ChunkError::Sealed)?;
        Ok(Self { taken: answer.map(|answer| URL_SAFE_NO_PAD.encode(answer)) })
    }

    /// The answer to the sender.
    pub(crate) fn reply(&self) -> Reply {
        json_reply(StatusCode::OK, self)
    }
}

/// The granted upload and its progress.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The destination that the user signed.
    pub(crate) id: String,
    /// Whether the upload is a folder's files or a single file.
    pub(crate) is_folder: bool,
    /// The conflict policy that the user signed.
    pub(crate) policy: String,
    /// Whether a person was asked about it.
    pub(crate) consent: Consent,
    /// The keys, if the session was opened sealed.
    sealed: OnceLock<Arc<SealedSession>>,
    state: Mutex<State>,
}

/// How the bytes of a piece come.
enum Bytewise {
    Plain(Unsealed),
    Sealed(Arc<SealedSession>),
}

impl Bytewise {
    /// What opens a sealed piece, by its place in the file.
    fn reader(self, piece: &Piece) -> Option<PieceReader> {
        match self {
            Self::Plain(Unsealed { .. }) => None,
            Self::Sealed(session) => {
                Some(PieceReader::new(session, piece.offset.unwrap_or(-1), piece.total.unwrap_or(-1)))
            }
        }
    }
}

#[derive(Debug)]
enum State {
    /// No piece has arrived.
    Untouched,
    /// Some pieces have arrived.
    Coming { file: Incoming, total: u64 },
    /// The file is complete and in its place.
    Done { total: u64 },
    /// A piece is being written. If a later piece sees this state, the writing task was ended from
    /// outside and the partial file is gone.
    Lost,
}

impl Upload {
    pub(crate) fn new(id: String, is_folder: bool, policy: String, consent: Consent) -> Self {
        Self { id, is_folder, policy, consent, sealed: OnceLock::new(), state: Mutex::new(State::Untouched) }
    }

    /// Takes a piece of the file. The answer means that the piece is written and, after the last
    /// one, that the file is in its place. The work continues if the client disconnects, because a
    /// partial piece has to be undone.
    pub(crate) async fn take(
        self: Arc<Self>,
        files: Files,
        piece: Piece,
        served: Served,
        body: IncomingBody,
    ) -> Result<Taken, ChunkError> {
        let bytes = match served {
            Served::Plain(evidence) => Bytewise::Plain(evidence),
            Served::Sealed(session) => Bytewise::Sealed(Arc::clone(self.sealed.get_or_init(|| Arc::from(session)))),
            Served::SealedBefore => Bytewise::Sealed(self.sealed.get().map(Arc::clone).ok_or(ChunkError::Lost)?),
        };
        let taking = tokio::spawn(async move {
            let mut body = body;
            let outcome = self.take_to_the_end(&files, &piece, bytes, &mut body).await;
            // Closing the connection with unread bytes would reset it and lose the answer.
            while let Some(Ok(_)) = body.frame().await {}
            outcome
        });
        taking.await.unwrap_or(Err(ChunkError::Lost))
    }

    async fn take_to_the_end(
        &self,
        files: &Files,
        piece: &Piece,
        bytes: Bytewise,
        body: &mut IncomingBody,
    ) -> Result<Taken, ChunkError> {
        if self.is_folder {
            return Err(ChunkError::Malformed("a folder comes over a WebSocket"));
        }
        let chunk = Chunk::of(piece, &bytes)?;
        let mut state = self.state.try_lock().map_err(|_busy| ChunkError::Busy)?;
        let file = match std::mem::replace(&mut *state, State::Lost) {
            State::Untouched => match files.approved(self.consent).incoming(&self.id, &self.policy).await {
                Ok(file) => file,
                Err(error) => {
                    *state = State::Untouched;
                    return Err(error.into());
                }
            },
            State::Coming { file, total } if total == chunk.total => file,
            State::Coming { file, total } => {
                *state = State::Coming { file, total };
                return Err(ChunkError::Malformed("the file had another length before"));
            }
            State::Done { total } => {
                *state = State::Done { total };
                // A client that missed the last answer repeats the final request.
                let is_the_end = chunk.total == total && chunk.end().is_none_or(|end| end == total);
                if !is_the_end {
                    return Err(ChunkError::Malformed("all of the file has come"));
                }
                return repeated(bytes.reader(piece), body).await;
            }
            State::Lost => return Err(ChunkError::Lost),
        };
        let (file, outcome) = write(file, &chunk, bytes.reader(piece), body).await;
        let file = file.ok_or(ChunkError::Lost)?;
        if outcome.is_err() || file.written() < chunk.total {
            *state = State::Coming { file, total: chunk.total };
            return outcome;
        }
        // A file that cannot get its name is gone and may be sent again.
        *state = State::Untouched;
        let placed = tokio::task::spawn_blocking(move || file.commit(None)).await;
        match placed.unwrap_or(Err(FilesError::CutShort)) {
            Ok(_slot) => {
                *state = State::Done { total: chunk.total };
                outcome
            }
            Err(trouble) => Err(RequestError::single(&self.id, trouble).into()),
        }
    }
}

/// The description of a piece in its request.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// `None`: behind the last piece.
    offset: Option<u64>,
    /// Bytes of the file.
    size: u64,
    /// Bytes of the body: more, if they are sealed.
    body: u64,
    total: u64,
    digest: Option<ContentDigest>,
}

impl Chunk {
    fn of(piece: &Piece, bytes: &Bytewise) -> Result<Self, ChunkError> {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let (Some(body), Some(total)) = (number(piece.size), number(piece.total)) else {
            return Err(ChunkError::Malformed("a piece has a size and a total size"));
        };
        // Its offset is part of the key: without one, pieces could change places.
        if matches!(bytes, Bytewise::Sealed(_)) && number(piece.offset).is_none() {
            return Err(ChunkError::Malformed("a sealed piece has an offset"));
        }
        let size = match bytes {
            Bytewise::Plain(_) => Some(body),
            Bytewise::Sealed(_) => plaintext_of(body),
        };
        let size = size.ok_or(ChunkError::Malformed("no sealed piece has this size"))?;
        let chunk = Self { offset: number(piece.offset), size, body, total, digest: piece.digest };
        if chunk.end().is_some_and(|end| end > total) || size > total {
            return Err(ChunkError::Malformed("the piece goes beyond the end of the file"));
        }
        Ok(chunk)
    }

    fn end(&self) -> Option<u64> {
        self.offset.map(|offset| offset.saturating_add(self.size))
    }
}

/// Answers the last piece of a file that is complete, when it comes again: reads it for its key and
/// keeps nothing of it.
async fn repeated(reader: Option<PieceReader>, body: &mut IncomingBody) -> Result<Taken, ChunkError> {
    let Some(mut reader) = reader else { return Taken::of(None) };
    while let Some(frame) = body.frame().await {
        let bytes = frame.ok().and_then(|frame| frame.into_data().ok()).ok_or(ChunkError::Broken)?;
        let mut bytes: &[u8] = &bytes;
        while reader.read(&mut bytes).map_err(ChunkError::Sealed)? {}
    }
    if !reader.is_ended() {
        return Err(ChunkError::Broken);
    }
    Taken::of(Some(&reader))
}

/// Writes a piece or undoes it. The file is lost only if its thread was.
async fn write(
    mut file: Incoming,
    chunk: &Chunk,
    reader: Option<PieceReader>,
    body: &mut IncomingBody,
) -> (Option<Incoming>, Result<Taken, ChunkError>) {
    let start = chunk.offset.unwrap_or(file.written());
    if start.saturating_add(chunk.size) > chunk.total {
        return (Some(file), Err(ChunkError::Malformed("the piece goes beyond the end of the file")));
    }
    // A repeated piece truncates the file at its start: until it is complete again, the file is
    // shorter.
    let begun = if start < file.written() { file.truncate(start) } else { Ok(()) };
    let (pieces, to_write) = mpsc::channel(AHEAD);
    let writing =
        Writing { file, at: start, digest: Context::new(&SHA256), reader, outcome: begun.map_err(ChunkError::of) };
    let writing = tokio::task::spawn_blocking(move || writing.write(to_write));
    let (mut gathered, mut length) = (Vec::new(), 0_usize);
    let (mut broken, mut room) = (false, chunk.body);
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().map_err(|_trailers| ()),
            Some(Err(_)) => Err(()),
            None => break,
        };
        let Ok(bytes) = frame else {
            broken = true;
            break;
        };
        // Bytes beyond the announced size take no space, not even until they are removed.
        let Some(left) = u64::try_from(bytes.len()).ok().and_then(|more| room.checked_sub(more)) else {
            broken = true;
            break;
        };
        room = left;
        length = length.saturating_add(bytes.len());
        gathered.push(bytes);
        if length >= GATHERED {
            if pieces.send(std::mem::take(&mut gathered)).await.is_err() {
                break; // the disk takes no more; the thread reports why
            }
            length = 0;
        }
    }
    if !gathered.is_empty() {
        let _ = pieces.send(gathered).await; // as above
    }
    drop(pieces);
    let Ok(writing) = writing.await else { return (None, Err(ChunkError::Lost)) };
    let Writing { mut file, at, digest, reader, outcome } = writing;
    let outcome = match outcome {
        Err(error) => Err(error),
        Ok(()) if broken || at.saturating_sub(start) != chunk.size => Err(ChunkError::Broken),
        Ok(()) if reader.as_ref().is_some_and(|reader| !reader.is_ended()) => Err(ChunkError::Broken),
        Ok(()) if chunk.digest.is_some_and(|signed| signed.0 != digest.finish().as_ref()) => Err(ChunkError::Digest),
        Ok(()) => Taken::of(reader.as_ref()),
    };
    if outcome.is_err()
        && let Err(trouble) = file.truncate(start)
    {
        tracing::warn!(%trouble, "a piece that is not taken could not be taken back");
        return (None, outcome);
    }
    (Some(file), outcome)
}

/// A piece that is being written.
struct Writing {
    file: Incoming,
    at: u64,
    digest: Context,
    /// Opens a sealed piece.
    reader: Option<PieceReader>,
    outcome: Result<(), ChunkError>,
}

impl Writing {
    /// Writes what arrives, on a thread that may wait for the disk. Stops at the end of the input
    /// or at the first error.
    fn write(mut self, mut pieces: mpsc::Receiver<Vec<Bytes>>) -> Self {
        while let Some(gathered) = pieces.blocking_recv() {
            for bytes in gathered {
                if self.outcome.is_err() {
                    return self;
                }
                // The user signed the bytes as they come, sealed or not.
                self.digest.update(&bytes);
                self.outcome = match self.reader.take() {
                    None => self.append(&bytes),
                    Some(reader) => self.open(reader, &bytes),
                };
            }
        }
        self
    }

    fn open(&mut self, mut reader: PieceReader, mut bytes: &[u8]) -> Result<(), ChunkError> {
        let refused = |reason| {
            tracing::warn!(%reason, "refused sealed piece: a record was not accepted");
            ChunkError::Sealed(reason)
        };
        while reader.read(&mut bytes).map_err(refused)? {
            self.append(reader.plaintext())?;
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        self.file.write_at(self.at, bytes).map_err(ChunkError::of)?;
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}
