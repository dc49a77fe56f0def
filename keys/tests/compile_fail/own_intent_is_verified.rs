//! An intent that is parsed and not verified makes no request of the user's own browser.
//! Refused with E0308.
use countersign_keys::intent::PresentedIntent;
use countersign_keys::request::PresentedOwn;

pub fn skip<'r>(request: PresentedOwn<'r>, intent: PresentedIntent<'r>) {
    let _ = request.intend(intent);
}
