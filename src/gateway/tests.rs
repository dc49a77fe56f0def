//! Tests a whole gateway: real sockets on both sides, raw bytes in, and an upstream that records
//! every byte.
//!
//! A table plays the server's part of the control channel. Time is the system's, unless a test says
//! otherwise.

mod abuse;
mod alarms;
mod connections;
mod corpus;
mod deposit;
mod direct;
pub(crate) mod fixtures;
mod flooded;
mod front;
mod hostile;
mod lanes;
mod large;
mod links;
mod maintenance;
mod metrics;
mod orders;
mod over_tls;
mod readiness;
mod rules;
mod served;
mod sessions;
mod sockets;
mod step_up;
mod unsigned;
mod web;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use countersign_keys::call::CallTable;
use countersign_keys::core_token::{CoreKey, CoreTokens};
use countersign_keys::identity::{CallName, Origin, ProviderId, Uid};
use countersign_keys::keyring::KeyState;
use countersign_keys::policy::Policy;
use countersign_keys::session::{ProofNeed, SealNeed};
use countersign_portal::{Answer, Core, CoreKeys, Deed, Endpoint, Intent, IntentForwarding};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, watch};

use crate::alarms::Alarms;
use crate::http1::body::BodyRoom;
use crate::limits;
use crate::limits::connections::ConnectionTable;
use crate::links::routes::Links;
use crate::listener::{self, Acceptor};
use crate::metrics::GatewayMetrics;
use crate::pages::Pages;
use crate::pages::call_table::CallTableDocument;
use crate::pipeline::deposits::Deposits;
use crate::readiness::Readiness;
use crate::response::cors::Cors;
use crate::response::request_id::RequestIds;
use crate::rules::{CurrentRules, Rules};
use crate::server_link::key_cache::KeyCache;
use crate::server_link::uses::Uses;
use crate::state::Gateway;
use crate::tests::fixtures::{ORIGIN, Signer, terms};
use crate::upstream::Upstreams;
use crate::web::sessions::WebSessions;
use countersign_audit::DecisionLog;
use countersign_config::{Asks, Brand, Contact, Logo, LogoKind, Maintenance, Provider};
use countersign_ipc::gateway_protocol::{
    self as line, Ended, FromGateway, InstanceAddress, Question, SocketAddress, Whereabouts,
};
use countersign_os::clock::Clock;
use countersign_replay::Journal;

const UPSTREAM_ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nx-inner: no\r\nset-cookie: no\r\n\r\n{\"ok\":true}";

/// Core's origin in the tests' configuration.
const CORE_ORIGIN: &str = "https://cloud.sdu.dk";

/// Records of counts that settling can write after a decision, and the decision itself.
const SETTLED_MAX: usize = 4;

const PLACES: usize = 32;

/// Shared by all tests: RSA keys take long to make.
static CORE_KEYS: LazyLock<Arc<CoreKeys>> = LazyLock::new(|| Arc::new(CoreKeys::generate("hpc").unwrap()));

/// The rest of what no request changes is shared too: pages are rendered and compressed.
static CALLS: LazyLock<Arc<CallTable>> = LazyLock::new(|| {
    let provider = ProviderId::parse("hpc").unwrap();
    Arc::new(CallTable::new(&provider, &[direct::row_to_the_server()]).unwrap())
});
static CALL_TABLE: LazyLock<CallTableDocument> =
    LazyLock::new(|| CallTableDocument::new(&CALLS, &Default::default()).unwrap());
static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let provider = ProviderId::parse("hpc").unwrap();
    Pages::new(&site(&provider), &Origin::parse(CORE_ORIGIN).unwrap()).unwrap()
});

/// A gateway, its neighbours, and everything that they saw.
struct TestGateway {
    directory: tempfile::TempDir,
    core: Core,
    alice: Arc<Mutex<Signer>>,
    gateway: Arc<Gateway>,
    acceptor: Acceptor,
    /// Every byte that went upstream.
    seen: Arc<Mutex<Vec<u8>>>,
    /// The response of a hostile upstream; an honest one sends [`UPSTREAM_ANSWER`].
    hostile: Arc<Mutex<Option<Vec<u8>>>>,
    /// Whether the server knows an instance.
    instance_is_up: Arc<AtomicBool>,
    /// Whether the server can start one.
    launches: Arc<AtomicBool>,
    /// The server's data about passkeys.
    passkeys: Arc<Mutex<step_up::Played>>,
    /// What the server says of its health.
    health: Arc<Mutex<line::Health>>,
    /// What the instance's sockets do and have received.
    sockets: Arc<sockets::Played>,
    stop: watch::Sender<bool>,
}

impl TestGateway {
    async fn new() -> Self {
        Self::changed(|_| {}).await
    }

    async fn with_room(bodies: BodyRoom) -> Self {
        Self::changed(|gateway| gateway.bodies = bodies).await
    }

    /// With calls that need a passkey, and a wait for deposits.
    async fn with_step_up(step_up: &[&str], deposit_wait: Duration) -> Self {
        let step_up = step_up.iter().map(|call| CallName::parse(call).unwrap()).collect();
        Self::changed(|gateway| {
            gateway.rules.change(|rules| {
                rules.policy.step_up.calls = step_up;
                rules.deposit_wait = deposit_wait;
            });
        })
        .await
    }

    async fn changed(change: impl FnOnce(&mut Gateway)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sockets: Arc<sockets::Played> = Arc::default();
        let hostile = Arc::default();
        for name in ["instance.sock", "service.sock"] {
            let listener = UnixListener::bind(directory.path().join(name)).unwrap();
            tokio::spawn(serve_upstream(listener, Arc::clone(&seen), Arc::clone(&sockets), Arc::clone(&hostile)));
        }
        let (alice, instance_is_up) = (Arc::new(Mutex::new(Signer::new("alice"))), Arc::new(AtomicBool::new(true)));
        let launches = Arc::new(AtomicBool::new(true));
        let (say, asked) = mpsc::channel(64);
        let known = Arc::new(KeyCache::new(say));
        let socket = directory.path().join("instance.sock");
        let passkeys = Arc::default();
        let health = Arc::new(Mutex::new(line::Health { store: true, log: true }));
        let neighbours = Neighbours {
            alice: Arc::clone(&alice),
            up: Arc::clone(&instance_is_up),
            launches: Arc::clone(&launches),
            passkeys: Arc::clone(&passkeys),
            health: Arc::clone(&health),
        };
        tokio::spawn(answer(asked, Arc::clone(&known), neighbours, socket));
        let mut gateway = gateway(&directory, known);
        change(&mut gateway);
        let gateway = Arc::new(gateway);
        gateway.look(None).await;
        let (stop, stopping) = watch::channel(false);
        let acceptor = Acceptor {
            gateway: Arc::clone(&gateway),
            connections: ConnectionTable::new(PLACES),
            tls: None,
            stop: stopping,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(listener::accept(listener, acceptor.clone()));
        let core = core_at(Endpoint::plain(address));
        Self {
            directory,
            core,
            alice,
            gateway,
            acceptor,
            seen,
            hostile,
            instance_is_up,
            launches,
            passkeys,
            health,
            sockets,
            stop,
        }
    }

    /// A Core of today, which drops the intent.
    fn dropping_core(&self) -> Core {
        core_at(self.core.endpoint().clone()).with_forwarding(IntentForwarding::Dropped)
    }

    fn sign(&self, deed: &Deed) -> String {
        let alice = self.alice.lock().unwrap();
        Intent::of(ORIGIN, "alice", deed, countersign_portal::now()).unwrap().sign(&alice.key).unwrap()
    }

    /// A valid request as bytes; its head is open for more lines.
    fn good_head(&self, deed: &Deed) -> (String, Bytes) {
        let body = deed.body("alice", "hpc", countersign_portal::Flavour::Core2).unwrap();
        let username = self.alice.lock().unwrap().username.to_header();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: hpc.example.org\r\nAuthorization: Bearer {}\r\nUcloud-Username: {}\r\nUCloud-Signed-Intent: {}\r\nContent-Length: {}\r\n",
            self.core.path(deed.operation()),
            self.core.token().unwrap(),
            username,
            self.sign(deed),
            body.len(),
        );
        (head, body)
    }

    /// Sends bytes and reads until the gateway closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.core.endpoint().origin().trim_start_matches("http://")).await.unwrap();
        // The gateway may have answered and closed before all bytes are written.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the gateway ends the connection");
        String::from_utf8(answer).unwrap()
    }

    fn upstream_saw(&self) -> String {
        String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
    }

    /// The last decision's verdict and reason, counted ones included.
    fn last_decision(&self) -> (String, String) {
        self.gateway.audit.settle_all();
        let log = std::fs::read_to_string(self.directory.path().join("decisions.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        (line["decision"].as_str().unwrap().to_owned(), line["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// The last decisions, including those counted meanwhile, which are written after them.
    fn last_decisions(&self) -> Vec<(String, String)> {
        self.gateway.audit.settle_all();
        let log = std::fs::read_to_string(self.directory.path().join("decisions.jsonl")).unwrap();
        let decision = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["decision"].as_str().unwrap().to_owned(), line["reason"].as_str().unwrap_or_default().to_owned())
        };
        log.lines().rev().take(SETTLED_MAX).map(decision).collect()
    }

    fn last_record(&self) -> serde_json::Value {
        let log = std::fs::read_to_string(self.directory.path().join("decisions.jsonl")).unwrap();
        serde_json::from_str(log.lines().last().unwrap()).unwrap()
    }

    /// The number of records, after writing the counted ones.
    fn decisions(&self) -> usize {
        self.gateway.audit.settle_all();
        self.written()
    }

    /// The number of written records.
    fn written(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("decisions.jsonl")).unwrap().lines().count()
    }

    /// Does what the server does when a key is revoked.
    fn revoke(&self) {
        let ended = {
            let mut alice = self.alice.lock().unwrap();
            alice.record.state = KeyState::Revoked;
            Ended::Key { username: alice.record.owner.clone(), kid: alice.record.kid }
        };
        self.gateway.key_cache.forget(&ended);
    }
}

fn core_at(endpoint: Endpoint) -> Core {
    Core::new(Arc::clone(&CORE_KEYS), endpoint).with_origin(CORE_ORIGIN).with_retry_pause(Duration::from_millis(10))
}

fn gateway(directory: &tempfile::TempDir, known: Arc<KeyCache>) -> Gateway {
    let provider = ProviderId::parse("hpc").unwrap();
    let rules = Rules {
        calls: Arc::clone(&CALLS),
        call_table: CALL_TABLE.clone(),
        policy: Policy { terms: terms(), step_up: Default::default() },
        proof: ProofNeed::Required,
        seal: SealNeed::Preferred,
        deposit_wait: Duration::from_millis(200),
        maintenance: Maintenance::None,
    };
    Journal::create(directory.path()).unwrap();
    let clock = Clock::System;
    let journal = Journal::open(directory.path(), terms().window, 10_000, clock.now().unwrap()).unwrap();
    let service =
        InstanceAddress { uid: None, socket: SocketAddress::Unix(directory.path().join("service.sock")), key: None };
    Gateway {
        core: Mutex::new(CoreTokens::new(CoreKey::parse(&CORE_KEYS.public_base64().unwrap()).unwrap())),
        rules: Arc::new(CurrentRules::new(provider.clone(), rules)),
        key_cache: known,
        signatures: Arc::default(),
        journal,
        clock,
        deposits: Deposits::default(),
        asks: Asks::default(),
        upstreams: Arc::new(Upstreams::new(Uid(nix::unistd::geteuid().as_raw()), 64)),
        server: Arc::new(service),
        audit: DecisionLog::to(File::create(directory.path().join("decisions.jsonl")).unwrap()),
        metrics: GatewayMetrics::default(),
        readiness: Readiness::default(),
        alarms: Alarms::default(),
        body_max: 64 * 1024,
        bodies: BodyRoom::new(),
        public_calls: limits::public_calls(),
        refusals: limits::refusals(),
        in_flight: limits::of_each_user(),
        public_at_server: limits::public_at_server(),
        direct_at_server: limits::direct_at_server(),
        sockets: limits::of_each_user(),
        waiting_sockets: limits::of_each_user(),
        web_hosts: None,
        web_sessions: WebSessions::default(),
        links: Links::at(None),
        web_requests: limits::web_requests(),
        cors: Cors::new(Origin::parse(CORE_ORIGIN).unwrap(), Origin::parse(ORIGIN).unwrap()),
        pages: PAGES.clone(),
        ids: RequestIds::new().unwrap(),
        uses: Uses::default(),
        provider,
    }
}

/// A provider with everything that pages can show of one.
fn site(provider: &ProviderId) -> Provider {
    let brand = Brand {
        title: "Example & Centre".to_owned(),
        logo: Some(Logo {
            content: Bytes::from_static(b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
            kind: LogoKind::Svg,
        }),
        contact: Contact::parse("support@example.org"),
    };
    Provider { id: provider.clone(), origin: Origin::parse(ORIGIN).unwrap(), brand }
}

/// The server's data.
struct Neighbours {
    alice: Arc<Mutex<Signer>>,
    up: Arc<AtomicBool>,
    launches: Arc<AtomicBool>,
    passkeys: Arc<Mutex<step_up::Played>>,
    health: Arc<Mutex<line::Health>>,
}

/// Answers the gateway's queries as the server would.
async fn answer(mut asked: mpsc::Receiver<FromGateway>, known: Arc<KeyCache>, neighbours: Neighbours, socket: PathBuf) {
    let Neighbours { alice, up, launches, passkeys, health } = neighbours;
    while let Some(message) = asked.recv().await {
        let FromGateway::Ask { id, question } = message else { continue };
        if matches!(question, Question::Launch { .. }) && launches.load(Ordering::SeqCst) {
            up.store(true, Ordering::SeqCst);
        }
        let (alice, instance_key) = {
            let alice = alice.lock().unwrap();
            (alice.record.clone(), alice.instance_key.public_spki().unwrap())
        };
        let answer = match question {
            Question::Key { username, kid } if username == alice.owner && kid == alice.kid => {
                line::Answer::Keys { keys: vec![alice] }
            }
            Question::Key { .. } | Question::KeysV1 { .. } => line::Answer::Keys { keys: Vec::new() },
            Question::Instance { .. } | Question::Launch { .. } => {
                let socket = SocketAddress::Unix(socket.clone());
                let instance = InstanceAddress { uid: None, socket, key: None };
                let is_up = up.load(Ordering::SeqCst);
                line::Answer::Instance { instance: if is_up { Whereabouts::Up(instance) } else { Whereabouts::Down } }
            }
            Question::InstanceKey { username } => {
                line::Answer::InstanceKey { spki: (username == alice.owner).then_some(instance_key) }
            }
            Question::Signer { username } => {
                let signer = if username != alice.owner {
                    line::Signer::NotConnected
                } else if alice.state == KeyState::Active {
                    line::Signer::HasKey
                } else {
                    line::Signer::NoKey
                };
                line::Answer::Signer { signer }
            }
            Question::Link { name } => line::Answer::Link { target: links::target(&name, &alice.owner) },
            Question::StepUp { intent, .. } => {
                line::Answer::StepUp { need: passkeys.lock().unwrap().challenge(intent) }
            }
            Question::Assertion { intent, credential, .. } => {
                line::Answer::Assertion { outcome: passkeys.lock().unwrap().judge(intent, &credential) }
            }
            Question::Health => line::Answer::Health { health: *health.lock().unwrap() },
            Question::Metrics => line::Answer::Metrics { snapshot: metrics::of_the_server() },
        };
        known.hear(id, answer);
    }
}

/// Records what comes, and gives every request the same response.
async fn serve_upstream(
    listener: UnixListener,
    seen: Arc<Mutex<Vec<u8>>>,
    sockets: Arc<sockets::Played>,
    hostile: Arc<Mutex<Option<Vec<u8>>>>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (seen, sockets, hostile) = (Arc::clone(&seen), Arc::clone(&sockets), Arc::clone(&hostile));
        tokio::spawn(async move {
            let mut buffer = vec![0; 512 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                seen.lock().unwrap().extend_from_slice(&buffer[..length]);
                let answer = hostile.lock().unwrap().clone();
                if let Some(answer) = answer {
                    let _ = stream.write_all(&answer).await;
                    return; // a body without a length ends here
                }
                if sockets.is_asked(&buffer[..length]) {
                    return sockets.play(stream, &buffer[..length]).await;
                }
                let _ = stream.write_all(UPSTREAM_ANSWER.as_bytes()).await;
            }
        });
    }
}

/// A request that no library of Core's would make.
fn plain_request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

fn verdict(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code())
}
