//! A site with one user, and all stages as a gateway or an instance runs them.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use countersign_keys::bind::Items;
use countersign_keys::call::{CallTable, Lane, Route};
use countersign_keys::core_token::{Authenticated, CoreKey, CoreTokens};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{KeyId, Origin, ProviderId, Username};
use countersign_keys::intent::{
    Fingerprint, IntentRejection, KeyWanted, PresentedIntent, SignatureCheck, Terms, VerifiedIntent, Version1,
    check_together,
};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::policy::{Policy, StepUp, SteppedUp};
use countersign_keys::replay::{ReplayError, ReplayLog, Use, UsedIntents};
use countersign_keys::request::{INTENT_MAX, Presented, PresentedDirect};
use countersign_keys::time::Timestamp;
use countersign_keys::verify::Rejection;
use countersign_portal::CoreKeys;
use countersign_portal::Intent;
use countersign_portal::core::{Deed, Flavour};
use countersign_portal::signer::{self, BrowserKey};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const USER: &str = "Ælice#1234";
pub(crate) const AUDIENCE: &str = "https://hpc.example.org";

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn portal_algorithm(algorithm: Algorithm) -> signer::Algorithm {
    match algorithm {
        Algorithm::Es256 => signer::Algorithm::Es256,
        Algorithm::EdDsa => signer::Algorithm::EdDsa,
        Algorithm::Ps256 => signer::Algorithm::Ps256,
        Algorithm::Rs256 => signer::Algorithm::Rs256,
    }
}

/// Made once, because making an RSA key is slow.
static CORE: LazyLock<CoreKeys> = LazyLock::new(|| CoreKeys::generate("hpc").unwrap());
static RSA: LazyLock<BrowserKey> = LazyLock::new(|| BrowserKey::make(signer::Algorithm::Rs256).unwrap());

pub(crate) fn key(algorithm: Algorithm) -> BrowserKey {
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => BrowserKey::make(portal_algorithm(algorithm)).unwrap(),
        Algorithm::Ps256 | Algorithm::Rs256 => RSA.clone().with_algorithm(portal_algorithm(algorithm)),
    }
}

/// Good signatures of another user.
fn neighbours(count: usize) -> Vec<SignatureCheck> {
    static NEIGHBOUR: LazyLock<(Arc<EnrolledKey>, String)> = LazyLock::new(|| {
        let key = BrowserKey::make(signer::Algorithm::EdDsa).unwrap();
        let mut site = Site::new(Algorithm::EdDsa);
        site.enrol(&key, Algorithm::EdDsa, Protocol::V2);
        let text = Intent::of(AUDIENCE, USER, &Deed::trash("/1/a"), NOW).unwrap().sign(&key).unwrap();
        (Arc::new(EnrolledKey::from_record(site.records.last().unwrap()).unwrap()), text)
    });
    let (key, text) = &*NEIGHBOUR;
    let presented = PresentedIntent::parse(text, INTENT_MAX, Version1::Refused).unwrap();
    let check = || presented.signature_check(key.owner(), std::slice::from_ref(key)).unwrap();
    std::iter::repeat_with(check).take(count).collect()
}

/// A replay log in memory.
pub(crate) struct MemoryLog(pub(crate) RefCell<UsedIntents>);

impl ReplayLog for MemoryLog {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.0.borrow_mut().insert(used, now)
    }
}

pub(crate) struct Site {
    pub(crate) calls: CallTable,
    pub(crate) core: &'static CoreKeys,
    pub(crate) key: BrowserKey,
    pub(crate) records: Vec<KeyRecord>,
    pub(crate) policy: Policy,
    /// The intent that a passkey asserted.
    pub(crate) asserted: Option<Fingerprint>,
    pub(crate) log: MemoryLog,
    tokens: RefCell<CoreTokens>,
}

impl Site {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let core: &CoreKeys = &CORE;
        let tokens = CoreTokens::new(CoreKey::parse(&core.public_base64().unwrap()).unwrap());
        let key = key(algorithm);
        let window = Window { lifetime_max_s: 60, future_skew_s: 5 };
        let audience = Origin::parse(AUDIENCE).unwrap();
        let terms = Terms { audience, window, version_1: Version1::Refused };
        let log = MemoryLog(RefCell::new(UsedIntents::new(window, 1000, at(0))));
        let mut site = Self {
            calls: CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap(),
            core,
            records: Vec::new(),
            policy: Policy { terms, step_up: StepUp::default() },
            asserted: None,
            log,
            tokens: RefCell::new(tokens),
            key: key.clone(),
        };
        site.enrol(&key, algorithm, Protocol::V2);
        site
    }

    pub(crate) fn enrol_another(&mut self) -> BrowserKey {
        let key = BrowserKey::make(signer::Algorithm::Es256).unwrap();
        self.enrol(&key, Algorithm::Es256, Protocol::V2);
        key
    }

    pub(crate) fn enrol_version_1(&mut self) -> BrowserKey {
        let key = key(Algorithm::Rs256);
        self.enrol(&key, Algorithm::Rs256, Protocol::V1);
        key
    }

    fn enrol(&mut self, key: &BrowserKey, algorithm: Algorithm, protocol: Protocol) {
        let verification = VerificationKey::from_jwk(key.public_jwk().to_string().as_bytes(), algorithm).unwrap();
        let owner = Username::parse(USER).unwrap();
        let kid = KeyId::parse(key.kid()).unwrap();
        let lifetime = (at(NOW - 1000), at(NOW + 100_000));
        self.records.push(KeyRecord::new(owner, kid, &verification, protocol, lifetime, String::new()));
    }

    pub(crate) fn token(&self) -> String {
        format!("Bearer {}", self.core.core2_token(NOW).unwrap())
    }

    pub(crate) fn judge(&self, deed: &Deed, intent: Option<&str>) -> Result<(), Rejection> {
        let body = deed.body(USER, "hpc", Flavour::Core2).unwrap();
        self.judge_raw(deed.call(), &body, intent, &self.token(), USER)
    }

    /// Judges with `late` seconds between the first and the last check of the time.
    pub(crate) fn judge_until(&self, deed: &Deed, intent: &str, late: i64) -> Result<(), Rejection> {
        let body = deed.body(USER, "hpc", Flavour::Core2).unwrap();
        self.judge_at(deed.call(), &body, Some(intent), &self.token(), USER, NOW, NOW + late)
    }

    pub(crate) fn judge_raw(
        &self,
        call: &str,
        body: &[u8],
        intent: Option<&str>,
        authorization: &str,
        username: &str,
    ) -> Result<(), Rejection> {
        self.judge_at(call, body, intent, authorization, username, NOW, NOW)
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn judge_at(
        &self,
        call: &str,
        body: &[u8],
        intent: Option<&str>,
        authorization: &str,
        username: &str,
        first: i64,
        last: i64,
    ) -> Result<(), Rejection> {
        let (user, text) = (username, intent);
        let username = countersign_portal::core::username_header(username);
        let mut headers: Vec<(&str, &[u8])> =
            vec![("authorization", authorization.as_bytes()), ("ucloud-username", username.as_bytes())];
        headers.extend(intent.map(|intent| ("ucloud-signed-intent", intent.as_bytes())));
        // WebSocket rows have no separate route and are judged like any other row.
        let row = self.calls.core_row(call).ok_or(Rejection::NoSuchCall)?;
        let lane = Lane::User(row);
        let presented = Presented::parse(&lane, headers, INTENT_MAX)?;
        let Authenticated::User(request) = self.tokens.borrow_mut().authenticate(presented, at(first))? else {
            return Err(Rejection::NoSuchCall);
        };
        let intent = request.intent().ok_or(IntentRejection::Missing)?;
        let intent = self.verify(intent, request.username(), at(first))?;
        let items = Items::read(request.row(), body)?;
        let (verified, digests) = (intent.clone(), items.digests().to_vec());
        let bound = request.intend(intent)?.bind(items)?;
        let authorised = match self.asserted {
            Some(intent) => {
                self.policy.authorise_stepped_up(bound, SteppedUp::dangerous_on_the_word_of_the_server(intent))?
            }
            None => self.policy.authorise(bound)?,
        };
        assert_eq!((authorised.username().as_str(), authorised.kid()), (user, verified.kid()));
        let permit = authorised.consume(&self.policy, &self.log, at(last))?;
        // The code that forwards or acts has only the permit, which must report what was judged.
        assert_eq!((permit.username().as_str(), permit.kid()), (user, verified.kid()));
        assert_eq!((permit.row().call().as_str(), permit.project()), (call, verified.project()));
        assert_eq!((Some(permit.intent()), permit.fingerprint()), (text, verified.fingerprint()));
        assert_eq!(Some(permit.token().expose()), authorization.split(' ').nth(1));
        // A script's digest is in no request, so the intent adds it to what the request shows.
        let digests = if verified.script().is_some() { permit.items().digests().to_vec() } else { digests };
        assert_eq!((permit.items().digests(), permit.items().bytes()), (digests.as_slice(), body));
        // The intent must report the same, also when it is kept for its request.
        for intent in [&verified, &verified.clone().into_owned()] {
            assert_eq!((intent.username(), intent.call()), (permit.username(), permit.row().call()));
            assert_eq!((intent.id(), intent.fingerprint()), (verified.id(), permit.fingerprint()));
            assert_eq!((intent.kid(), intent.length()), (permit.kid(), permit.intent().len()));
            assert!(intent.covers(&digests) && intent.expires() >= at(last) && intent.expires() <= at(last + 65));
        }
        Ok(())
    }

    /// Verifies an intent as an instance does. A gateway, which may check its signature together
    /// with those of others, has to come to the same.
    fn verify<'i>(
        &self,
        text: &'i str,
        username: &Username,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'i>, IntentRejection> {
        let terms = &self.policy.terms;
        let presented = || PresentedIntent::parse(text, INTENT_MAX, terms.version_1);
        let keys = self.keys(username, presented()?.key_wanted());
        let alone = presented()?.verify(username, &keys, terms, now);
        for others in [0, 7] {
            let Some(check) = presented()?.signature_check(username, &keys) else { continue };
            let mut checks = neighbours(others);
            checks.insert(others / 2, check);
            let outcomes = check_together(checks);
            let checked = outcomes[others / 2].as_ref();
            let together = presented()?.verify_checked(checked, username, &keys, terms, now);
            let told = |outcome: &Result<VerifiedIntent<'_>, IntentRejection>| {
                outcome.as_ref().map(|intent| (intent.fingerprint(), intent.kid())).map_err(|error| *error)
            };
            assert_eq!(told(&together), told(&alone), "beside {others} others: {text}");
            assert!(outcomes.iter().enumerate().all(|(at, outcome)| at == others / 2 || outcome.is_some()));
        }
        alone
    }

    /// Judges in the direct channel, with exactly these headers.
    pub(crate) fn judge_direct(
        &self,
        call: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Username, Rejection> {
        let row = self.calls.row(call).ok_or(Rejection::NoSuchCall)?;
        let Some(Route::Direct(row)) = self.calls.route(row.method(), row.path()) else {
            return Err(Rejection::NoSuchCall);
        };
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let presented = PresentedDirect::parse(row, headers)?;
        let intent = presented.intent()?;
        let claimed = intent.claimed_username()?;
        let keys = self.keys(&claimed, intent.key_wanted());
        let intent = intent.verify(&claimed, &keys, &self.policy.terms, at(NOW))?;
        let items = Items::read(row.row(), body)?;
        let bound = presented.intend(intent)?.bind(items)?;
        let permit = self.policy.authorise(bound)?.consume(&self.policy, &self.log, at(NOW))?;
        Ok(permit.username().clone())
    }

    /// The keys that a store returns.
    fn keys(&self, username: &Username, wanted: KeyWanted) -> Vec<Arc<EnrolledKey>> {
        let is_wanted = |record: &&KeyRecord| {
            record.owner == *username
                && match wanted {
                    KeyWanted::Id(kid) => record.kid == kid,
                    KeyWanted::Version1 => record.protocol == Protocol::V1,
                }
        };
        let found = self.records.iter().filter(is_wanted);
        found.map(|record| Arc::new(EnrolledKey::from_record(record).unwrap())).collect()
    }
}
