//! JSON as `keys` reads it, compared with serde_json; and its RFC 8785 form, compared with another
//! implementation.
//!
//! Ours is the stricter of the two: serde_json accepts everything that it accepts, with the same
//! meaning.
#![no_main]

use countersign_keys::bind::Items;
use countersign_keys::call::CallTable;
use countersign_keys::identity::ProviderId;
use countersign_keys::json::{DEPTH_MAX, Json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;

static CALLS: LazyLock<CallTable> =
    LazyLock::new(|| CallTable::new(&ProviderId::parse("hpc").expect("an id"), &[]).expect("the standard table"));

fuzz_target!(|text: &[u8]| {
    if let Ok(json) = Json::parse(text, DEPTH_MAX) {
        let theirs: Value = serde_json::from_slice(text).expect("serde_json refuses what we take");
        same(&json, &theirs);
    }
    for row in CALLS.rows() {
        let Ok(items) = Items::read(row, text) else { continue };
        for projection in items.projections() {
            let canonical = projection.canonical();
            let value: Value = serde_json::from_slice(&canonical).expect("a canonical text is JSON");
            assert_eq!(serde_jcs::to_vec(&value).expect("a value"), canonical, "{}", row.call());
        }
    }
});

fn same(ours: &Json<'_>, theirs: &Value) {
    match theirs {
        Value::Object(members) => {
            let mine = ours.members().expect("an object");
            assert_eq!(mine.len(), members.len());
            for (name, value) in mine {
                same(value, &members[name.as_ref()]);
            }
        }
        Value::Array(elements) => {
            let mine = ours.elements().expect("an array");
            assert_eq!(mine.len(), elements.len());
            mine.iter().zip(elements).for_each(|(ours, theirs)| same(ours, theirs));
        }
        Value::String(text) => assert_eq!(ours.as_str(), Some(text.as_str())),
        Value::Bool(flag) => assert_eq!(ours.as_bool(), Some(*flag)),
        Value::Number(number) => {
            if let Some(integer) = ours.as_integer() {
                assert_eq!(number.as_f64(), Some(integer as f64));
            }
        }
        Value::Null => assert!(ours.as_str().is_none() && ours.as_bool().is_none() && ours.as_integer().is_none()),
    }
}
