//! An intent is not used twice for one request.
//! Refused with E0382.
use countersign_keys::policy::{Authorised, Policy};
use countersign_keys::replay::NoReplayLog;
use countersign_keys::time::Timestamp;

pub fn twice(policy: &Policy, authorised: Authorised<'_, '_>, now: Timestamp) {
    let _ = authorised.consume(policy, &NoReplayLog, now);
    let _ = authorised.consume(policy, &NoReplayLog, now);
}
