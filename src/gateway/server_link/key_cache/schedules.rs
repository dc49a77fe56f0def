//! Tests that no request is accepted after the revocation of its key was acknowledged (P6), for any
//! interleaving of requests, answers and notices.
//!
//! The server is simulated as the gateway sees it: one channel. Between its lookup of a key and its
//! answer, the key may be revoked and the notice sent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use countersign_keys::keyring::{KeyRecord, KeyState};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::Rng as _;

use super::tests::{record, user};
use super::*;
use countersign_os::locks::scheduled::in_orders;

const NOW: Timestamp = Timestamp::from_seconds(500);

/// Interleavings tried: a second or two. If one of the tested steps is removed, one of the first
/// hundreds fails.
const ORDERS: usize = 2_000;

/// About the steps of a request, so that the revocation comes before, during and after it.
const STEPS: u32 = 12;

/// What the server says, in its order.
pub(crate) enum OnTheLine {
    Answer(u64, Answer),
    Ended(Ended),
    End,
}

/// Passes on what the server says, until its end. After `revocation` it is acknowledged.
pub(crate) async fn hear(
    mut said: mpsc::UnboundedReceiver<OnTheLine>,
    key_cache: Arc<KeyCache>,
    revocation: Ended,
    acknowledged: Arc<AtomicBool>,
) {
    while let Some(message) = said.recv().await {
        match message {
            OnTheLine::Answer(id, answer) => key_cache.hear(id, answer),
            OnTheLine::Ended(ended) => {
                key_cache.forget(&ended);
                acknowledged.fetch_or(ended == revocation, Ordering::SeqCst);
            }
            OnTheLine::End => return,
        }
    }
}

/// Lets the other tasks take some steps, fewer than `max`.
pub(crate) async fn some_steps(max: u32) {
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..max) {
        yield_now().await;
    }
}

/// Time is paused: no result may depend on it.
pub(crate) fn with_paused_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn revocation() -> Ended {
    Ended::Key { username: user("a"), kid: KeyId::from_bytes([1; 16]) }
}

/// A request's use of the key cache: the key, a wait, and the last check of the key.
async fn is_accepted(key_cache: &KeyCache) -> bool {
    let (alice, kid) = (user("a"), KeyId::from_bytes([1; 16]));
    let epoch = key_cache.epoch();
    let Ok(Some(key)) = key_cache.key(&alice, kid).await else { return false };
    if key.standing(NOW).is_err() {
        return false;
    }
    yield_now().await;
    key_cache.check_standing(&alice, kid, AsOf::At(epoch), NOW).await.is_ok()
}

#[test]
fn p6_no_order_lets_a_request_pass_after_its_keys_revocation_was_acknowledged() {
    let runtime = with_paused_time();
    let _entered = runtime.enter();
    let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted_accepted, counted_refused) = (Arc::clone(&accepted), Arc::clone(&refused));
    let key = record("a", 1);
    in_orders(ORDERS, move || {
        let key = key.clone();
        let (asking, mut asked) = mpsc::channel(8);
        let (saying, said) = mpsc::unbounded_channel();
        let key_cache = Arc::new(KeyCache::new(asking));
        let is_revoked = Arc::new(AtomicBool::new(false));
        let is_acknowledged = Arc::new(AtomicBool::new(false));

        let (line, revoked) = (saying.clone(), Arc::clone(&is_revoked));
        let answering = spawn(async move {
            while let Some(question) = asked.recv().await {
                let FromGateway::Ask { id, .. } = question else { continue };
                let state = if revoked.load(Ordering::SeqCst) { KeyState::Revoked } else { KeyState::Active };
                yield_now().await;
                let keys = vec![KeyRecord { state, ..key.clone() }];
                let _ = line.send(OnTheLine::Answer(id, Answer::Keys { keys }));
            }
        });
        let (line, revoked) = (saying.clone(), is_revoked);
        // Another change of the user comes first, so that the key is looked up once more; then the
        // key is revoked.
        let revoking = spawn(async move {
            some_steps(STEPS).await;
            let _ = line.send(OnTheLine::Ended(Ended::User { username: user("a") }));
            some_steps(STEPS).await;
            revoked.store(true, Ordering::SeqCst);
            let _ = line.send(OnTheLine::Ended(revocation()));
        });
        let hearing = spawn(hear(said, Arc::clone(&key_cache), revocation(), Arc::clone(&is_acknowledged)));
        let requests = [(); 2].map(|()| {
            let (key_cache, acknowledged) = (Arc::clone(&key_cache), Arc::clone(&is_acknowledged));
            let (accepted, refused) = (Arc::clone(&counted_accepted), Arc::clone(&counted_refused));
            spawn(async move {
                if is_accepted(&key_cache).await {
                    assert!(!acknowledged.load(Ordering::SeqCst), "accepted after the acknowledgement");
                    accepted.fetch_add(1, Ordering::SeqCst);
                } else {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        block_on(async {
            for request in requests {
                request.await.unwrap();
            }
            revoking.await.unwrap();
            let _ = saying.send(OnTheLine::End);
            hearing.await.unwrap();
            drop(key_cache);
            answering.await.unwrap();
        });
    });
    let (accepted, refused) = (accepted.load(Ordering::SeqCst), refused.load(Ordering::SeqCst));
    assert!(accepted > ORDERS / 10 && refused > ORDERS / 10, "{accepted} accepted and {refused} refused");
}
