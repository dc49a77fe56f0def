//! The call table for the browser's signer: `GET /ucloud/{p}/intent/calls.json`.
//!
//! Written once, at start-up, from the table that verifies requests, so that signer and gateway
//! cannot differ.

use countersign_keys::call::{CallTable, REVISION, RowSpec};
use countersign_keys::policy::StepUp;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use serde::Serialize;

use crate::pages::document::Document;
use crate::response::Answer;

/// The revision of the standard rows, for a signer that has rows of its own.
const CALLS_REVISION: HeaderName = HeaderName::from_static("countersign-calls-revision");

#[derive(Clone, Debug)]
pub(crate) struct CallTableDocument(Document);

/// A row, and whether its call needs a passkey too. If it does, the signer shows a person the
/// request, whatever its class.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'t> {
    #[serde(flatten)]
    spec: &'t RowSpec,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    step_up: bool,
}

impl CallTableDocument {
    /// Writes the table. `step_up` lists the calls that need a passkey too.
    pub(crate) fn new(calls: &CallTable, step_up: &StepUp) -> Result<Self, serde_json::Error> {
        let rows: Vec<_> =
            calls.specs().map(|spec| Listed { spec, step_up: step_up.calls.contains(&spec.call) }).collect();
        Ok(Self(Document::new(serde_json::to_vec(&rows)?, "application/json")))
    }

    /// The table, or 304 if the client has it.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Answer {
        let mut answer = self.0.answer(asked);
        // Revalidated each time, so that a site's new row takes effect at once. Most answers are
        // 304.
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer.headers_mut().insert(CALLS_REVISION, HeaderValue::from(REVISION));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_keys::identity::{CallName, ProviderId};

    #[test]
    fn the_table_is_written_whole() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let catalogue = CallTableDocument::new(&calls, &StepUp::default()).unwrap();
        let rows: Vec<RowSpec> = serde_json::from_slice(catalogue.0.content()).unwrap();
        assert_eq!(rows.len(), calls.rows().len());
        let answer = catalogue.answer(&HeaderMap::new());
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        assert_eq!(answer.headers()["countersign-calls-revision"], REVISION.to_string());
    }

    #[test]
    fn each_call_of_core_says_how_its_user_asks_for_it() {
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let catalogue = CallTableDocument::new(&calls, &StepUp::default()).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(catalogue.0.content()).unwrap();
        for row in &rows {
            let sides = row.get("user").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
            assert_eq!(sides > 0, row["from"] == "core", "{}", row["call"]);
        }
        let moved = rows.iter().find(|row| row["call"] == "files.move").unwrap();
        assert_eq!(moved["user"][0]["path"], "/api/files/move");
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
