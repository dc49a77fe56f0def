//! A request that is not authenticated has no user whose intent it could join.
//! Refused with E0599.
use countersign_keys::intent::VerifiedIntent;
use countersign_keys::request::Presented;

pub fn skip<'r>(presented: Presented<'r>, intent: VerifiedIntent<'r>) {
    let _ = presented.intend(intent);
}
