//! The table of calls as the browser's signer reads it: `GET /ucloud/{p}/intent/calls.json`.
//!
//! Written once, at start-up, from the very table that judges requests, so that signer and gateway
//! cannot differ.

use countersign_keys::call::{CallTable, RowSpec};
use countersign_keys::policy::StepUp;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderMap};
use serde::Serialize;

use super::document::Document;
use super::response::Answer;

/// The table, written.
#[derive(Clone, Debug)]
pub(super) struct CallTableDocument(Document);

/// A row, and whether its call needs a passkey as well: the signer then shows a person what it is
/// for, whatever its class.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'t> {
    #[serde(flatten)]
    spec: &'t RowSpec,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    step_up: bool,
}

impl CallTableDocument {
    /// Writes the table. `step_up`: the calls that need a passkey as well.
    pub(super) fn new(calls: &CallTable, step_up: &StepUp) -> Result<Self, serde_json::Error> {
        let rows: Vec<_> =
            calls.specs().map(|spec| Listed { spec, step_up: step_up.calls.contains(&spec.call) }).collect();
        Ok(Self(Document::new(serde_json::to_vec(&rows)?, "application/json")))
    }

    /// The table, or that the client has it.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Answer {
        let mut answer = self.0.answer(asked);
        // Asked for anew each time, so that a site's new row is known at once; the answer is mostly
        // "unchanged".
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
    use countersign_keys::identity::{CallName, ProviderId};

    #[test]
    fn the_table_is_written_whole() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let catalogue = CallTableDocument::new(&calls, &StepUp::default()).unwrap();
        let rows: Vec<RowSpec> = serde_json::from_slice(catalogue.0.content()).unwrap();
        assert_eq!(rows.len(), calls.rows().len());
        assert_eq!(catalogue.answer(&HeaderMap::new()).headers()["cache-control"], "no-cache");
    }

    #[test]
    fn a_call_that_needs_a_passkey_says_so() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let step_up = StepUp { calls: [CallName::parse("files.move").unwrap()].into(), raised: true };
        let catalogue = CallTableDocument::new(&calls, &step_up).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(catalogue.0.content()).unwrap();
        let marked: Vec<_> = rows.iter().filter(|row| row["stepUp"] == true).map(|row| &row["call"]).collect();
        assert_eq!(marked, ["files.move"]);
    }
}
