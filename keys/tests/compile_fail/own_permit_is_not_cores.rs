//! A permit says which way its request came.
//! Refused with E0308.
use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;

fn forward(_: Permit<'_, '_>) {}

pub fn cross(permit: Permit<'_, '_, OwnRequest>) {
    forward(permit);
}
