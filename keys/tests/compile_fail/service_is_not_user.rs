//! A request of Core on its own account joins no user's intent.
//! Refused with E0599.
use countersign_keys::core_token::ServiceRequest;
use countersign_keys::intent::VerifiedIntent;

pub fn cross<'r>(request: ServiceRequest<'r>, intent: VerifiedIntent<'r>) {
    let _ = request.intend(intent);
}
