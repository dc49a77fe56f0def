//! Headers of session requests, from the browser to the gateway and from there to the instance.
//! Both parse them here, so that they agree.

use countersign_keys::request::SIGNED_INTENT;
use countersign_keys::seal::EncapsulatedKey;
use countersign_keys::session::{ContentDigest, Piece, SessionRejection};
use http::HeaderMap;

/// The token, in the upload of a chunk.
pub const TOKEN: &str = "chunked-upload-token";

/// The chunk's offset in the file.
pub const OFFSET: &str = "chunked-upload-offset";

/// The length of the whole file.
pub const TOTAL: &str = "chunked-upload-total-size";

/// The digest of a body (RFC 9530).
pub const CONTENT_DIGEST: &str = "content-digest";

pub const PROOF: &str = SIGNED_INTENT;

/// The encapsulated key of a sealed session: in the first chunk of an upload, and from the gateway
/// to the instance for every endpoint.
pub const ENC: &str = "ucloud-session-enc";

/// The token, from the gateway to the instance, for every endpoint.
pub const SESSION_TOKEN: &str = "ucloud-session-token";

/// Longest chunk, in bytes: the most that UCloud's frontend sends.
const CHUNK_MAX: i64 = 32_000_000;

/// Parses the headers of a chunk.
pub fn piece(headers: &HeaderMap) -> Result<Piece, SessionRejection> {
    // Only the canonical spelling, so that no other parser reads another number.
    let number = |name: &'static str| -> Result<Option<i64>, SessionRejection> {
        let Some(written) = header(headers, name)? else { return Ok(None) };
        let read = written.parse().ok().filter(|number: &i64| number.to_string() == written);
        read.map(Some).ok_or(SessionRejection::Piece(name))
    };
    // Without a length there is no body; other framing is refused earlier.
    let size = Some(number("content-length")?.unwrap_or(0)).filter(|size| (0..=CHUNK_MAX).contains(size));
    let offset = number(OFFSET)?.filter(|offset| *offset >= -1);
    let total = number(TOTAL)?.filter(|total| *total >= 0);
    let digest = header(headers, CONTENT_DIGEST)?.map(ContentDigest::parse).transpose()?;
    Ok(Piece {
        offset: Some(offset.ok_or(SessionRejection::Piece(OFFSET))?),
        size: Some(size.ok_or(SessionRejection::Piece("content-length"))?),
        total: Some(total.ok_or(SessionRejection::Piece(TOTAL))?),
        digest,
        enc: enc(headers)?,
    })
}

/// Parses the encapsulated key, if there is one.
pub fn enc(headers: &HeaderMap) -> Result<Option<EncapsulatedKey>, SessionRejection> {
    let written = header(headers, ENC)?;
    written.map(|text| EncapsulatedKey::parse(text).ok_or(SessionRejection::Piece(ENC))).transpose()
}

/// Returns the header of that name, which may occur once and in visible ASCII.
pub fn header<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, SessionRejection> {
    let mut all = headers.get_all(name).iter();
    let value = all.next().map(|value| value.to_str().map_err(|_| SessionRejection::Piece(name))).transpose()?;
    if all.next().is_some() { Err(SessionRejection::Piece(name)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(name: &'static str, value: &str, want: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(OFFSET, "5"), (TOTAL, "7"), ("content-length", "2")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        assert_eq!(piece(&headers).is_ok(), want, "{name}: {value:?}");
    }

    #[test]
    fn a_number_in_the_head_of_a_piece_has_one_spelling() {
        for name in [OFFSET, TOTAL, "content-length"] {
            check(name, "12", true);
            check(name, "0", true);
            for other in ["+12", "012", "-0", " 12", "", "0x1", "99999999999999999999"] {
                check(name, other, false);
            }
        }
        check(OFFSET, "-1", true);
        check(OFFSET, "-2", false);
        check(TOTAL, "-1", false);
        check("content-length", "32000001", false);
    }
}
