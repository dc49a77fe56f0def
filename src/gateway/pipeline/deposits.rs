//! Deposits: intents that arrive separately and wait for their request (protocol, section 5).
//!
//! One request at a time takes a deposit. The deposit goes back if that request fails (449, 503),
//! and is consumed if it succeeds. A deposit that no request can use any more is discarded, so that
//! it blocks no other. If a call needs a passkey, its deposit can be taken only after the passkey
//! asserted it. No deposit evicts another: the gateway refuses a user who has too many, and every
//! user when the store is full (P8).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::bind::Items;
use countersign_keys::call::Row;
use countersign_keys::identity::Username;
use countersign_keys::intent::{Fingerprint, VerifiedIntent};
use countersign_keys::policy::SteppedUp;
use countersign_keys::replay::IntentId;
use countersign_keys::time::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Waiting deposits of one user: more than a second's worth of any browser.
const EACH_MAX: usize = 64;

/// Bytes of one user's deposits: two of the longest, or hundreds of usual ones.
const EACH_BYTES_MAX: usize = 512 * 1024;

/// Bytes of all deposits.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests of one user that wait for a deposit at a time.
const WAITING_EACH_MAX: usize = 64;

/// Consumed intents of one user that are remembered until they expire. Beyond this, only the replay
/// log refuses them, in a later step.
const CONSUMED_EACH_MAX: usize = 1_024;

/// Why a deposit is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DepositRejection {
    #[error("the deposited intent has been used")]
    Consumed,
    #[error("the user has too many deposits")]
    TooMany,
    /// All deposits together fill the store: not the sender's fault.
    #[error("there is no room for another deposit")]
    Full,
}

/// All deposits. Bounded by the constants above; only expiry and use remove one.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    by_user: HashMap<Username, OfUser>,
    /// Expiry and number of each deposit, consumed ones included, and its owner.
    by_expiry: BTreeMap<(Timestamp, u64), Username>,
    bytes: usize,
    last_number: u64,
}

#[derive(Debug, Default)]
struct OfUser {
    kept: Vec<Stored>,
    bytes: usize,
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Stored {
    number: u64,
    id: IntentId,
    fingerprint: Fingerprint,
    standing: DepositState,
    state: State,
}

/// What supports a deposit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DepositState {
    /// A signature, which is enough for its call.
    Signed,
    /// A signature; a passkey was asked to assert it.
    Challenged,
    /// A signature and a passkey's assertion.
    SteppedUp(SteppedUp),
}

/// What a request looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'w> {
    /// Any deposit of that call that covers the items and is for the project that they show.
    Covering(&'w Row, &'w Items<'w>),
    /// The deposit of the intent that came with the request, asserted by a passkey.
    Asserted(Fingerprint),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotReserved {
    Absent,
    /// A deposit is there, but no passkey has asserted it.
    NotSteppedUp,
}

#[derive(Debug)]
enum State {
    /// It waits for its request.
    Free(VerifiedIntent<'static>),
    /// A request has taken it.
    Reserved(VerifiedIntent<'static>),
    /// It has been used. Stored until it expires, to refuse it again.
    Consumed,
}

/// A deposit that one request has taken. Goes back when it is dropped; [`Reservation::consume`] and
/// [`Reservation::discard`] end it.
#[derive(Debug)]
pub(crate) struct Reservation<'d> {
    deposits: &'d Deposits,
    number: u64,
    pub(crate) intent: VerifiedIntent<'static>,
    standing: DepositState,
}

/// A waiting request; dropping it ends the wait.
struct Waiting<'d> {
    deposits: &'d Deposits,
    username: &'d Username,
    woken: oneshot::Receiver<()>,
}

impl Deposits {
    /// Stores an intent and wakes the user's waiting requests. Storing it again changes nothing,
    /// unless it now has a passkey's assertion.
    pub(crate) fn put(
        &self,
        intent: VerifiedIntent<'static>,
        standing: DepositState,
        now: Timestamp,
    ) -> Result<(), DepositRejection> {
        let mut all = self.all();
        all.forget_expired(now);
        let (length, id, expires, owner) = (intent.length(), intent.id(), intent.expires(), intent.username().clone());
        let fingerprint = intent.fingerprint();
        let is_full = all.bytes.saturating_add(length) > BYTES_MAX;
        let number = all.last_number.wrapping_add(1);
        if let Some(of_user) = all.by_user.get_mut(&owner) {
            if let Some(kept) = of_user.kept.iter_mut().find(|kept| kept.id == id) {
                if matches!(kept.state, State::Consumed) {
                    return Err(DepositRejection::Consumed);
                }
                if kept.fingerprint == fingerprint && matches!(standing, DepositState::SteppedUp(_)) {
                    kept.standing = standing;
                    of_user.wake();
                }
                return Ok(());
            }
            if of_user.unconsumed() >= EACH_MAX || of_user.bytes.saturating_add(length) > EACH_BYTES_MAX {
                return Err(DepositRejection::TooMany);
            }
        }
        if is_full {
            return Err(DepositRejection::Full);
        }
        let of_user = all.by_user.entry(owner.clone()).or_default();
        of_user.bytes = of_user.bytes.saturating_add(length);
        of_user.kept.push(Stored { number, id, fingerprint, standing, state: State::Free(intent) });
        of_user.wake();
        all.bytes = all.bytes.saturating_add(length);
        all.last_number = number;
        all.by_expiry.insert((expires, number), owner);
        Ok(())
    }

    pub(crate) fn is_stepped_up(&self, intent: &VerifiedIntent<'_>) -> bool {
        let (all, fingerprint) = (self.all(), intent.fingerprint());
        let kept = all.by_user.get(intent.username()).map(|of_user| of_user.kept.as_slice()).unwrap_or_default();
        kept.iter().any(|kept| kept.fingerprint == fingerprint && matches!(kept.standing, DepositState::SteppedUp(_)))
    }

    /// Takes a deposit of the user, waiting for one until `deadline`.
    pub(crate) async fn reserve<'d>(
        &'d self,
        username: &'d Username,
        wanted: Wanted<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Reservation<'d>, NotReserved> {
        loop {
            let mut waiting = {
                let mut all = self.all();
                all.forget_expired(now);
                let of_user = all.by_user.entry(username.clone()).or_default();
                if let Some((number, intent, standing)) = of_user.reserve(wanted) {
                    return Ok(Reservation { deposits: self, number, intent, standing });
                }
                let woken = of_user.wait().ok_or(NotReserved::Absent)?;
                Waiting { deposits: self, username, woken }
            };
            if tokio::time::timeout_at(deadline, &mut waiting.woken).await.is_err() {
                return Err(self.why_not(username, wanted));
            }
        }
    }

    fn why_not(&self, username: &Username, wanted: Wanted<'_>) -> NotReserved {
        let all = self.all();
        let kept = all.by_user.get(username).map(|of_user| of_user.kept.as_slice()).unwrap_or_default();
        let is_challenged =
            kept.iter().any(|kept| kept.standing == DepositState::Challenged && kept.fits(wanted).is_some());
        if is_challenged { NotReserved::NotSteppedUp } else { NotReserved::Absent }
    }

    /// Requests of the user that wait at this moment.
    #[cfg(test)]
    pub(crate) fn waiting(&self, username: &Username) -> usize {
        self.all().by_user.get(username).map_or(0, |of_user| of_user.waiting.len())
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// The passkey's evidence, if there is some.
    pub(crate) const fn stepped_up(&self) -> Option<SteppedUp> {
        match self.standing {
            DepositState::SteppedUp(evidence) => Some(evidence),
            DepositState::Signed | DepositState::Challenged => None,
        }
    }

    /// Ends the deposit: its intent has been used.
    pub(crate) fn consume(self) {
        self.end();
    }

    /// Ends the deposit: no request can use its intent any more.
    pub(crate) fn discard(self) {
        self.end();
    }

    /// Marks the deposit as consumed, so that it is neither taken nor stored again.
    fn end(self) {
        self.deposits.all().change(&self.intent, self.number, |of_user, at| {
            let consumed = of_user.kept.len().saturating_sub(of_user.unconsumed());
            if consumed >= CONSUMED_EACH_MAX {
                of_user.kept.swap_remove(at);
            } else if let Some(kept) = of_user.kept.get_mut(at) {
                kept.state = State::Consumed;
            }
        });
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.deposits.all().change(&self.intent, self.number, |of_user, at| {
            if let Some(kept) = of_user.kept.get_mut(at)
                && let State::Reserved(intent) = std::mem::replace(&mut kept.state, State::Consumed)
            {
                kept.state = State::Free(intent);
                of_user.wake();
            }
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.woken.close();
        let mut all = self.deposits.all();
        if let Some(of_user) = all.by_user.get_mut(self.username) {
            of_user.waiting.retain(|waiting| !waiting.is_closed());
            if of_user.kept.is_empty() && of_user.waiting.is_empty() {
                all.by_user.remove(self.username);
            }
        }
    }
}

impl All {
    /// Changes the deposit of that number, and adjusts the sums.
    fn change(&mut self, intent: &VerifiedIntent<'_>, number: u64, change: impl FnOnce(&mut OfUser, usize)) {
        let Some(of_user) = self.by_user.get_mut(intent.username()) else { return };
        let Some(at) = of_user.kept.iter().position(|kept| kept.number == number) else { return };
        change(of_user, at);
        let bytes = of_user.kept.iter().map(Stored::length).sum();
        let freed = of_user.bytes.saturating_sub(bytes);
        of_user.bytes = bytes;
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while let Some(first) = self.by_expiry.first_entry().filter(|first| first.key().0 < now) {
            let ((_, number), owner) = first.remove_entry();
            let Some(of_user) = self.by_user.get_mut(&owner) else { continue };
            if let Some(at) = of_user.kept.iter().position(|kept| kept.number == number) {
                let length = of_user.kept.swap_remove(at).length();
                of_user.bytes = of_user.bytes.saturating_sub(length);
                self.bytes = self.bytes.saturating_sub(length);
            }
            if of_user.kept.is_empty() && of_user.waiting.is_empty() {
                self.by_user.remove(&owner);
            }
        }
    }
}

impl Stored {
    /// The intent's expiry, if the deposit is free and matches.
    fn fits(&self, wanted: Wanted<'_>) -> Option<Timestamp> {
        let State::Free(intent) = &self.state else { return None };
        let fits = match wanted {
            Wanted::Covering(row, items) => intent.fits(row, items),
            Wanted::Asserted(fingerprint) => self.fingerprint == fingerprint,
        };
        fits.then(|| intent.expires())
    }

    fn may_be_reserved(&self, wanted: Wanted<'_>) -> bool {
        match (wanted, self.standing) {
            (_, DepositState::Challenged) | (Wanted::Asserted(_), DepositState::Signed) => false,
            (Wanted::Covering(..), DepositState::Signed) | (_, DepositState::SteppedUp(_)) => true,
        }
    }

    fn length(&self) -> usize {
        match &self.state {
            State::Free(intent) | State::Reserved(intent) => intent.length(),
            State::Consumed => 0,
        }
    }
}

impl OfUser {
    fn unconsumed(&self) -> usize {
        self.kept.iter().filter(|kept| !matches!(kept.state, State::Consumed)).count()
    }

    /// Takes the matching deposit that expires first, so that the rest last longest.
    fn reserve(&mut self, wanted: Wanted<'_>) -> Option<(u64, VerifiedIntent<'static>, DepositState)> {
        let fitting = self.kept.iter_mut().filter(|kept| kept.may_be_reserved(wanted));
        let fitting = fitting.filter_map(|kept| Some((kept.fits(wanted)?, kept)));
        let (_, kept) = fitting.min_by_key(|(expires, _)| *expires)?;
        let State::Free(intent) = std::mem::replace(&mut kept.state, State::Consumed) else { return None };
        kept.state = State::Reserved(intent.clone());
        Some((kept.number, intent, kept.standing))
    }

    fn wait(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.waiting.len() >= WAITING_EACH_MAX {
            return None;
        }
        let (waiting, woken) = oneshot::channel();
        self.waiting.push(waiting);
        Some(woken)
    }

    fn wake(&mut self) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(()); // fails if the request gave up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    use countersign_keys::call::CallTable;
    use countersign_keys::identity::ProviderId;
    use countersign_keys::intent::ItemDigest;

    use crate::tests::fixtures::{NOW, Signer, at};
    use std::time::Duration;

    fn intent(signer: &Signer, item: &str, token_id: u8) -> VerifiedIntent<'static> {
        signer.verified("files.trash", &[digest(item)], token_id)
    }

    fn row() -> &'static Row {
        static CALLS: LazyLock<CallTable> =
            LazyLock::new(|| CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap());
        CALLS.row("files.trash").unwrap()
    }

    fn trash(item: &str) -> Items<'static> {
        let body = format!(r#"{{"items":[{{"id":"{item}"}}]}}"#);
        Items::read(row(), body.leak().as_bytes()).unwrap()
    }

    fn digest(item: &str) -> ItemDigest {
        trash(item).digests()[0]
    }

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    async fn reserve<'d>(deposits: &'d Deposits, username: &'d Username, item: &str) -> Option<Reservation<'d>> {
        let items = trash(item);
        let wanted = Wanted::Covering(row(), &items);
        deposits.reserve(username, wanted, at(NOW), Instant::now()).await.ok()
    }

    #[tokio::test]
    async fn a_deposit_is_taken_by_a_request_that_it_covers_and_consumed_once() {
        let (deposits, alice, alice_signs) = (Deposits::default(), alice(), Signer::new("alice"));
        deposits.put(intent(&alice_signs, "a", 1), DepositState::Signed, at(NOW)).unwrap();
        assert!(reserve(&deposits, &Username::parse("bob").unwrap(), "a").await.is_none());
        assert!(reserve(&deposits, &alice, "b").await.is_none());
        let taken = reserve(&deposits, &alice, "a").await.unwrap();
        assert!(reserve(&deposits, &alice, "a").await.is_none(), "it is in one request's hands");
        drop(taken);
        let taken = reserve(&deposits, &alice, "a").await.expect("it went back, as after 449");
        taken.consume();
        assert!(reserve(&deposits, &alice, "a").await.is_none());
        let again = deposits.put(intent(&alice_signs, "a", 1), DepositState::Signed, at(NOW));
        assert_eq!(again, Err(DepositRejection::Consumed));
        assert_eq!(deposits.all().bytes, 0);
    }

    #[tokio::test]
    async fn a_request_waits_for_its_deposit() {
        let (deposits, alice, alice_signs) = (Deposits::default(), alice(), Signer::new("alice"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let items = trash("a");
        let mut put = false;
        let waiting = deposits.reserve(&alice, Wanted::Covering(row(), &items), at(NOW), deadline);
        let putting = std::future::poll_fn(|_| {
            // Polled after the request: stores a deposit that does not fit, then one that does.
            assert!(!std::mem::replace(&mut put, true));
            deposits.put(intent(&alice_signs, "other", 1), DepositState::Signed, at(NOW)).unwrap();
            deposits.put(intent(&alice_signs, "a", 2), DepositState::Signed, at(NOW)).unwrap();
            std::task::Poll::Ready(())
        });
        let (taken, ()) = tokio::join!(biased; waiting, putting);
        assert!(taken.is_ok());
    }

    #[tokio::test]
    async fn whoever_waits_in_vain_leaves_nothing() {
        let (deposits, alice) = (Deposits::default(), alice());
        assert!(reserve(&deposits, &alice, "a").await.is_none());
        assert!(deposits.all().by_user.is_empty());
    }

    #[tokio::test]
    async fn a_flood_pushes_nobody_out() {
        let (deposits, alice, alice_signs) = (Deposits::default(), alice(), Signer::new("alice"));
        let bob_signs = Signer::new("bob");
        deposits.put(intent(&alice_signs, "a", 1), DepositState::Signed, at(NOW)).unwrap();
        for token_id in 0..64 {
            deposits.put(intent(&bob_signs, "a", token_id), DepositState::Signed, at(NOW)).unwrap();
        }
        assert_eq!(
            deposits.put(intent(&bob_signs, "a", 64), DepositState::Signed, at(NOW)),
            Err(DepositRejection::TooMany)
        );
        assert_eq!(deposits.put(intent(&bob_signs, "a", 63), DepositState::Signed, at(NOW)), Ok(()), "there already");
        assert!(reserve(&deposits, &alice, "a").await.is_some());
    }

    #[tokio::test]
    async fn what_expires_is_forgotten() {
        let (deposits, alice, alice_signs) = (Deposits::default(), alice(), Signer::new("alice"));
        deposits.put(intent(&alice_signs, "a", 1), DepositState::Signed, at(NOW)).unwrap();
        reserve(&deposits, &alice, "a").await.unwrap().consume();
        deposits.put(intent(&alice_signs, "b", 2), DepositState::Signed, at(NOW)).unwrap();
        deposits.all().forget_expired(at(NOW + 1_000));
        assert!(deposits.all().by_user.is_empty());
        assert!(deposits.all().by_expiry.is_empty());
        assert_eq!(deposits.all().bytes, 0);
    }

    #[tokio::test]
    async fn a_deposit_that_a_passkey_has_to_assert_is_taken_after_it_did() {
        let (deposits, alice, alice_signs) = (Deposits::default(), alice(), Signer::new("alice"));
        let signed = intent(&alice_signs, "a", 1);
        let one = || signed.clone();
        let evidence = SteppedUp::dangerous_on_the_word_of_the_server;
        deposits.put(one(), DepositState::Challenged, at(NOW)).unwrap();
        let items = trash("a");
        let covering = Wanted::Covering(row(), &items);
        let look = async |wanted| deposits.reserve(&alice, wanted, at(NOW), Instant::now()).await;
        assert_eq!(look(covering).await.unwrap_err(), NotReserved::NotSteppedUp);
        assert_eq!(look(Wanted::Asserted(one().fingerprint())).await.unwrap_err(), NotReserved::NotSteppedUp);
        deposits.put(one(), DepositState::Signed, at(NOW)).unwrap();
        assert!(look(covering).await.is_err(), "leaving it once more is no assertion");
        assert!(!deposits.is_stepped_up(&one()));
        let stepped_up = DepositState::SteppedUp(evidence(one().fingerprint()));
        let other = intent(&alice_signs, "b", 2);
        deposits.put(other.clone(), DepositState::Signed, at(NOW)).unwrap();
        deposits.put(one(), stepped_up, at(NOW)).unwrap();
        assert!(deposits.is_stepped_up(&one()));
        assert!(look(Wanted::Asserted(other.fingerprint())).await.is_err(), "another's assertion");
        let taken = look(covering).await.unwrap();
        assert_eq!(taken.stepped_up(), Some(evidence(one().fingerprint())));
        drop(taken);
        look(Wanted::Asserted(one().fingerprint())).await.unwrap().consume();
        assert!(look(Wanted::Asserted(one().fingerprint())).await.is_err(), "once");
        assert_eq!(deposits.put(one(), stepped_up, at(NOW)), Err(DepositRejection::Consumed));
    }
}
