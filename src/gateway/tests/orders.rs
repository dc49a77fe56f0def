//! Tests the order of a request's last steps, for interleavings of requests, notices and the check
//! of signatures together: a forwarded request has a valid signature (P1), is in the journal and
//! was not forwarded before (P4), has a record (P8, P9), and its key was not revoked (P6).
//!
//! The steps are the gateway's own, from Core's token to the permit, with the permit as the moment
//! of forwarding. The server is simulated as in the tests of the key cache.

use std::collections::HashSet;
use std::io::{Seek as _, SeekFrom};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicUsize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::bind::Items;
use countersign_keys::call::{Method, Route};
use countersign_keys::core_token::Authenticated;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::keyring::{Algorithm, KeyRecord, Protocol, VerificationKey};
use countersign_keys::replay::IntentId;
use countersign_keys::request::{AUTHORIZATION, INTENT_MAX, Presented, SIGNED_INTENT, USERNAME};
use countersign_portal::{BrowserKey, Flavour};
use futures_util::FutureExt as _;
use shuttle::future::{block_on, spawn, yield_now};
use tokio::sync::oneshot;

use super::*;
use crate::exchange::Exchange;
use crate::limits::connections::{ClientConnection, Principal};
use crate::response::refusal::Refusal;
use crate::server_link::key_cache::schedules::{OnTheLine, hear, some_steps, with_paused_time};
use crate::tests::fixtures::at;
use countersign_os::locks::scheduled::{in_orders, in_orders_of_one_thread};

/// Interleavings tried: a second or two. If one of the tested steps is removed, one of the first
/// hundreds fails.
const ORDERS: usize = 200;

/// Good requests in each, as many as are checked together at least; then a copy and a forged one.
const GOOD: usize = 4;

/// About the steps of a request, so that the revocation comes before, during and after it.
const STEPS: u32 = 24;

/// Records of the header of a journal's file, and bytes of each record.
const JOURNAL_HEADER: u64 = 2;
const JOURNAL_RECORD: u64 = 64;

/// Which requests may be forwarded after the acknowledgement of a revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Late {
    /// None. One thread forwards in the turn in which it checks the key once more.
    None,
    /// Those whose last step had begun. Another thread may note the revocation in the midst of it.
    InLastStep,
}

/// A gateway, and what it has forwarded.
struct Case {
    directory: tempfile::TempDir,
    gateway: Arc<Gateway>,
    client: Arc<ClientConnection>,
    /// The gateway's questions, which each interleaving takes over from the one before.
    asked: Mutex<Option<mpsc::Receiver<FromGateway>>>,
    key: BrowserKey,
    authorization: String,
    late: Late,
    orders: AtomicUsize,
    /// Records in the journal, and bytes in the log, when this interleaving began.
    begun_at: Mutex<(u64, u64)>,
    forwarded: Mutex<HashSet<IntentId>>,
    refused: AtomicUsize,
}

/// A request as it comes from Core.
struct Asked {
    username: Username,
    path: String,
    body: Bytes,
    intent: String,
    is_forged: bool,
}

impl Case {
    fn new(late: Late) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (say, asked) = mpsc::channel(64);
        let gateway = Arc::new(gateway(&directory, Arc::new(KeyCache::new(say))));
        Arc::new(Self {
            gateway,
            directory,
            client: ConnectionTable::new(PLACES).take(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap(),
            asked: Mutex::new(Some(asked)),
            key: BrowserKey::make(countersign_portal::Algorithm::EdDsa).unwrap(),
            authorization: format!(
                "Bearer {}",
                core_at(Endpoint::plain("127.0.0.1:1".parse().unwrap())).token().unwrap()
            ),
            late,
            orders: AtomicUsize::new(0),
            begun_at: Mutex::default(),
            forwarded: Mutex::default(),
            refused: AtomicUsize::new(0),
        })
    }

    /// The key's record for a user of one interleaving.
    fn record(&self, username: &Username) -> KeyRecord {
        let spki = VerificationKey::from_spki_der(&self.key.public_spki().unwrap(), Algorithm::EdDsa).unwrap();
        let kid = KeyId::parse(self.key.kid()).unwrap();
        KeyRecord::new(username.clone(), kid, &spki, Protocol::V2, (at(0), at(i64::MAX)), String::new())
    }

    fn requests(&self, username: &Username) -> Vec<Asked> {
        let deed = Deed::trash("/1/a");
        let signed = || {
            let intent = Intent::of(ORIGIN, username.as_str(), &deed, countersign_portal::now()).unwrap();
            intent.sign(&self.key).unwrap()
        };
        let asked = |intent: String, is_forged| Asked {
            username: username.clone(),
            path: format!("/ucloud/hpc/{}", deed.operation()),
            body: deed.body(username.as_str(), "hpc", Flavour::Core2).unwrap(),
            intent,
            is_forged,
        };
        let mut requests: Vec<_> = (0..GOOD).map(|_| asked(signed(), false)).collect();
        requests.push(asked(requests[0].intent.clone(), false));
        let forged = signed();
        let (head, signature) = forged.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        requests.push(asked(format!("{head}.{first}{}", &signature[1..]), true));
        requests
    }

    /// The steps of a request. `is_acknowledged` is the revocation of its key.
    async fn answer(&self, asked: &Asked, is_acknowledged: &AtomicBool) -> Result<(), Refusal> {
        let gateway = &self.gateway;
        let mut exchange = Exchange::new(gateway, &self.client);
        let rules = gateway.rules();
        let Some(Route::Private(lane)) = rules.calls.route(Method::Post, &asked.path) else { panic!("no such call") };
        let username = STANDARD.encode(asked.username.as_str());
        let headers = [
            (AUTHORIZATION, self.authorization.as_bytes()),
            (USERNAME, username.as_bytes()),
            (SIGNED_INTENT, asked.intent.as_bytes()),
        ];
        let presented = Presented::parse(lane, headers, INTENT_MAX)?;
        let Authenticated::User(request) = gateway.authenticate(presented, gateway.now()?)? else { panic!("a user's") };
        exchange.authenticated_as(Principal::Core);
        exchange.username = Some(asked.username.clone());

        let (intent, epoch) = gateway.verify_if_present(&asked.username, request.intent()).await?;
        let intent = intent.unwrap();
        let id = intent.to_use().id;
        let items = Items::read(request.row(), &asked.body)?;
        let authorised = gateway.authorise(request.intend(intent)?.bind(items)?, None)?;
        yield_now().await;
        let was_acknowledged = is_acknowledged.load(Ordering::SeqCst);
        let _permit = exchange.consume(authorised, None, epoch).await?;

        assert!(!asked.is_forged, "a forged request was forwarded");
        assert!(self.forwarded.lock().unwrap().insert(id), "an intent was forwarded twice");
        assert!(self.is_in_journal(id), "forwarded before it was in the journal");
        assert!(self.is_recorded(exchange.id.as_str()), "forwarded before it was recorded");
        let is_late = match self.late {
            Late::None => is_acknowledged.load(Ordering::SeqCst),
            Late::InLastStep => was_acknowledged,
        };
        assert!(!is_late, "forwarded after the acknowledgement");
        Ok(())
    }

    /// Whether the use would be found after `kill -9`. Each record begins with its id.
    fn is_in_journal(&self, IntentId(id): IntentId) -> bool {
        let from = (JOURNAL_HEADER + self.begun_at.lock().unwrap().0) * JOURNAL_RECORD;
        let mut records = vec![0; usize::try_from(JOURNAL_RECORD).unwrap() * (GOOD + 2)];
        let journal = File::open(self.directory.path().join("used-intents.a")).unwrap();
        journal.read_exact_at(&mut records, from).unwrap();
        records.chunks_exact(usize::try_from(JOURNAL_RECORD).unwrap()).any(|record| record[..32] == id)
    }

    fn is_recorded(&self, request: &str) -> bool {
        let mut log = File::open(self.directory.path().join("decisions.jsonl")).unwrap();
        log.seek(SeekFrom::Start(self.begun_at.lock().unwrap().1)).unwrap();
        let log = std::io::read_to_string(log).unwrap();
        log.lines().any(|line| line.contains(request) && line.contains(r#""decision":"forward""#))
    }

    /// Runs one interleaving.
    fn run(self: Arc<Self>) {
        let order = self.orders.fetch_add(1, Ordering::SeqCst);
        let log = std::fs::metadata(self.directory.path().join("decisions.jsonl")).unwrap();
        *self.begun_at.lock().unwrap() = (self.forwarded.lock().unwrap().len() as u64, log.len());
        let username = Username::parse(&format!("alice{order}")).unwrap();
        let record = self.record(&username);
        let revocation = Ended::Key { username: username.clone(), kid: record.kid };
        let (is_revoked, is_acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (saying, said) = mpsc::unbounded_channel();

        let mut asked = self.asked.lock().unwrap().take().unwrap();
        let (line, revoked) = (saying.clone(), Arc::clone(&is_revoked));
        let (end, mut ended) = oneshot::channel::<()>();
        let answering = spawn(async move {
            loop {
                let question = tokio::select! {
                    biased;
                    question = asked.recv() => question.unwrap(),
                    _ = &mut ended => return asked,
                };
                let FromGateway::Ask { id, question: Question::Key { .. } } = question else { panic!("{question:?}") };
                let state = if revoked.load(Ordering::SeqCst) { KeyState::Revoked } else { KeyState::Active };
                yield_now().await;
                let keys = vec![KeyRecord { state, ..record.clone() }];
                let _ = line.send(OnTheLine::Answer(id, line::Answer::Keys { keys }));
            }
        });
        let (line, revoked) = (saying.clone(), is_revoked);
        let noticed = revocation.clone();
        let revoking = spawn(async move {
            some_steps(STEPS).await;
            revoked.store(true, Ordering::SeqCst);
            let _ = line.send(OnTheLine::Ended(noticed));
        });
        let key_cache = Arc::clone(&self.gateway.key_cache);
        let hearing = spawn(hear(said, key_cache, revocation, Arc::clone(&is_acknowledged)));
        let requests: Vec<_> = self
            .requests(&username)
            .into_iter()
            .map(|asked| {
                let (case, acknowledged) = (Arc::clone(&self), Arc::clone(&is_acknowledged));
                spawn(async move {
                    if case.answer(&asked, &acknowledged).await.is_err() {
                        case.refused.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        block_on(async {
            for request in requests {
                request.await.unwrap();
            }
            revoking.await.unwrap();
            let _ = saying.send(OnTheLine::End);
            hearing.await.unwrap();
            end.send(()).unwrap();
            let mut asked: mpsc::Receiver<_> = answering.await.unwrap();
            // The channel outlives this interleaving, and must wake none of its tasks.
            assert!(asked.recv().now_or_never().is_none());
            *self.asked.lock().unwrap() = Some(asked);
        });
    }
}

fn check(late: Late, in_orders: impl FnOnce(usize, Box<dyn Fn() + Send + Sync>) -> usize) {
    let runtime = with_paused_time();
    let _entered = runtime.enter();
    let case = Case::new(late);
    let run = Arc::clone(&case);
    in_orders(ORDERS, Box::new(move || Arc::clone(&run).run()));
    let (forwarded, refused) = (case.forwarded.lock().unwrap().len(), case.refused.load(Ordering::SeqCst));
    // Of each interleaving at least the copy and the forged one.
    assert!(forwarded > ORDERS && refused > 2 * ORDERS, "{forwarded} forwarded and {refused} refused");
    assert_eq!(forwarded + refused, ORDERS * (GOOD + 2));
}

#[test]
fn p4_p6_p8_no_order_of_tasks_forwards_a_request_too_early_or_too_late() {
    check(Late::None, in_orders_of_one_thread);
}

#[test]
fn p4_p6_p8_no_order_of_threads_forwards_a_request_too_early_or_too_late() {
    check(Late::InLastStep, in_orders);
}
