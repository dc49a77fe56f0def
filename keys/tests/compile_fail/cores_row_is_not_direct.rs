//! A request that Core sends for a user needs Core's token.
//! Refused with E0308.
use countersign_keys::call::CoreRow;
use countersign_keys::request::{PresentedDirect, RequestRejection};

pub fn cross<'h>(row: &CoreRow, headers: Vec<(&'h str, &'h [u8])>) -> Result<PresentedDirect<'h>, RequestRejection> {
    PresentedDirect::parse(row, headers)
}
