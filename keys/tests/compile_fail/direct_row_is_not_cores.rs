//! A direct row has no lane behind Core's token.
//! Refused with E0308.
use countersign_keys::call::{Lane, DirectRow};

pub fn cross(row: DirectRow) -> Lane {
    Lane::User(row)
}
