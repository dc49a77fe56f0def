//! Renewals and removals, with every way in which the server can fail.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_keys::bind::Items;
use countersign_keys::call::{CallTable, Route};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{ProviderId, Uid};
use countersign_keys::intent::{Terms as IntentTerms, Version1};
use countersign_keys::keyring::EnrolledKey;
use countersign_keys::policy::Policy;
use countersign_keys::replay::{ReplayError, ReplayLog, Use};
use countersign_keys::request::PresentedDirect;
use countersign_portal::signer::{Projection as Item, renewal_proof};
use countersign_portal::{BrowserKey, Intent};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::UnixListener;

use super::*;
use countersign_ipc::body::read_body;
use countersign_ipc::error_code::Reply;
use countersign_ipc::http::{Limits, json_reply, serve_connection};
use countersign_ipc::server_protocol::Refused;

const ORIGIN: &str = "https://hpc.example.org";
const ALICE: &str = "alice#1";
const LIFETIME_S: i64 = 1_000;

/// How the server answers when a key is added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Adding {
    Done,
    Refused,
    Broken,
    /// The key is added, and the answer is lost.
    DoneUnheard,
}

/// A fake server: a table of keys.
#[derive(Debug)]
struct Store {
    keys: Vec<KeyAdd>,
    revoked: Vec<KeyId>,
    adding: Adding,
    lists: bool,
    asked: Vec<String>,
}

impl Store {
    fn answer(&mut self, path: &str, body: &[u8]) -> Reply {
        self.asked.push(path.to_owned());
        let done = || json_reply(StatusCode::OK, &Empty {});
        let broken = || refused(503, "UNAVAILABLE");
        match path {
            KEYS_LIST if self.lists => {
                let keys = self.keys.iter().map(|key| listed(key, self.revoked.contains(&key.kid))).collect();
                json_reply(StatusCode::OK, &Keys { keys })
            }
            KEYS_ADD => {
                let key: KeyAdd = serde_json::from_slice(body).unwrap();
                assert_eq!(key.username.as_ref().unwrap().as_str(), ALICE);
                if matches!(self.adding, Adding::Done | Adding::DoneUnheard) {
                    self.keys.push(key);
                }
                match self.adding {
                    Adding::Done => done(),
                    Adding::Refused => refused(429, "TOO_MANY"),
                    Adding::Broken | Adding::DoneUnheard => broken(),
                }
            }
            KEYS_REVOKE => {
                let KeyRevoke { username, kid } = serde_json::from_slice(body).unwrap();
                assert_eq!(username.unwrap().as_str(), ALICE);
                if !self.keys.iter().any(|key| key.kid == kid) {
                    return refused(404, "NOT_FOUND");
                }
                self.revoked.push(kid);
                done()
            }
            _ => broken(),
        }
    }
}

fn refused(status_code: u16, error_code: &str) -> Reply {
    let status = StatusCode::from_u16(status_code).unwrap();
    json_reply(status, &Refused { status_code, why: "the reason".to_owned(), error_code: error_code.to_owned() })
}

fn listed(key: &KeyAdd, is_revoked: bool) -> ListedKey {
    ListedKey {
        username: key.username.clone().unwrap(),
        kid: key.kid,
        algorithm: key.algorithm,
        protocol: key.protocol,
        state: if is_revoked { KeyState::Revoked } else { KeyState::Active },
        fingerprint: String::new(),
        words: Default::default(),
        name: key.name.clone(),
        created: Timestamp::from_seconds(0),
        expires: key.expires,
        last_used: None,
    }
}

struct AllFresh;

impl ReplayLog for AllFresh {
    fn check_and_insert(&self, _: Use, _: Timestamp) -> Result<(), ReplayError> {
        Ok(())
    }
}

/// Alice's account with one pinned key, which the server has too.
struct Scene {
    home: tempfile::TempDir,
    store: Arc<Mutex<Store>>,
    keys: DirectKeys,
    old: BrowserKey,
}

impl Scene {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let old = BrowserKey::make(countersign_portal::Algorithm::Es256).unwrap();
        let uid = Uid(nix::unistd::geteuid().as_raw());
        let pins = PinFile::of(home.path(), uid, &ProviderId::parse("hpc").unwrap());
        let record = record(&old);
        let at_server = KeyAdd::of(&record);
        pins.add(record).unwrap();
        let store =
            Store { keys: vec![at_server], revoked: Vec::new(), adding: Adding::Done, lists: true, asked: Vec::new() };
        let terms = Terms { audience: Origin::parse(ORIGIN).unwrap(), lifetime_s: LIFETIME_S };
        let socket = home.path().join("server.sock");
        let keys = DirectKeys::new(pins, ServerClient::at(socket), terms);
        let scene = Self { home, store: Arc::new(Mutex::new(store)), keys, old };
        scene.serve();
        scene
    }

    /// Starts the server.
    fn serve(&self) {
        let listener = UnixListener::bind(self.home.path().join("server.sock")).unwrap();
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let store = Arc::clone(&store);
                let answer = move |request: Request<Incoming>| {
                    let store = Arc::clone(&store);
                    async move {
                        let path = request.uri().path().to_owned();
                        let body: Bytes = read_body(request.into_body(), 1 << 16).await.unwrap();
                        store.lock().unwrap().answer(&path, &body)
                    }
                };
                tokio::spawn(async move { serve_connection(stream, answer, &Limits::LOCAL).await });
            }
        });
    }

    /// Stops the server: nothing listens on its socket.
    fn leave(&self) {
        std::fs::remove_file(self.home.path().join("server.sock")).unwrap();
    }

    /// Verifies this item, signed by `key`, and does the work as the instance would.
    async fn done(&self, key: &BrowserKey, call: &str, item: &Value) -> Result<Value, DirectError> {
        let members = item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone()));
        let intent = Intent::new(ORIGIN, ALICE, call, &[Item(members.collect())], countersign_portal::now()).unwrap();
        let (intent, body) = (intent.sign(key).unwrap(), item.to_string());
        let calls = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let row = calls.row(call).unwrap();
        let Some(Route::Direct(row)) = calls.route(row.method(), row.path()) else { panic!("{call}") };
        let presented = PresentedDirect::parse(row, [("ucloud-signed-intent", intent.as_bytes())]).unwrap();
        let window = Window { lifetime_max_s: 60, future_skew_s: 5 };
        let terms = IntentTerms { audience: Origin::parse(ORIGIN).unwrap(), window, version_1: Version1::Refused };
        let now = Clock::System.now().unwrap();
        let enrolled = [Arc::new(EnrolledKey::from_record(&record(key)).unwrap())];
        let owner = Username::parse(ALICE).unwrap();
        let verified = presented.intent().unwrap().verify(&owner, &enrolled, &terms, now).unwrap();
        let items = Items::read(row.row(), body.as_bytes()).unwrap();
        let bound = presented.intend(verified).unwrap().bind(items).unwrap();
        let policy = Policy { terms, step_up: Default::default() };
        let permit = policy.authorise(bound).unwrap().consume(&policy, &AllFresh, now).unwrap();
        match call {
            "keys.list" => self.keys.list(&permit).await,
            "keys.renew" => self.keys.renew(&permit).await,
            "keys.remove" => self.keys.remove(&permit).await,
            _ => panic!("{call}"),
        }
    }

    async fn renew(&self, new: &BrowserKey) -> Result<Value, DirectError> {
        self.done(&self.old, "keys.renew", &renewal(&self.old, new)).await
    }

    async fn remove(&self, kid: &str) -> Result<Value, DirectError> {
        self.done(&self.old, "keys.remove", &json!({ "kid": kid })).await
    }

    /// The pinned ids, in the order of the file.
    fn pinned(&self) -> Vec<String> {
        self.keys.pins.read().unwrap().keys_at(self.keys.pins.provider()).map(|key| key.kid.to_string()).collect()
    }

    fn at_server(&self) -> Vec<String> {
        self.store.lock().unwrap().keys.iter().map(|key| key.kid.to_string()).collect()
    }

    fn set(&self, adding: Adding) {
        self.store.lock().unwrap().adding = adding;
    }
}

fn record(key: &BrowserKey) -> KeyRecord {
    let verification = VerificationKey::from_spki_der(&key.public_spki().unwrap(), Algorithm::Es256).unwrap();
    let (owner, kid) = (Username::parse(ALICE).unwrap(), KeyId::parse(key.kid()).unwrap());
    let now = countersign_portal::now();
    let lifetime = (Timestamp::from_seconds(now - 10), Timestamp::from_seconds(now + LIFETIME_S / 2));
    KeyRecord::new(owner, kid, &verification, Protocol::V2, lifetime, "old".to_owned())
}

fn new_key() -> BrowserKey {
    BrowserKey::make(countersign_portal::Algorithm::Es256).unwrap()
}

fn renewal(old: &BrowserKey, new: &BrowserKey) -> Value {
    let proof = renewal_proof(new, ORIGIN, ALICE, old.kid()).sign(new).unwrap();
    json!({ "jwk": new.public_jwk(), "alg": "ES256", "name": "laptop", "proof": proof })
}

fn told(outcome: Result<Value, DirectError>) -> u16 {
    outcome.expect_err("not done").reply().status().as_u16()
}

#[tokio::test]
async fn a_renewed_key_is_pinned_and_then_active_with_the_same_id_and_end() {
    let scene = Scene::new().await;
    let new = new_key();
    let answer = scene.renew(&new).await.unwrap();
    let kid = answer["kid"].as_str().unwrap();
    assert_eq!(scene.pinned(), [scene.old.kid(), kid]);
    assert_eq!(scene.at_server(), [scene.old.kid(), kid]);
    let pins = scene.keys.pins.read().unwrap();
    let pinned = pins.keys_at(scene.keys.pins.provider()).last().unwrap();
    let added = scene.store.lock().unwrap().keys[1].clone();
    assert_eq!((&pinned.spki, &pinned.name), (&STANDARD.encode(new.public_spki().unwrap()), &"laptop".to_owned()));
    assert_eq!((&added.spki, added.expires, added.protocol), (&pinned.spki, pinned.expires, Protocol::V2));
    assert_eq!(answer["expires"], pinned.expires.seconds());
    let left = pinned.expires.seconds() - countersign_portal::now();
    assert!((LIFETIME_S - 60..=LIFETIME_S).contains(&left), "{left}");

    let listed = scene.done(&scene.old, "keys.list", &json!({})).await.unwrap();
    let listed: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| &key["pinned"]).collect();
    assert_eq!(listed, [true, true]);
}

#[tokio::test]
async fn v20_a_renewal_needs_its_own_proof_by_the_new_key() {
    let scene = Scene::new().await;
    let new = new_key();
    let check = async |item: Value, want: u16| {
        let outcome = scene.done(&scene.old, "keys.renew", &item).await;
        assert_eq!(told(outcome), want, "{item}");
        assert_eq!(scene.pinned().len(), 1, "{item}");
        assert!(scene.store.lock().unwrap().asked.is_empty(), "{item}");
    };
    let with = |name: &str, value: Value| {
        let mut item = renewal(&scene.old, &new);
        item[name] = value;
        item
    };
    let draft = || renewal_proof(&new, ORIGIN, ALICE, scene.old.kid());
    let signed = |draft: countersign_portal::Draft| json!(draft.sign(&new).unwrap());
    check(with("proof", json!(draft().sign(&scene.old).unwrap())), 400).await;
    check(with("proof", signed(draft().with_header("typ", json!("ucloud-enrol+jwt")))), 400).await;
    check(with("proof", signed(draft().with_header("typ", json!("ucloud-intent+jwt")))), 400).await;
    check(with("proof", signed(draft().with_header("alg", json!("none")))), 400).await;
    check(with("proof", signed(draft().with_claim("aud", json!("https://other.example.org")))), 400).await;
    check(with("proof", signed(draft().with_claim("username", json!("bob#1")))), 400).await;
    check(with("proof", signed(draft().with_claim("kid", json!(new.kid())))), 400).await;
    check(with("proof", signed(draft().without_claim("kid"))), 400).await;
    check(with("proof", signed(draft().with_claim("nonce", json!("x")))), 400).await;
    check(with("proof", json!("x")), 400).await;
    check(with("proof", Value::Null), 400).await;
    check(with("jwk", new_key().public_jwk()), 400).await;
    check(with("jwk", json!("x")), 400).await;
    check(with("jwk", Value::Null), 400).await;
    check(with("alg", json!("HS256")), 400).await;
    check(with("alg", json!("EdDSA")), 400).await;
    check(with("name", json!("")), 400).await;
    check(with("name", json!("x".repeat(65))), 400).await;
    check(with("name", json!("a\nb")), 400).await;
    let mut private = new.public_jwk();
    private["d"] = json!("AAAA");
    check(with("jwk", private), 400).await;
    // The signing key vouches for another, not for itself.
    check(renewal(&scene.old, &scene.old), 400).await;
    scene.renew(&new).await.unwrap();
}

#[tokio::test]
async fn what_the_server_does_not_take_is_not_pinned_either() {
    let scene = Scene::new().await;
    scene.set(Adding::Refused);
    assert_eq!(told(scene.renew(&new_key()).await), 429, "the server's own reason");
    assert_eq!(scene.pinned(), [scene.old.kid()]);
    scene.set(Adding::Broken);
    assert_eq!(told(scene.renew(&new_key()).await), 503);
    assert_eq!(scene.pinned(), [scene.old.kid()]);
}

#[tokio::test]
async fn what_was_done_though_its_answer_was_lost_is_done() {
    let scene = Scene::new().await;
    scene.set(Adding::DoneUnheard);
    let answer = scene.renew(&new_key()).await.unwrap();
    assert_eq!(scene.pinned().last().unwrap(), answer["kid"].as_str().unwrap());
    assert_eq!(scene.pinned(), scene.at_server());
}

#[tokio::test]
async fn what_is_open_opens_nothing_and_a_repeat_takes_it_up() {
    let scene = Scene::new().await;
    let new = new_key();
    scene.leave();
    assert_eq!(told(scene.renew(&new).await), 503);
    // As after a crash between the two steps: pinned here, unknown to the server.
    let open = scene.pinned();
    assert_eq!((open.len(), scene.at_server().len()), (2, 1));
    scene.serve();
    let answer = scene.renew(&new).await.unwrap();
    assert_eq!(answer["kid"], open[1], "the same key keeps its id");
    assert_eq!((scene.pinned(), scene.at_server()), (open.clone(), open));
    // The page repeats it because it never received the answer.
    assert_eq!(scene.renew(&new).await.unwrap(), answer);
    assert_eq!(scene.at_server().len(), 2);
    // A revoked key stays revoked.
    scene.store.lock().unwrap().revoked.push(KeyId::parse(answer["kid"].as_str().unwrap()).unwrap());
    assert_eq!(told(scene.renew(&new).await), 400);
}

#[tokio::test]
async fn a_removed_key_is_unpinned_first_and_then_revoked() {
    let scene = Scene::new().await;
    let kid = scene.renew(&new_key()).await.unwrap()["kid"].as_str().unwrap().to_owned();
    assert_eq!(scene.remove(&kid).await.unwrap(), json!({}));
    assert_eq!(scene.pinned(), [scene.old.kid()]);
    assert_eq!(scene.store.lock().unwrap().revoked.len(), 1);
    // Without the server, the instance refuses the key all the same. The page learns that the
    // removal is incomplete.
    let kid = scene.renew(&new_key()).await.unwrap()["kid"].as_str().unwrap().to_owned();
    scene.leave();
    assert_eq!(told(scene.remove(&kid).await), 503);
    assert_eq!(scene.pinned(), [scene.old.kid()]);
    scene.serve();
    assert_eq!(scene.remove(&kid).await.unwrap(), json!({}), "a repeat does the rest");
    // Pinned but unknown to the server; unknown to both; not an id.
    let pinned_alone = new_key();
    scene.keys.pins.add(record(&pinned_alone)).unwrap();
    assert_eq!(scene.remove(pinned_alone.kid()).await.unwrap(), json!({}));
    assert_eq!(told(scene.remove(pinned_alone.kid()).await), 404);
    assert_eq!(told(scene.remove("x").await), 400);
    // The signing key: the user removes this browser.
    assert_eq!(scene.remove(scene.old.kid()).await.unwrap(), json!({}));
    assert!(scene.pinned().is_empty());
}
