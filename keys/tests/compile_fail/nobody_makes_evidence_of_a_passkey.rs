//! Evidence of a passkey's assertion comes only from the constructor that names the server's word.
//! Refused with E0451.
use countersign_keys::intent::Fingerprint;
use countersign_keys::policy::SteppedUp;

pub fn forge(intent: Fingerprint) -> SteppedUp {
    SteppedUp { intent }
}
