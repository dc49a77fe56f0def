//! Records: AES-256-GCM under a key for one direction, numbered from 0.
//!
//! ```text
//! kind (1 byte) │ ciphertext (at most 64 KiB) │ tag (16 bytes)
//! ```
//!
//! The nonce is the record's number and the associated data is its kind. Neither can be changed,
//! and no record opens at another place. The first record is [`Kind::First`], so that both sides
//! know that the keys agree before anything is acted on. The last is [`Kind::End`], so that a
//! truncated session is not taken for a whole one.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::seal::agreement::SealFailure;

/// Most plaintext of a record, in bytes.
pub const PLAINTEXT_MAX: usize = 64 * 1024;

/// Bytes that a record has beside its plaintext.
pub const RECORD_OVERHEAD: usize = 1 + TAG;

/// Longest record, in bytes.
pub const RECORD_MAX: usize = PLAINTEXT_MAX + RECORD_OVERHEAD;

const TAG: usize = 16;

/// Most records under one key: 16 TiB. AES-GCM's advantage for an attacker is then below 2⁻⁴⁸ (NIST
/// SP 800-38D, Appendix; 2⁴⁰ blocks of one key).
const RECORDS_MAX: u64 = 1 << 28;

/// A key as it was derived.
pub(super) type RecordKey = Zeroizing<[u8; 32]>;

/// What a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The first of a direction. Empty.
    First,
    /// A part of a message that has more of them.
    Part,
    /// A message, or its last part.
    Message,
    /// The last of a direction, with the reason for the end if there is one.
    End,
}

impl Kind {
    const fn as_byte(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Part => 1,
            Self::Message => 2,
            Self::End => 3,
        }
    }

    fn parse(byte: u8) -> Option<Self> {
        [Self::First, Self::Part, Self::Message, Self::End].into_iter().find(|kind| kind.as_byte() == byte)
    }
}

/// Why a record is not accepted. The session ends with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordRejection {
    /// Shorter than an empty record.
    #[error("a record is cut short")]
    Short,
    /// Longer than [`RECORD_MAX`].
    #[error("a record is too long")]
    Long,
    /// A kind that there is not.
    #[error("a record is of no known kind")]
    Kind,
    /// Altered, repeated, out of its place, or sealed with another key.
    #[error("a record does not open: it was changed, or is not in its place")]
    Forged,
    /// Genuine, but the client does not follow the protocol.
    #[error("a record stands where none of its kind may")]
    Order,
    /// A message of several records is longer than the caller's limit.
    #[error("a message is too long")]
    Message,
    /// An earlier record was not accepted, or was the last one.
    #[error("a record after the end")]
    Ended,
    /// The key has sealed as many records as it may.
    #[error("the session has carried as much as one may")]
    Spent,
    /// The keys of a piece cannot be derived.
    #[error(transparent)]
    Keys(#[from] SealFailure),
}

/// AES-256-GCM with a counter as nonce.
struct Counted {
    key: LessSafeKey,
    next: u64,
}

impl Counted {
    fn new(key: &RecordKey) -> Result<Self, SealFailure> {
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SealFailure::Derivation)?;
        Ok(Self { key: LessSafeKey::new(key), next: 0 })
    }

    /// Uses up the next number.
    fn nonce(&mut self) -> Result<Nonce, RecordRejection> {
        let number = self.next;
        if number >= RECORDS_MAX {
            return Err(RecordRejection::Spent);
        }
        self.next = number.saturating_add(1);
        let mut nonce = [0; 12];
        for (byte, of_number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte = of_number;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals the records of one direction.
pub struct Sealer {
    counted: Counted,
    is_ended: bool,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("next", &self.counted.next).finish_non_exhaustive()
    }
}

impl Sealer {
    pub(super) fn new(key: &RecordKey) -> Result<Self, SealFailure> {
        Ok(Self { counted: Counted::new(key)?, is_ended: false })
    }

    /// Appends the next record to `out`. Begin with an empty [`Kind::First`].
    ///
    /// # Errors
    /// The plaintext is longer than [`PLAINTEXT_MAX`], the last record was sealed, or the key has
    /// sealed as many as it may. `out` is unchanged.
    pub fn seal(&mut self, kind: Kind, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), RecordRejection> {
        if self.is_ended {
            return Err(RecordRejection::Ended);
        }
        if plaintext.len() > PLAINTEXT_MAX {
            return Err(RecordRejection::Long);
        }
        let nonce = self.counted.nonce()?;
        self.is_ended = kind == Kind::End;
        let begun = out.len();
        out.reserve(plaintext.len().saturating_add(RECORD_OVERHEAD));
        out.push(kind.as_byte());
        out.extend_from_slice(plaintext);
        let content = out.get_mut(begun.saturating_add(1)..).unwrap_or_default();
        let tag = self.counted.key.seal_in_place_separate_tag(nonce, Aad::from([kind.as_byte()]), content);
        let Ok(tag) = tag else {
            out.truncate(begun);
            return Err(RecordRejection::Spent);
        };
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// The records of a message of any length: [`Kind::Part`]s, and a [`Kind::Message`].
    ///
    /// # Errors
    /// See [`Sealer::seal`].
    pub fn message(&mut self, plaintext: &[u8]) -> Result<Vec<Vec<u8>>, RecordRejection> {
        let mut records = Vec::with_capacity(plaintext.len().div_ceil(PLAINTEXT_MAX).max(1));
        let mut rest = plaintext;
        loop {
            let (part, after) = rest.split_at(rest.len().min(PLAINTEXT_MAX));
            let kind = if after.is_empty() { Kind::Message } else { Kind::Part };
            records.push(self.record(kind, part)?);
            if after.is_empty() {
                return Ok(records);
            }
            rest = after;
        }
    }

    /// The next record, alone.
    ///
    /// # Errors
    /// See [`Sealer::seal`].
    pub fn record(&mut self, kind: Kind, plaintext: &[u8]) -> Result<Vec<u8>, RecordRejection> {
        let mut record = Vec::new();
        self.seal(kind, plaintext, &mut record)?;
        Ok(record)
    }
}

/// Opens the records of one direction, in their order. After the first one that is not accepted it
/// opens none.
pub struct Opener {
    counted: Counted,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The first record is still to come.
    New,
    /// The last record was whole.
    Between,
    /// Within a message of several records.
    Within,
    Ended,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("next", &self.counted.next).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(key: &RecordKey) -> Result<Self, SealFailure> {
        Ok(Self { counted: Counted::new(key)?, state: State::New })
    }

    /// Opens the next record in its place, and returns its plaintext.
    ///
    /// # Errors
    /// The record is not the next one of this direction, as it was sealed.
    pub fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<(Kind, &'r [u8]), RecordRejection> {
        // Whatever happens below, a failed record is the last one.
        let state = std::mem::replace(&mut self.state, State::Ended);
        if state == State::Ended {
            return Err(RecordRejection::Ended);
        }
        if record.len() > RECORD_MAX {
            return Err(RecordRejection::Long);
        }
        let Some((kind, sealed)) = record.split_first_mut().filter(|(_, sealed)| sealed.len() >= TAG) else {
            return Err(RecordRejection::Short);
        };
        let kind = Kind::parse(*kind).ok_or(RecordRejection::Kind)?;
        let nonce = self.counted.nonce()?;
        let opened = self.counted.key.open_in_place(nonce, Aad::from([kind.as_byte()]), sealed);
        let plaintext = opened.map_err(|_| RecordRejection::Forged)?;
        self.state = match (state, kind) {
            (State::New, Kind::First) if plaintext.is_empty() => State::Between,
            (State::Between | State::Within, Kind::Part) => State::Within,
            (State::Between | State::Within, Kind::Message) => State::Between,
            (State::Between, Kind::End) => State::Ended,
            _ => return Err(RecordRejection::Order),
        };
        Ok((kind, plaintext))
    }
}

/// What records say.
#[derive(Debug, Eq, PartialEq)]
pub enum Received {
    /// The first record: the keys agree.
    Confirmed,
    /// A part of a message, which is kept.
    Part,
    /// A whole message.
    Message(Vec<u8>),
    /// The end, with its reason.
    End(Vec<u8>),
}

/// Opens records and joins the parts of messages.
#[derive(Debug)]
pub struct MessageReader {
    opener: Opener,
    begun: Vec<u8>,
    message_max: usize,
}

impl MessageReader {
    /// Joins messages of at most `message_max` bytes.
    #[must_use]
    pub const fn new(opener: Opener, message_max: usize) -> Self {
        Self { opener, begun: Vec::new(), message_max }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// The record is not accepted, or its message is too long.
    pub fn take(&mut self, mut record: Vec<u8>) -> Result<Received, RecordRejection> {
        let (kind, plaintext) = self.opener.open(&mut record)?;
        if self.begun.len().saturating_add(plaintext.len()) > self.message_max {
            self.opener.state = State::Ended;
            return Err(RecordRejection::Message);
        }
        Ok(match kind {
            Kind::First => Received::Confirmed,
            Kind::Part => {
                self.begun.extend_from_slice(plaintext);
                Received::Part
            }
            Kind::Message => {
                let mut message = std::mem::take(&mut self.begun);
                message.extend_from_slice(plaintext);
                Received::Message(message)
            }
            Kind::End => Received::End(plaintext.to_vec()),
        })
    }
}
