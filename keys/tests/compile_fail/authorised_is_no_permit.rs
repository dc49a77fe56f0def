//! What forwards takes a permit; before the intent is used up there is none.
//! Refused with E0308.
use countersign_keys::policy::{Authorised, Permit};

fn forward(_: Permit<'_, '_>) {}

pub fn skip(authorised: Authorised<'_, '_>) {
    forward(authorised);
}
