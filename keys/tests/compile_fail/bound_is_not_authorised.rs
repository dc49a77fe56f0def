//! A request must pass the site's policy before its intent is used.
//! Refused with E0599.
use countersign_keys::bind::Bound;
use countersign_keys::policy::Policy;
use countersign_keys::replay::NoReplayLog;
use countersign_keys::time::Timestamp;

pub fn skip(policy: &Policy, bound: Bound<'_, '_>, now: Timestamp) {
    let _ = bound.consume(policy, &NoReplayLog, now);
}
