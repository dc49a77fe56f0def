//! A request that the site's rules have not been asked about is not spent.
//! Refused with E0599.
use countersign_keys::bind::Bound;
use countersign_keys::policy::Policy;
use countersign_keys::replay::NoReplayLog;
use countersign_keys::time::Timestamp;

pub fn skip(policy: &Policy, bound: Bound<'_, '_>, now: Timestamp) {
    let _ = bound.spend(policy, &NoReplayLog, now);
}
