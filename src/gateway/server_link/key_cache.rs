//! Caches the server's answers about keys and instances until the server revokes them.
//!
//! Everything on the control channel passes through here in its order, so that no answer can bring
//! back what a later notice ended (P6). Concurrent requests share one query.

mod failure;
mod query;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_keys::identity::{KeyId, LinkName, Username};
use countersign_keys::intent::{IntentRejection, VerifiedIntent};
use countersign_keys::keyring::{EnrolledKey, VerificationKey};
use countersign_keys::policy::SteppedUp;
use countersign_keys::time::Timestamp;
use lru::LruCache;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub(crate) use self::failure::{KeyCacheFailure, NotAsserted};
pub(crate) use self::query::Instance;
use self::query::{Entry, KeyAt, Query, make_ready};
use crate::response::refusal::Refusal;
use countersign_ipc::gateway_protocol::{
    Answer, AssertionOutcome, Ended, FromGateway, Health, InstanceAddress, LinkTarget, Signer, StepUp,
};
use countersign_metrics::Snapshot;
use countersign_os::locks::Mutex;

/// Keys in the cache, under 1 KiB each. With more active users than this, the rest cost one query
/// each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Users whose version 1 keys are cached: four keys each at most.
const KEYS_V1_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Instances in the cache. More than one machine can run.
const INSTANCES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Users in the cache who are known to have a key.
const SIGNERS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Negative cache, separate so that lookups of invented keys evict only each other.
const STRANGERS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// How long a key stays in the negative cache. A loop of bad requests asks once a second; a user
/// does not notice the delay.
const STRANGER_FOR: Duration = Duration::from_secs(1);

/// Open queries at a time. Each takes a few hundred bytes here and at the server.
const OPEN_MAX: usize = 1_024;

/// How long a query may stay open. Core gives up on the whole request after 5 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long starting an instance may take. The server waits 2 s for it to be ready, and asks the
/// account database first.
const LAUNCHED_WITHIN: Duration = Duration::from_secs(5);

/// When a request's key was looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AsOf {
    /// At some earlier time.
    Earlier,
    /// When [`KeyCache::epoch`] had this value, or later.
    At(u64),
}

struct Open {
    sought: Query,
    /// Something ended while the answer was under way, so the query is repeated.
    overtaken: bool,
    waiting: Vec<oneshot::Sender<Entry>>,
}

/// Bounded by the constants above; a notice evicts, and so does LRU order.
struct Cache {
    keys: LruCache<KeyAt, Arc<EnrolledKey>>,
    keys_v1: LruCache<Username, Arc<[Arc<EnrolledKey>]>>,
    instances: LruCache<Username, Arc<InstanceAddress>>,
    instance_keys: LruCache<Username, Arc<VerificationKey>>,
    /// Users who have a key. For users without one the gateway asks each time: a key may be
    /// approved at any moment, without a notice.
    signers: LruCache<Username, ()>,
    strangers: LruCache<KeyAt, Instant>,
    open: HashMap<u64, Open>,
    open_by_sought: HashMap<Query, u64>,
    last_id: u64,
}

/// The cache, and its end of the control channel.
pub(crate) struct KeyCache {
    memory: Mutex<Cache>,
    /// Counts notices. If it changed, a request looks its key up again; a socket does so at once.
    epoch: watch::Sender<u64>,
    line: mpsc::Sender<FromGateway>,
}

impl KeyCache {
    /// An empty cache that asks over `line`.
    pub(crate) fn new(line: mpsc::Sender<FromGateway>) -> Self {
        Self {
            memory: Mutex::new(Cache {
                keys: LruCache::new(KEYS_MAX),
                keys_v1: LruCache::new(KEYS_V1_MAX),
                instances: LruCache::new(INSTANCES_MAX),
                instance_keys: LruCache::new(INSTANCES_MAX),
                signers: LruCache::new(SIGNERS_MAX),
                strangers: LruCache::new(STRANGERS_MAX),
                open: HashMap::new(),
                open_by_sought: HashMap::new(),
                last_id: 0,
            }),
            epoch: watch::Sender::new(0),
            line,
        }
    }

    /// Changes with every notice.
    pub(crate) fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// Wakes with every notice.
    pub(crate) fn endings(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// The user's key of that id, in any state.
    pub(crate) async fn key(
        &self,
        username: &Username,
        kid: KeyId,
    ) -> Result<Option<Arc<EnrolledKey>>, KeyCacheFailure> {
        let at = KeyAt { username: username.clone(), kid };
        {
            let mut memory = self.memory();
            if let Some(key) = memory.keys.get(&at) {
                return Ok(Some(Arc::clone(key)));
            }
            if memory.strangers.get(&at).is_some_and(|since| since.elapsed() < STRANGER_FOR) {
                return Ok(None);
            }
        }
        let Entry::Key(key) = self.ask(Query::Key(at)).await? else { return Err(KeyCacheFailure::Failed) };
        Ok(key)
    }

    /// Checks that a key is valid, by an answer that no notice overtook. A notice during the lookup
    /// repeats it (P6).
    pub(crate) async fn check_standing(
        &self,
        username: &Username,
        kid: KeyId,
        looked_up: AsOf,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let mut looked_up = looked_up;
        loop {
            let epoch = self.epoch();
            if looked_up == AsOf::At(epoch) {
                return Ok(());
            }
            let key = match self.key(username, kid).await? {
                Some(key) => key,
                None => {
                    let keys = self.keys_v1(username).await?;
                    keys.iter().find(|key| key.kid() == kid).map(Arc::clone).ok_or(IntentRejection::UnknownKey)?
                }
            };
            key.standing(now).map_err(IntentRejection::from)?;
            looked_up = AsOf::At(epoch);
        }
    }

    /// The user's version 1 keys, in any state.
    pub(crate) async fn keys_v1(&self, username: &Username) -> Result<Arc<[Arc<EnrolledKey>]>, KeyCacheFailure> {
        if let Some(keys) = self.memory().keys_v1.get(username) {
            return Ok(Arc::clone(keys));
        }
        let Entry::KeysV1(keys) = self.ask(Query::KeysV1(username.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(keys)
    }

    pub(crate) async fn instance(&self, username: &Username) -> Result<Instance, KeyCacheFailure> {
        if let Some(instance) = self.memory().instances.get(username) {
            return Ok(Instance::Up(Arc::clone(instance)));
        }
        let Entry::Instance(instance) = self.ask(Query::Instance(username.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(instance)
    }

    /// The key with which the user's instance signs one-time tokens; `None` if the user is not
    /// connected.
    pub(crate) async fn instance_key(
        &self,
        username: &Username,
    ) -> Result<Option<Arc<VerificationKey>>, KeyCacheFailure> {
        if let Some(key) = self.memory().instance_keys.get(username) {
            return Ok(Some(Arc::clone(key)));
        }
        let Entry::InstanceKey(key) = self.ask(Query::InstanceKey(username.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(key)
    }

    /// Whether the user can sign. The key of a cached user may since have expired: that costs a
    /// wait and lets nothing through.
    pub(crate) async fn signer(&self, username: &Username) -> Result<Signer, KeyCacheFailure> {
        if self.memory().signers.get(username).is_some() {
            return Ok(Signer::HasKey);
        }
        let Entry::Signer(signer) = self.ask(Query::Signer(username.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(signer)
    }

    /// Where requests for a public link go. Not cached here: see [`crate::links::routes`].
    pub(crate) async fn link(&self, name: &LinkName) -> Result<Option<LinkTarget>, KeyCacheFailure> {
        let Entry::Link(target) = self.ask(Query::Link(name.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(target)
    }

    /// Whether an intent needs a passkey's assertion, and the challenge for it.
    pub(crate) async fn step_up(&self, intent: &VerifiedIntent<'_>) -> Result<StepUp, KeyCacheFailure> {
        let (username, call) = (intent.username().clone(), intent.call().clone());
        let consent = intent.consent();
        let sought = Query::StepUp { username, call, consent, intent: intent.fingerprint(), until: intent.expires() };
        let Entry::StepUp(need) = self.ask(sought).await? else { return Err(KeyCacheFailure::Failed) };
        Ok(need)
    }

    /// Asks the server to verify a passkey's assertion for an intent: the only source of that
    /// evidence.
    pub(crate) async fn assertion(
        &self,
        intent: &VerifiedIntent<'_>,
        credential: String,
    ) -> Result<Result<SteppedUp, NotAsserted>, KeyCacheFailure> {
        let fingerprint = intent.fingerprint();
        let sought = Query::Assertion { username: intent.username().clone(), intent: fingerprint, credential };
        let Entry::Assertion(outcome) = self.ask(sought).await? else { return Err(KeyCacheFailure::Failed) };
        Ok(match outcome {
            AssertionOutcome::Good => Ok(SteppedUp::dangerous_on_the_word_of_the_server(fingerprint)),
            AssertionOutcome::Refused { why } => Err(NotAsserted(why)),
        })
    }

    /// Lets the server start the user's instance if none is up. Returns when one is ready, or the
    /// server cannot start one.
    pub(crate) async fn launch(&self, username: &Username) -> Result<(), KeyCacheFailure> {
        let Entry::Instance(_) = self.ask_within(LAUNCHED_WITHIN, Query::Launch(username.clone())).await? else {
            return Err(KeyCacheFailure::Failed);
        };
        Ok(())
    }

    /// What the server has counted.
    pub(crate) async fn metrics(&self) -> Result<Arc<Snapshot>, KeyCacheFailure> {
        let Entry::Metrics(snapshot) = self.ask(Query::Metrics).await? else { return Err(KeyCacheFailure::Failed) };
        Ok(snapshot)
    }

    /// Whether the server can do its part.
    pub(crate) async fn health(&self) -> Result<Health, KeyCacheFailure> {
        let Entry::Health(health) = self.ask(Query::Health).await? else { return Err(KeyCacheFailure::Failed) };
        Ok(health)
    }

    /// Forgets an instance that does not answer at its address.
    pub(crate) fn forget_instance(&self, username: &Username) {
        self.memory().instances.pop(username);
    }

    /// Handles an answer from the channel.
    pub(crate) fn hear(&self, id: u64, answer: Answer) {
        let mut memory = self.memory();
        let Some(mut open) = memory.open.remove(&id) else {
            return; // answered after it was given up
        };
        open.waiting.retain(|waiting| !waiting.is_closed());
        if open.overtaken && !open.waiting.is_empty() {
            open.overtaken = false;
            self.put(&mut memory, open);
            return;
        }
        memory.open_by_sought.remove(&open.sought);
        let found = make_ready(&open.sought, answer);
        if !open.overtaken {
            memory.remember(open.sought, &found);
        }
        drop(memory);
        for waiting in open.waiting {
            let _ = waiting.send(found.clone()); // fails if the request gave up
        }
    }

    /// Forgets every key and user: a reload may have changed when connections expire, and keys
    /// expire with their connection.
    pub(crate) fn forget_all(&self) {
        let mut memory = self.memory();
        memory.keys.clear();
        memory.strangers.clear();
        memory.keys_v1.clear();
        memory.instance_keys.clear();
        memory.signers.clear();
        // The server answers the others once.
        memory.overtake(|sought| {
            !matches!(sought, Query::StepUp { .. } | Query::Assertion { .. } | Query::Metrics | Query::Health)
        });
        self.epoch.send_modify(|epoch| *epoch = epoch.wrapping_add(1));
    }

    /// Handles a notice. After it returns, no request is judged by what ended. Returns the address
    /// of an instance to which nothing is sent any more, if one was known.
    pub(crate) fn forget(&self, ended: &Ended) -> Option<Arc<InstanceAddress>> {
        let mut memory = self.memory();
        let mut gone = None;
        match ended {
            Ended::Key { username, kid } => {
                let at = KeyAt { username: username.clone(), kid: *kid };
                memory.keys.pop(&at);
                memory.strangers.pop(&at);
                memory.keys_v1.pop(username);
                memory.instance_keys.pop(username);
                memory.signers.pop(username);
                memory.overtake(|sought| match sought {
                    Query::Key(open) => *open == at,
                    Query::KeysV1(open) | Query::Signer(open) => open == username,
                    // Every change of a user's connection changes one of the user's keys.
                    Query::InstanceKey(open) => open == username,
                    Query::Instance(_)
                    | Query::Launch(_)
                    | Query::Link(_)
                    | Query::StepUp { .. }
                    | Query::Assertion { .. }
                    | Query::Metrics
                    | Query::Health => false,
                });
            }
            Ended::User { username } => {
                memory.forget_keys_of(username);
                gone = memory.instances.pop(username);
                memory.instance_keys.pop(username);
                memory.signers.pop(username);
                memory.overtake(|sought| match sought {
                    Query::Key(open) => open.username == *username,
                    Query::KeysV1(open)
                    | Query::Signer(open)
                    | Query::Instance(open)
                    | Query::Launch(open)
                    | Query::InstanceKey(open) => open == username,
                    // It may lead to this user's job.
                    Query::Link(_) => true,
                    // These are not cached, and the server answers them once.
                    Query::StepUp { .. } | Query::Assertion { .. } | Query::Metrics | Query::Health => false,
                });
            }
            Ended::Instance { username } => {
                gone = memory.instances.pop(username);
                memory.overtake(
                    |sought| matches!(sought, Query::Instance(open) | Query::Launch(open) if open == username),
                );
            }
            Ended::Link { name } => memory.overtake(|sought| matches!(sought, Query::Link(open) if open == name)),
            // They concern no single user.
            Ended::Rules { .. } | Ended::Certificate { .. } => return None,
        }
        self.epoch.send_modify(|epoch| *epoch = epoch.wrapping_add(1));
        gone
    }

    async fn ask(&self, sought: Query) -> Result<Entry, KeyCacheFailure> {
        self.ask_within(ANSWER_WITHIN, sought).await
    }

    async fn ask_within(&self, within: Duration, sought: Query) -> Result<Entry, KeyCacheFailure> {
        let (waiting, answer) = oneshot::channel();
        {
            let mut memory = self.memory();
            let joined = memory.open_by_sought.get(&sought).copied();
            match joined.and_then(|id| memory.open.get_mut(&id)) {
                Some(open) => open.waiting.push(waiting),
                None => {
                    memory.drop_abandoned();
                    if memory.open.len() >= OPEN_MAX {
                        return Err(KeyCacheFailure::Full);
                    }
                    self.put(&mut memory, Open { sought, overtaken: false, waiting: vec![waiting] });
                }
            }
        }
        let answer = tokio::time::timeout(within, answer).await;
        let found = answer.map_err(|_elapsed| KeyCacheFailure::Slow)?;
        found.map_err(|_closed| KeyCacheFailure::Gone)
    }

    /// Sends a query. If the queue is full, its waiters learn at once that there is no answer.
    fn put(&self, memory: &mut Cache, open: Open) {
        memory.last_id = memory.last_id.wrapping_add(1);
        let id = memory.last_id;
        let question = open.sought.question();
        if self.line.try_send(FromGateway::Ask { id, question }).is_err() {
            memory.open_by_sought.remove(&open.sought);
            return;
        }
        memory.open_by_sought.insert(open.sought.clone(), id);
        memory.open.insert(id, open);
    }

    fn memory(&self) -> MutexGuard<'_, Cache> {
        // Every change is atomic, so a panic under the lock (a bug, which ends the process) leaves
        // no partial change.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn remember(&mut self, sought: Query, found: &Entry) {
        match (sought, found) {
            (Query::Key(at), Entry::Key(Some(key))) => {
                self.keys.put(at, Arc::clone(key));
            }
            (Query::Key(at), Entry::Key(None)) => {
                self.strangers.put(at, Instant::now());
            }
            (Query::KeysV1(username), Entry::KeysV1(keys)) if !keys.is_empty() => {
                self.keys_v1.put(username, Arc::clone(keys));
            }
            (Query::Instance(username) | Query::Launch(username), Entry::Instance(Instance::Up(instance))) => {
                self.instances.put(username, Arc::clone(instance));
            }
            (Query::InstanceKey(username), Entry::InstanceKey(Some(key))) => {
                self.instance_keys.put(username, Arc::clone(key));
            }
            (Query::Signer(username), Entry::Signer(Signer::HasKey)) => {
                self.signers.put(username, ());
            }
            // `Down` is not cached: Core asks again within half a second, and an instance may be up
            // by then.
            (
                Query::Key(_)
                | Query::KeysV1(_)
                | Query::Instance(_)
                | Query::Launch(_)
                | Query::InstanceKey(_)
                | Query::Signer(_)
                | Query::Link(_)
                | Query::StepUp { .. }
                | Query::Assertion { .. }
                | Query::Metrics
                | Query::Health,
                _,
            ) => {}
        }
    }

    /// Scans the whole cache: users end rarely, and 65,536 keys take a millisecond.
    fn forget_keys_of(&mut self, username: &Username) {
        let theirs = |(at, _): (&KeyAt, _)| (at.username == *username).then(|| at.clone());
        let known: Vec<KeyAt> = self.keys.iter().filter_map(|(at, _)| theirs((at, ()))).collect();
        for at in known {
            self.keys.pop(&at);
        }
        let strangers: Vec<KeyAt> = self.strangers.iter().filter_map(|(at, _)| theirs((at, ()))).collect();
        for at in strangers {
            self.strangers.pop(&at);
        }
        self.keys_v1.pop(username);
    }

    fn overtake(&mut self, concerns: impl Fn(&Query) -> bool) {
        for open in self.open.values_mut() {
            open.overtaken |= concerns(&open.sought);
        }
    }

    /// Drops queries that the server never answered and that have no waiters left.
    fn drop_abandoned(&mut self) {
        if self.open.len() < OPEN_MAX {
            return;
        }
        self.open.retain(|_, open| open.waiting.iter().any(|waiting| !waiting.is_closed()));
        let open = &self.open;
        self.open_by_sought.retain(|_, id| open.contains_key(id));
    }
}

#[cfg(test)]
pub(crate) mod schedules;
#[cfg(test)]
mod tests;
