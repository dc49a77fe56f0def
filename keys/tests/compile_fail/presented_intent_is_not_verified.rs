//! An intent that is parsed and not verified joins no request.
//! Refused with E0308.
use countersign_keys::core_token::UserRequest;
use countersign_keys::intent::PresentedIntent;

pub fn skip<'r>(request: UserRequest<'r>, intent: PresentedIntent<'r>) {
    let _ = request.intend(intent);
}
