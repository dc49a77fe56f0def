//! A permit of the user's own browser has no token of Core to forward.
//! Refused with E0599.
use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;

pub fn cross(permit: Permit<'_, '_, OwnRequest>) -> String {
    permit.token().expose().to_owned()
}
