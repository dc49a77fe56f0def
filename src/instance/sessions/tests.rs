//! Tests of how sessions end.
use countersign_keys::intent::Consent;

use super::*;

/// A session ends without another request, because its partial file counts against the user's
/// quota.
#[tokio::test(start_paused = true)]
async fn r10_a_session_that_is_over_is_taken_out_with_its_upload() {
    let sessions = Sessions {
        key: None,
        audience: Origin::parse("https://hpc.example.org").unwrap(),
        provider: ProviderId::parse("hpc").unwrap(),
        proof: ProofNeed::Required,
        seal: SealNeed::Preferred,
        terminals: Terminals::Offered,
        lifetime_s: TOKEN_LIFETIME_S,
        entries: Mutex::default(),
    };
    let upload = Arc::new(Upload::new("/home/a".to_owned(), false, "RENAME".to_owned(), Consent::Unasked));
    let entry =
        || Entry { scope: Scope::Upload(Arc::clone(&upload)), state: State::Sealed, until: Instant::now() + IDLE_MAX };
    sessions.entries.lock().unwrap().insert(TokenHash::of("one"), entry());
    tokio::time::advance(IDLE_MAX / 2).await;
    sessions.entries.lock().unwrap().insert(TokenHash::of("two"), entry());
    assert!(sessions.take_expired().is_empty());
    tokio::time::advance(IDLE_MAX / 2).await;
    let over = sessions.take_expired().len();
    assert_eq!((over, Arc::strong_count(&upload), sessions.count_open()), (1, 2, 1));
}
