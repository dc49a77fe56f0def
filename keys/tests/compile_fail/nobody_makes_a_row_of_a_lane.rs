//! Only the table of calls decides the lane of a row.
//! Refused with E0423.
use std::sync::Arc;

use countersign_keys::call::{CoreRow, Row};

pub fn forge(row: Arc<Row>) -> CoreRow {
    CoreRow(row)
}
