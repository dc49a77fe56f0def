//! The type of a permit names the lane of its request.
//! Refused with E0308.
use countersign_keys::direct::DirectRequest;
use countersign_keys::policy::Permit;

fn forward(_: Permit<'_, '_>) {}

pub fn cross(permit: Permit<'_, '_, DirectRequest>) {
    forward(permit);
}
