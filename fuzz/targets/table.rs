//! Rows that a site adds to the table of calls, and paths that strangers request: no row takes
//! another's path.
#![no_main]

use countersign_keys::call::{CallTable, Method, Pointer, RowSpec};
use countersign_keys::identity::ProviderId;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PROVIDER: LazyLock<ProviderId> = LazyLock::new(|| ProviderId::parse("hpc").expect("an id"));
static STANDARD: LazyLock<CallTable> = LazyLock::new(|| CallTable::new(&PROVIDER, &[]).expect("the standard table"));

fuzz_target!(|text: &str| {
    for method in [Method::Get, Method::Post, Method::Delete] {
        let _ = STANDARD.route(method, text);
    }
    let _ = Pointer::parse(text);
    let Ok(rows) = serde_json::from_str::<Vec<RowSpec>>(text) else { return };
    let Ok(table) = CallTable::new(&PROVIDER, &rows) else { return };
    assert_eq!(table.rows().len(), STANDARD.rows().len() + rows.len());
    for row in STANDARD.rows() {
        let kept = table.row(row.call().as_str()).expect("a standard row stays");
        assert_eq!(kept.spec(), row.spec());
    }
});
