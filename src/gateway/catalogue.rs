//! The table of calls as the browser's signer reads it: `GET /ucloud/{p}/intent/calls.json`.
//!
//! Written once, at start-up, from the very table that judges requests, so that signer and gateway cannot differ.

use bytes::Bytes;
use countersign_keys::call::CallTable;
use countersign_keys::jws::sha256;
use http::header::{CACHE_CONTROL, ETAG, HeaderMap, IF_NONE_MATCH};
use http::{HeaderValue, header};

use super::respond::{self, Answer};

/// The table and its name for caches.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    content: Bytes,
    tag: HeaderValue,
}

impl Catalogue {
    /// Writes the table.
    pub(super) fn new(calls: &CallTable) -> Result<Self, serde_json::Error> {
        let rows: Vec<_> = calls.specs().collect();
        let content = serde_json::to_vec(&rows)?;
        let digest = sha256(&[&content]);
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{name}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Ok(Self { content: Bytes::from(content), tag })
    }

    /// The table, or that the client has it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Answer {
        let known = headers.get(IF_NONE_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
        let is_known = known.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| tag == self.tag.as_bytes());
        let mut answer = if is_known { respond::unchanged() } else { respond::document(self.content.clone()) };
        let headers: &mut header::HeaderMap = answer.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        // Asked for anew each time, so that a site's new row is known at once; the answer is mostly "unchanged".
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
    use countersign_keys::call::RowSpec;
    use countersign_keys::identity::ProviderId;

    #[test]
    fn the_table_is_written_whole_and_known_by_its_tag() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let catalogue = Catalogue::new(&calls).unwrap();
        let rows: Vec<RowSpec> = serde_json::from_slice(&catalogue.content).unwrap();
        assert_eq!(rows.len(), calls.rows().len());
        let mut headers = HeaderMap::new();
        assert_eq!(catalogue.answer(&headers).status(), 200);
        headers.insert(IF_NONE_MATCH, catalogue.tag.clone());
        assert_eq!(catalogue.answer(&headers).status(), 304);
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert_eq!(catalogue.answer(&headers).status(), 200);
    }
}
