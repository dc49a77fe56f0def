//! Forwarding needs a permit, and there is none before the use of the intent is recorded.
//! Refused with E0308.
use countersign_keys::policy::{Authorised, Permit};

fn forward(_: Permit<'_, '_>) {}

pub fn skip(authorised: Authorised<'_, '_>) {
    forward(authorised);
}
