//! An intent that is parsed and not verified makes no direct request.
//! Refused with E0308.
use countersign_keys::intent::PresentedIntent;
use countersign_keys::request::PresentedDirect;

pub fn skip<'r>(request: PresentedDirect<'r>, intent: PresentedIntent<'r>) {
    let _ = request.intend(intent);
}
