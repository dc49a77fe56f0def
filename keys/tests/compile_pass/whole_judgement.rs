//! All stages in order. Each program in `compile_fail` skips one of them.
use std::sync::Arc;

use countersign_keys::bind::Items;
use countersign_keys::call::DirectRow;
use countersign_keys::core_token::{Authenticated, CoreTokens};
use countersign_keys::intent::{IntentRejection, PresentedIntent};
use countersign_keys::keyring::EnrolledKey;
use countersign_keys::direct::DirectRequest;
use countersign_keys::policy::{Permit, Policy};
use countersign_keys::replay::ReplayLog;
use countersign_keys::request::{INTENT_MAX, Presented, PresentedDirect};
use countersign_keys::time::Timestamp;
use countersign_keys::verify::Rejection;

pub fn judge<'r, L: ReplayLog>(
    presented: Presented<'r>,
    body: &'r [u8],
    tokens: &mut CoreTokens,
    keys: &[Arc<EnrolledKey>],
    policy: &Policy,
    log: &L,
    now: Timestamp,
) -> Result<Permit<'r, 'r>, Rejection> {
    let Authenticated::User(request) = tokens.authenticate(presented, now)? else { return Err(Rejection::NoSuchCall) };
    let intent = request.intent().ok_or(IntentRejection::Missing)?;
    let intent = PresentedIntent::parse(intent, INTENT_MAX, policy.terms.version_1)?;
    let intent = intent.verify(request.username(), keys, &policy.terms, now)?;
    let items = Items::read(request.row(), body)?;
    let bound = request.intend(intent)?.bind(items)?;
    Ok(policy.authorise(bound)?.consume(policy, log, now)?)
}

pub fn judge_direct<'r, L: ReplayLog>(
    row: &DirectRow,
    presented: PresentedDirect<'r>,
    body: &'r [u8],
    keys: &[Arc<EnrolledKey>],
    policy: &Policy,
    log: &L,
    now: Timestamp,
) -> Result<Permit<'r, 'r, DirectRequest>, Rejection> {
    let intent = presented.intent()?;
    let intent = intent.verify(&intent.claimed_username()?, keys, &policy.terms, now)?;
    let items = Items::read(row.row(), body)?;
    let bound = presented.intend(intent)?.bind(items)?;
    Ok(policy.authorise(bound)?.consume(policy, log, now)?)
}
