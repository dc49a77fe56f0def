//! An intent that was read and not verified is nobody's request.
//! Refused with E0308.
use countersign_keys::intent::PresentedIntent;
use countersign_keys::request::PresentedOwn;

pub fn skip<'r>(request: PresentedOwn<'r>, intent: PresentedIntent<'r>) {
    let _ = request.intend(intent);
}
