//! A request that nobody authenticated has no user to join an intent with.
//! Refused with E0599.
use countersign_keys::intent::VerifiedIntent;
use countersign_keys::request::Presented;

pub fn skip<'r>(presented: Presented<'r>, intent: VerifiedIntent<'r>) {
    let _ = presented.intend(intent);
}
