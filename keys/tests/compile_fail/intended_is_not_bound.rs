//! A request whose parameters were not compared with the signed ones is not authorised.
//! Refused with E0308.
use countersign_keys::intent::Intended;
use countersign_keys::policy::Policy;

pub fn skip(policy: &Policy, intended: Intended<'_>) {
    let _ = policy.authorise(intended);
}
