//! The verification without its surroundings: from a request's head and body to the permit, without
//! a network, a store on disk or a log. Measured beside the one signature check that it contains;
//! the rest is what Countersign adds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::bind::Items;
use countersign_keys::call::{CallTable, Lane, Method, Route};
use countersign_keys::core_token::{Authenticated, CoreKey, CoreTokens};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{Origin, ProviderId};
use countersign_keys::intent::{PresentedIntent, SignatureCheck, TOGETHER_MAX, Terms, Version1, check_together};
use countersign_keys::jws::CompactJws;
use countersign_keys::keyring::{EnrolledKey, VerificationKey};
use countersign_keys::policy::Policy;
use countersign_keys::replay::{ReplayError, ReplayLog, Use, UsedIntents};
use countersign_keys::request::{AUTHORIZATION, INTENT_MAX, Presented, SIGNED_INTENT, USERNAME};
use countersign_keys::time::Timestamp;
use nix::unistd::getpid;

use crate::arguments::JudgementOptions;
use crate::error::BenchError;
use crate::process;
use crate::report;
use crate::signer::Algorithm;
use crate::workload::{self, ORIGIN, PROVIDER, Workload, now_s};

const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };
const CALL: &str = "/ucloud/hpc/files/browse";

/// The replay log in memory, without the gateway's journal on disk.
struct InMemory(std::sync::Mutex<UsedIntents>);

impl ReplayLog for InMemory {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.0.lock().map_err(|_| ReplayError::Unwritable)?.insert(used, now)
    }
}

pub(crate) fn run(options: &JudgementOptions) -> Result<(), BenchError> {
    [Algorithm::Ed25519, Algorithm::Es256].into_iter().try_for_each(|algorithm| run_for(options, algorithm))
}

fn run_for(options: &JudgementOptions, algorithm: Algorithm) -> Result<(), BenchError> {
    let workload = Workload::generate(workload::USERNAME, algorithm)?;
    let judge = Judge::new(&workload, options.requests)?;
    let intents = (0..options.requests).map(|_| workload.intent(&workload.first)).collect::<Result<Vec<_>, _>>()?;
    let refused = || BenchError::Keys("a good signature was refused");

    let begun = process::cpu_time(&[getpid()])?;
    if !intents.iter().all(|intent| judge.check_signature(black_box(intent))) {
        return Err(refused());
    }
    let signature = process::cpu_time(&[getpid()])?.saturating_sub(begun);

    let mut tokens = CoreTokens::new(judge.core.clone());
    let begun = process::cpu_time(&[getpid()])?;
    for intent in &intents {
        judge.judge(&mut tokens, &workload, black_box(intent)).ok_or(BenchError::Keys("a good request was refused"))?;
    }
    let judgement = process::cpu_time(&[getpid()])?.saturating_sub(begun);

    let each = |time: Duration| {
        time.as_secs_f64() * 1e6 / f64::from(u32::try_from(options.requests).unwrap_or(u32::MAX).max(1))
    };
    report::line(&format!(
        "{algorithm:?}: one check {:.1} µs; the whole judgement of a request {:.1} µs, that check in it",
        each(signature),
        each(judgement)
    ))?;
    for together in [2, 4, 8, TOGETHER_MAX] {
        let begun = process::cpu_time(&[getpid()])?;
        for intents in intents.chunks(together) {
            let checks: Option<Vec<_>> = intents.iter().map(|intent| judge.signature_check(intent)).collect();
            let Some(checks) = checks else { return Ok(()) }; // not of this algorithm
            if !check_together(black_box(checks)).iter().all(Option::is_some) {
                return Err(refused());
            }
        }
        let took = process::cpu_time(&[getpid()])?.saturating_sub(begun);
        report::line(&format!("{algorithm:?}: one of {together} checks together {:.1} µs", each(took)))?;
    }
    Ok(())
}

/// The gateway's state when a request arrives.
struct Judge {
    authorization: String,
    username: String,
    calls: CallTable,
    core: CoreKey,
    verification: VerificationKey,
    keys: [Arc<EnrolledKey>; 1],
    policy: Policy,
    log: InMemory,
    now: Timestamp,
}

impl Judge {
    fn new(workload: &Workload, capacity: usize) -> Result<Self, BenchError> {
        let bad = |what| move || BenchError::Keys(what);
        let now = Timestamp::from_seconds(now_s());
        let enrolled = workload.first.enrolled()?;
        let key = EnrolledKey::from_record(&enrolled.record(now.seconds())).ok().ok_or_else(bad("a key record"))?;
        let provider = ProviderId::parse(PROVIDER).ok().ok_or_else(bad("the provider's id"))?;
        let audience = Origin::parse(ORIGIN).ok().ok_or_else(bad("the provider's origin"))?;
        let used = UsedIntents::new(WINDOW, capacity, Timestamp::from_seconds(0));
        Ok(Self {
            authorization: format!("Bearer {}", workload.token()),
            username: enrolled.username.to_header(),
            calls: CallTable::new(&provider, &[]).ok().ok_or_else(bad("the table of calls"))?,
            core: CoreKey::parse(&workload.core.public_pem()?).ok().ok_or_else(bad("Core's key"))?,
            verification: enrolled.key,
            keys: [Arc::new(key)],
            policy: Policy {
                terms: Terms { audience, window: WINDOW, version_1: Version1::Refused },
                step_up: Default::default(),
            },
            log: InMemory(used.into()),
            now,
        })
    }

    fn signature_check(&self, intent: &str) -> Option<SignatureCheck> {
        let presented = PresentedIntent::parse(intent, INTENT_MAX, Version1::Refused).ok()?;
        presented.signature_check(self.keys.first()?.owner(), &self.keys)
    }

    fn check_signature(&self, intent: &str) -> bool {
        CompactJws::parse(intent, INTENT_MAX).is_ok_and(|jws| jws.verify(self.verification.signature_key()))
    }

    /// Every step of the gateway, in its order; `None` if one refuses.
    fn judge(&self, tokens: &mut CoreTokens, workload: &Workload, intent: &str) -> Option<()> {
        let Some(Route::Private(lane @ Lane::User(_))) = self.calls.route(Method::Post, CALL) else { return None };
        let headers = [
            (AUTHORIZATION, self.authorization.as_bytes()),
            (USERNAME, self.username.as_bytes()),
            (SIGNED_INTENT, intent.as_bytes()),
        ];
        let presented = Presented::parse(lane, headers, INTENT_MAX).ok()?;
        let Authenticated::User(request) = tokens.authenticate(presented, self.now).ok()? else { return None };
        let username = request.username().clone();
        let presented = PresentedIntent::parse(request.intent()?, INTENT_MAX, Version1::Refused).ok()?;
        let intent = presented.verify(&username, &self.keys, &self.policy.terms, self.now).ok()?;
        let items = Items::read(request.row(), workload.body().as_bytes()).ok()?;
        let authorised = self.policy.authorise(request.intend(intent).ok()?.bind(items).ok()?).ok()?;
        black_box(authorised.consume(&self.policy, &self.log, self.now).ok()?);
        Some(())
    }
}
