//! Forwarding consumes the permit.
//! Refused with E0382.
use countersign_keys::policy::Permit;

fn forward(_: Permit<'_, '_>) {}

pub fn twice(permit: Permit<'_, '_>) {
    forward(permit);
    forward(permit);
}
