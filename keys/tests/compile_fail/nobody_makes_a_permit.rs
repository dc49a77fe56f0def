//! A permit cannot be constructed by hand.
//! Refused with E0451.
use countersign_keys::bind::Items;
use countersign_keys::core_token::UserRequest;
use countersign_keys::intent::VerifiedIntent;
use countersign_keys::policy::Permit;

pub fn forge<'r>(request: UserRequest<'r>, intent: VerifiedIntent<'r>, items: Items<'r>) -> Permit<'r, 'r> {
    Permit { request, intent, items }
}
