//! A direct permit has no token of Core to forward.
//! Refused with E0599.
use countersign_keys::direct::DirectRequest;
use countersign_keys::policy::Permit;

pub fn cross(permit: Permit<'_, '_, DirectRequest>) -> String {
    permit.token().expose().to_owned()
}
