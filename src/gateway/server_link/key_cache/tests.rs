//! Tests of the key cache: what it keeps and what it forgets.

use super::*;
use countersign_ipc::gateway_protocol::{SocketAddress, Whereabouts};
use countersign_keys::keyring::{Algorithm, KeyRecord, Protocol};
use countersign_keys::time::Timestamp;
use p256::pkcs8::EncodePublicKey;

pub(crate) fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) fn record(owner: &str, kid: u8) -> KeyRecord {
    let secret = p256::SecretKey::from_slice(&[9; 32]).unwrap();
    let der = secret.public_key().to_public_key_der().unwrap();
    let key = VerificationKey::from_spki_der(der.as_bytes(), Algorithm::Es256).unwrap();
    let lifetime = (Timestamp::from_seconds(0), Timestamp::from_seconds(1_000));
    KeyRecord::new(user(owner), KeyId::from_bytes([kid; 16]), &key, Protocol::V2, lifetime, String::new())
}

fn instance() -> Answer {
    let socket = SocketAddress::Unix("/run/x.sock".into());
    Answer::Instance { instance: Whereabouts::Up(InstanceAddress { uid: None, socket, key: None }) }
}

struct Line {
    key_cache: Arc<KeyCache>,
    asked: mpsc::Receiver<FromGateway>,
}

impl Line {
    fn new() -> Self {
        let (line, asked) = mpsc::channel(8);
        Self { key_cache: Arc::new(KeyCache::new(line)), asked }
    }

    async fn next_id(&mut self) -> u64 {
        match self.asked.recv().await.unwrap() {
            FromGateway::Ask { id, .. } => id,
            other @ (FromGateway::Noted { .. }
            | FromGateway::Used { .. }
            | FromGateway::Alarm { .. }
            | FromGateway::Ready) => panic!("{other:?}"),
        }
    }

    fn lookup(&self) -> tokio::task::JoinHandle<Result<Option<Arc<EnrolledKey>>, KeyCacheFailure>> {
        let key_cache = Arc::clone(&self.key_cache);
        tokio::spawn(async move { key_cache.key(&user("a"), KeyId::from_bytes([1; 16])).await })
    }
}

#[tokio::test]
async fn a_key_is_asked_for_once_and_remembered_until_it_ends() {
    let mut line = Line::new();
    let (first, second) = (line.lookup(), line.lookup());
    let id = line.next_id().await;
    tokio::task::yield_now().await;
    line.key_cache.hear(id, Answer::Keys { keys: vec![record("a", 1)] });
    assert!(first.await.unwrap().unwrap().is_some());
    assert!(second.await.unwrap().unwrap().is_some());
    assert!(line.lookup().await.unwrap().unwrap().is_some());
    assert!(line.asked.try_recv().is_err(), "asked once");

    let before = line.key_cache.epoch();
    line.key_cache.forget(&Ended::Key { username: user("a"), kid: KeyId::from_bytes([1; 16]) });
    assert_ne!(line.key_cache.epoch(), before);
    let again = line.lookup();
    let id = line.next_id().await;
    line.key_cache.hear(id, Answer::Keys { keys: vec![] });
    assert!(again.await.unwrap().unwrap().is_none());
    assert!(line.lookup().await.unwrap().unwrap().is_none());
    assert!(line.asked.try_recv().is_err(), "absence is remembered for a moment");
}

#[tokio::test]
async fn v18_an_answer_that_a_notice_overtook_is_asked_for_again() {
    let mut line = Line::new();
    let lookup = line.lookup();
    let id = line.next_id().await;
    line.key_cache.forget(&Ended::User { username: user("a") });
    line.key_cache.hear(id, Answer::Keys { keys: vec![record("a", 1)] });
    let id = line.next_id().await;
    line.key_cache.hear(id, Answer::Keys { keys: vec![] });
    assert!(lookup.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn v17_another_users_key_is_no_answer() {
    for keys in [vec![record("b", 1)], vec![record("a", 2)], vec![record("a", 1), record("a", 1)]] {
        let mut line = Line::new();
        let lookup = line.lookup();
        let id = line.next_id().await;
        line.key_cache.hear(id, Answer::Keys { keys });
        assert_eq!(lookup.await.unwrap().unwrap_err(), KeyCacheFailure::Failed);
    }
}

#[tokio::test]
async fn a_line_that_takes_nothing_is_a_failure() {
    let (full, asked) = mpsc::channel(1);
    full.try_send(FromGateway::Ready).unwrap();
    let key_cache = KeyCache::new(full);
    assert_eq!(key_cache.instance(&user("a")).await.unwrap_err(), KeyCacheFailure::Gone);
    drop(asked);
    assert_eq!(key_cache.keys_v1(&user("a")).await.unwrap_err(), KeyCacheFailure::Gone);
}

#[tokio::test]
async fn an_instance_is_remembered_until_it_is_gone() {
    let mut line = Line::new();
    for end in [Ended::Instance { username: user("a") }, Ended::User { username: user("a") }] {
        let key_cache = Arc::clone(&line.key_cache);
        let lookup = tokio::spawn(async move { key_cache.instance(&user("a")).await });
        let id = line.next_id().await;
        line.key_cache.hear(id, instance());
        assert!(matches!(lookup.await.unwrap().unwrap(), Instance::Up(_)));
        assert!(matches!(line.key_cache.instance(&user("a")).await.unwrap(), Instance::Up(_)));
        line.key_cache.forget(&end);
    }
}
