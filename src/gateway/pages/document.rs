//! A document that does not change while the gateway runs, with its entity tags (ETag) and its
//! conditional responses.
//!
//! Compressed once, when it is made. Each form has its own tag; a client that sends the tag gets
//! 304.

use std::io::Write as _;

use bytes::Bytes;
use countersign_keys::jws::sha256;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, VARY};

use crate::response::gzip::takes_gzip;
use crate::response::{self, Answer};
use countersign_config::Logo;

/// In bytes. Shorter documents fit one packet as they are.
const COMPRESSED_MIN: usize = 1_024;

#[derive(Clone, Debug)]
pub(crate) struct Document {
    content_type: HeaderValue,
    plain: Form,
    compressed: Option<Form>,
}

#[derive(Clone, Debug)]
struct Form {
    content: Bytes,
    tag: HeaderValue,
}

impl Document {
    pub(crate) fn new(content: Vec<u8>, content_type: &'static str) -> Self {
        let compressed =
            compress(&content).map(|short| Form { tag: tag(&content, "-gzip"), content: Bytes::from(short) });
        let plain = Form { tag: tag(&content, ""), content: Bytes::from(content) };
        Self { content_type: HeaderValue::from_static(content_type), plain, compressed }
    }

    /// Answers with the form that the client accepts, or with 304.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Answer {
        let compressed = self.compressed.as_ref().filter(|_| takes_gzip(asked));
        let form = compressed.unwrap_or(&self.plain);
        let mut answer = if knows(asked, &form.tag) {
            response::unchanged()
        } else {
            response::document(form.content.clone(), self.content_type.clone())
        };
        let is_whole = answer.headers().contains_key(CONTENT_TYPE);
        let headers = answer.headers_mut();
        headers.insert(ETAG, form.tag.clone());
        if self.compressed.is_some() {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if compressed.is_some() && is_whole {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }

    /// The uncompressed bytes.
    #[cfg(test)]
    pub(crate) fn content(&self) -> &[u8] {
        &self.plain.content
    }
}

impl From<&Logo> for Document {
    fn from(logo: &Logo) -> Self {
        Self::new(logo.content.to_vec(), logo.kind.media_type())
    }
}

/// The first half of a digest, in hexadecimal. Enough for a name: the content is the gateway's own.
pub(crate) fn name_of(digest: &[u8; 32]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn tag(content: &[u8], form: &str) -> HeaderValue {
    let text = format!("\"{}{form}\"", name_of(&sha256(&[content])));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Compresses the document, unless it is short or does not shrink.
fn compress(content: &[u8]) -> Option<Vec<u8>> {
    if content.len() < COMPRESSED_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    encoder.finish().ok().filter(|short| short.len() < content.len())
}

/// Whether `If-None-Match` lists the tag. Ignores `W/`, which a proxy may have added (RFC 9110
/// section 13.1.2).
fn knows(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = asked.get(IF_NONE_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
    known.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|known| {
        let known = known.strip_prefix(b"W/").unwrap_or(known);
        known == tag.as_bytes() || known == b"*"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::AnswerBody;
    use std::io::Read as _;

    fn ask(document: &Document, headers: &[(&'static str, &str)]) -> Answer {
        let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        document.answer(&pairs.collect::<HeaderMap>())
    }

    fn content(answer: Answer) -> Bytes {
        let AnswerBody::Whole(bytes) = answer.into_body() else { panic!("whole") };
        bytes
    }

    #[test]
    fn a_long_document_has_two_forms_and_two_names() {
        let text = "let here = \"be text\";\n".repeat(100);
        let document = Document::new(text.clone().into_bytes(), "text/javascript; charset=utf-8");
        let plain = ask(&document, &[]);
        let short = ask(&document, &[("accept-encoding", "br, GZIP;q=0.8")]);
        for answer in [&plain, &short] {
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
            assert_eq!(answer.headers()["vary"], "accept-encoding");
        }
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(short.headers()["content-encoding"], "gzip");
        assert_ne!(plain.headers()["etag"], short.headers()["etag"]);
        assert_eq!(content(plain), text);
        let mut read = String::new();
        flate2::read::GzDecoder::new(content(short).as_ref()).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        for refused in ["identity", "gzip;q=0", "br", "x-gzip2", ""] {
            let answer = ask(&document, &[("accept-encoding", refused)]);
            assert!(!answer.headers().contains_key("content-encoding"), "{refused}");
        }
    }

    #[test]
    fn whoever_has_it_is_told_so() {
        let document = Document::new(vec![b'a'; 2_000], "text/css; charset=utf-8");
        let tag = ask(&document, &[]).headers()["etag"].to_str().unwrap().to_owned();
        let short = ask(&document, &[("accept-encoding", "gzip")]).headers()["etag"].to_str().unwrap().to_owned();
        let check = |known: &str, encoding: &str, want: u16| {
            let answer = ask(&document, &[("if-none-match", known), ("accept-encoding", encoding)]);
            assert_eq!(answer.status(), want, "{known}");
            assert!(answer.headers().contains_key("etag"));
            if want == 304 {
                assert!(!answer.headers().contains_key("content-encoding"));
                assert!(content(answer).is_empty());
            }
        };
        check(&tag, "", 304);
        check(&format!("W/{tag}"), "", 304);
        check(&format!("\"other\" , {tag}"), "", 304);
        check("*", "", 304);
        check(&short, "gzip", 304);
        check(&short, "", 200);
        check(&tag, "gzip", 200);
        check("\"other\"", "", 200);
        check(tag.trim_matches('"'), "", 200);
    }
}
