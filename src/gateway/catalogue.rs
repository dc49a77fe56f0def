//! The table of calls as the browser's signer reads it: `GET /ucloud/{p}/intent/calls.json`.
//!
//! Written once, at start-up, from the very table that judges requests, so that signer and gateway cannot differ.

use countersign_keys::call::CallTable;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderMap};

use super::document::Document;
use super::respond::Answer;

/// The table, written.
#[derive(Clone, Debug)]
pub(super) struct Catalogue(Document);

impl Catalogue {
    /// Writes the table.
    pub(super) fn new(calls: &CallTable) -> Result<Self, serde_json::Error> {
        let rows: Vec<_> = calls.specs().collect();
        Ok(Self(Document::new(serde_json::to_vec(&rows)?, "application/json")))
    }

    /// The table, or that the client has it.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Answer {
        let mut answer = self.0.answer(asked);
        // Asked for anew each time, so that a site's new row is known at once; the answer is mostly "unchanged".
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
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
    fn the_table_is_written_whole() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let catalogue = Catalogue::new(&calls).unwrap();
        let rows: Vec<RowSpec> = serde_json::from_slice(catalogue.0.content()).unwrap();
        assert_eq!(rows.len(), calls.rows().len());
        assert_eq!(catalogue.answer(&HeaderMap::new()).headers()["cache-control"], "no-cache");
    }
}
