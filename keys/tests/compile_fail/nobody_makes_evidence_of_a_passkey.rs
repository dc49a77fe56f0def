//! Evidence of a passkey's assertion comes from the word of whoever checked it.
//! Refused with E0451.
use countersign_keys::intent::Fingerprint;
use countersign_keys::policy::SteppedUp;

pub fn forge(intent: Fingerprint) -> SteppedUp {
    SteppedUp { intent }
}
