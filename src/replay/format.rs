//! The byte format of the journal's files: a header of two blocks, then one block for each use.
//!
//! Format 2 (`csused02`) had a header of one block, and did not record lost times. It is read, and
//! rewritten.

use countersign_keys::jws::sha256;
use countersign_keys::replay::lost::{INTERVALS_MAX, LostTimes};
use countersign_keys::replay::{IntentId, Use};
use countersign_keys::time::Timestamp;

/// Bytes of a record; the header has [`HEADER_BLOCKS`] times as many.
pub(super) const BLOCK: usize = 64;

pub(super) const HEADER_BLOCKS: usize = 2;

/// Start of a file: name and version of the format.
const MAGIC: [u8; 8] = *b"csused03";

/// Start of a file of format 2.
const MAGIC_2: [u8; 8] = *b"csused02";

/// The header of both files, without the number of the turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    /// The boot in which the files were begun.
    pub(super) boot: [u8; 16],
    /// For intents issued until then, uses may be missing. Recorded, because the files alone no
    /// longer show that anything is missing after the process that found it out has ended.
    pub(super) fence: Timestamp,
    /// Times whose uses were lost when a file was rewritten.
    pub(super) lost: LostTimes,
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Header and number of the turn.
    pub(super) header: Option<(Header, u64)>,
    /// Each use, and when it was judged.
    pub(super) uses: Vec<(Use, Timestamp)>,
    /// Whether it is of format 2.
    pub(super) is_old: bool,
}

impl Content {
    /// Parses a file, up to the first invalid record.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let blocks = bytes.as_chunks::<BLOCK>().0;
        let (header, from, is_old) = match bytes.first_chunk::<{ BLOCK * HEADER_BLOCKS }>().and_then(Header::read) {
            Some(header) => (Some(header), HEADER_BLOCKS, false),
            None => (blocks.first().and_then(Header::read_2), 1, true),
        };
        let Some((_, epoch)) = header else { return Self::default() };
        let records = blocks.get(from..).unwrap_or_default();
        let uses = records.iter().map_while(|block| read_record(epoch, block)).collect();
        Self { header, uses, is_old }
    }
}

impl Header {
    /// Its bytes in that turn.
    pub(super) fn to_bytes(self, epoch: u64) -> [u8; BLOCK * HEADER_BLOCKS] {
        let mut body = [&MAGIC[..], &epoch.to_be_bytes(), &self.boot, &bytes_of(self.fence)].concat();
        let intervals = self.lost.intervals().flat_map(|(from, to)| [from, to]);
        let unused = std::iter::repeat_n(Timestamp::from_seconds(i64::MAX), INTERVALS_MAX * 2);
        intervals.chain(unused).take(INTERVALS_MAX * 2).for_each(|time| body.extend_from_slice(&bytes_of(time)));
        with_digest(&body, &body)
    }

    fn read(bytes: &[u8; BLOCK * HEADER_BLOCKS]) -> Option<(Self, u64)> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (boot, rest) = rest.split_first_chunk::<16>()?;
        let mut times = rest.as_chunks::<8>().0.iter().map(|time| Timestamp::from_seconds(i64::from_be_bytes(*time)));
        let fence = times.next()?;
        let mut lost = LostTimes::default();
        for _ in 0..INTERVALS_MAX {
            let (from, to) = (times.next()?, times.next()?);
            if to != Timestamp::from_seconds(i64::MAX) {
                lost.add(from, to);
            }
        }
        let (header, epoch) = (Self { boot: *boot, fence, lost }, u64::from_be_bytes(*epoch));
        (*magic == MAGIC && *bytes == header.to_bytes(epoch)).then_some((header, epoch))
    }

    fn read_2(block: &[u8; BLOCK]) -> Option<(Self, u64)> {
        let (magic, rest) = block.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (boot, rest) = rest.split_first_chunk::<16>()?;
        let fence = rest.first_chunk::<8>()?;
        let fence = Timestamp::from_seconds(i64::from_be_bytes(*fence));
        let body = [&magic[..], epoch, boot, &bytes_of(fence)].concat();
        let header = Self { boot: *boot, fence, lost: LostTimes::default() };
        (*magic == MAGIC_2 && *block == with_digest(&body, &body)).then_some((header, u64::from_be_bytes(*epoch)))
    }

    /// A header of format 2.
    #[cfg(test)]
    pub(super) fn to_bytes_2(self, epoch: u64) -> [u8; BLOCK] {
        let body = [&MAGIC_2[..], &epoch.to_be_bytes(), &self.boot, &bytes_of(self.fence)].concat();
        with_digest(&body, &body)
    }
}

/// A use in that turn.
pub(super) fn record(epoch: u64, used: Use, now: Timestamp) -> [u8; BLOCK] {
    let times = [used.iat, used.exp, now].map(bytes_of).concat();
    let body = [&used.id.0[..], &times].concat();
    // The epoch is part of the digest alone: a record of an earlier turn is invalid in this one.
    with_digest(&body, &[&epoch.to_be_bytes()[..], &body].concat())
}

fn read_record(epoch: u64, block: &[u8; BLOCK]) -> Option<(Use, Timestamp)> {
    let (id, rest) = block.split_first_chunk::<32>()?;
    let mut times = rest.as_chunks::<8>().0.iter().map(|bytes| Timestamp::from_seconds(i64::from_be_bytes(*bytes)));
    let used = Use { id: IntentId(*id), iat: times.next()?, exp: times.next()? };
    let now = times.next()?;
    (*block == record(epoch, used, now)).then_some((used, now))
}

const fn bytes_of(time: Timestamp) -> [u8; 8] {
    time.seconds().to_be_bytes()
}

/// The body, zeros, and the start of a digest in the last eight bytes.
fn with_digest<const N: usize>(body: &[u8], digested: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let digest = sha256(&[digested]);
    for (to, from) in bytes.iter_mut().zip(body) {
        *to = *from;
    }
    for (to, from) in bytes.iter_mut().rev().zip(digest.into_iter().take(8)) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_makes_it_none() {
        let mut lost = LostTimes::default();
        lost.add(Timestamp::from_seconds(i64::MIN), Timestamp::from_seconds(7));
        lost.add(Timestamp::from_seconds(1_000), Timestamp::from_seconds(2_000));
        for lost in [LostTimes::default(), lost] {
            let header = Header { boot: [3; 16], fence: Timestamp::from_seconds(5), lost };
            let bytes = header.to_bytes(9);
            assert_eq!(Header::read(&bytes), Some((header, 9)));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes;
                if let Some(byte) = flipped.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
                assert_eq!(Header::read(&flipped), None, "bit {bit}");
            }
        }
    }
}
