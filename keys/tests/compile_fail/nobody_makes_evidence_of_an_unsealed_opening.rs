//! Evidence that a session was opened without a seal cannot be constructed by hand.
//! Refused with E0423.
use countersign_keys::session::Unsealed;

pub fn forge() -> Unsealed {
    Unsealed(())
}
