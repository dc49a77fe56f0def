//! A row of the user's own browser has no lane behind Core's token.
//! Refused with E0308.
use countersign_keys::call::{Lane, OwnRow};

pub fn cross(row: OwnRow) -> Lane {
    Lane::User(row)
}
