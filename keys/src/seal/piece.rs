//! A sealed piece of an upload: a salt, and records with their lengths.
//!
//! The user's signature covers the sealed bytes, their offset and the file's length. The seal hides
//! them. The client draws a salt for each time that it seals, so a piece that is sealed again has
//! another key, whatever its bytes.

use std::sync::Arc;

use crate::seal::frames::Frames;
use crate::seal::key::SealedSession;
use crate::seal::record::{Kind, Opener, PLAINTEXT_MAX, RECORD_OVERHEAD, RecordRejection};

/// Length of the salt, in bytes.
pub const SALT: usize = 16;

/// Bytes of a record beside its plaintext, its length included.
const FRAME: usize = RECORD_OVERHEAD + 4;

/// Bytes of the plaintext of a sealed piece with that many bytes; `None` if no piece has so many.
/// Every record of content is full, except the last.
#[must_use]
pub fn plaintext_of(sealed: u64) -> Option<u64> {
    let [salt, frame, full] = [SALT, FRAME, PLAINTEXT_MAX].map(|length| u64::try_from(length).unwrap_or(u64::MAX));
    let content = sealed.checked_sub(salt)?.checked_sub(frame.checked_mul(2)?)?;
    let record = full.checked_add(frame)?;
    let whole = content.checked_div(record)?.checked_mul(full)?;
    match content.checked_rem(record)? {
        0 => Some(whole),
        rest => whole.checked_add(rest.checked_sub(frame).filter(|rest| *rest > 0)?),
    }
}

/// Reads a piece from bytes that arrive in any cuts. Holds at most one record.
#[derive(Debug)]
pub struct PieceReader {
    session: Arc<SealedSession>,
    offset: i64,
    total: i64,
    salt: Vec<u8>,
    opener: Option<Opener>,
    frames: Frames,
    is_ended: bool,
}

impl PieceReader {
    /// Reads the piece at this offset of a file of this length, as its head announces them.
    #[must_use]
    pub fn new(session: Arc<SealedSession>, offset: i64, total: i64) -> Self {
        let frames = Frames::default();
        Self { session, offset, total, salt: Vec::with_capacity(SALT), opener: None, frames, is_ended: false }
    }

    /// Takes bytes from `input` until some plaintext is there, for [`PieceReader::plaintext`].
    /// `false`: all bytes are taken, and there is none.
    ///
    /// # Errors
    /// A record is not accepted, or bytes follow the last one.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<bool, RecordRejection> {
        while self.opener.is_none() {
            let (taken, rest) = input.split_at((SALT.saturating_sub(self.salt.len())).min(input.len()));
            self.salt.extend_from_slice(taken);
            *input = rest;
            let Ok(salt) = <[u8; SALT]>::try_from(self.salt.as_slice()) else { return Ok(false) };
            self.opener = Some(self.session.piece(&salt, self.offset, self.total)?);
        }
        let Some(opener) = &mut self.opener else { return Ok(false) };
        while !input.is_empty() {
            if self.is_ended {
                return Err(RecordRejection::Ended);
            }
            if !self.frames.fill(input)? {
                return Ok(false);
            }
            match opener.open(self.frames.record())?.0 {
                Kind::First => {}
                Kind::Message => return Ok(true),
                Kind::End => self.is_ended = true,
                Kind::Part => return Err(RecordRejection::Order),
            }
        }
        Ok(false)
    }

    /// The plaintext of the record that [`PieceReader::read`] has opened.
    pub fn plaintext(&mut self) -> &[u8] {
        let record = self.frames.record();
        let end = record.len().saturating_sub(RECORD_OVERHEAD).saturating_add(1);
        record.get(1..end).unwrap_or_default()
    }

    /// The instance's word that it has this piece: two empty records under a key of this piece
    /// alone. The gateway cannot make it, so a client knows of a piece that did not arrive.
    ///
    /// # Errors
    /// [`RecordRejection::Order`] if the piece has not ended, or the key cannot be derived.
    pub fn answer(&self) -> Result<Vec<u8>, RecordRejection> {
        let salt = <[u8; SALT]>::try_from(self.salt.as_slice()).ok().filter(|_| self.is_ended);
        let salt = salt.ok_or(RecordRejection::Order)?;
        let mut sealer = self.session.piece_answer(&salt, self.offset, self.total)?;
        let mut answer = Vec::new();
        for kind in [Kind::First, Kind::End] {
            let record = sealer.record(kind, &[])?;
            Frames::write_length(record.len(), &mut answer);
            answer.extend_from_slice(&record);
        }
        Ok(answer)
    }

    /// Whether the last record has come. A piece without it is cut short.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.is_ended
    }
}
