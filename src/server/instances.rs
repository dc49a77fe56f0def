//! The instances that run: at most one a uid, from launched over ready to gone.
//!
//! The server cannot signal another account's process. An instance holds a line to the server open and exits
//! when told so, when the line breaks, or when it has been idle; whatever way it ends, the gateway is told, and the
//! next `init` launches another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::identity::Uid;
use tokio::sync::{mpsc, watch};

use super::launch::{LaunchFailure, Launched, Launcher};
use crate::accounts::Account;
use crate::exit::Exit;
use crate::ipc::control::{InstanceAddress, SocketAddress, Whereabouts};

/// How long `init` waits for an instance: Core gives up on the call after 5 s, and repeats the request anyhow.
pub(super) const READY_MAX: Duration = Duration::from_secs(2);

/// How long an instance that was told to stop may take; after that another may take its place.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The wait after a second failure in a row, doubled for each further one, and the longest. After a first failure the next
/// `init` launches again at once.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// For how long it is believed that an account can have no instance. Long enough that a user who tries again gets the answer and not
/// another launch, short enough that nobody waits for long once the staff have put it right.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// An instance that lived this long did not fail to start.
const LASTED: Duration = Duration::from_secs(10);

/// The running instances. Bounded by the accounts that are connected; an entry goes when its process is gone.
#[derive(Debug)]
pub(super) struct Instances {
    launcher: Launcher,
    slots: Mutex<Slots>,
    gone: mpsc::UnboundedSender<Uid>,
}

#[derive(Debug, Default)]
struct Slots {
    launched: u64,
    by_uid: HashMap<Uid, Slot>,
    /// Instances that failed of late; an entry goes when an instance of that uid has lasted.
    failures: HashMap<Uid, Failures>,
    /// Accounts that can have no instance, as the server or the instance itself found, and until when that is believed. An entry goes when
    /// its time has passed and another comes.
    refused: HashMap<Uid, Instant>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    address: InstanceAddress,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    in_a_row: u32,
    back_off: Duration,
    not_before: Instant,
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Its process was started.
    Launched,
    /// It serves its socket.
    Ready,
    /// It was told to stop.
    Stopping,
    /// Its process is gone.
    Gone,
}

/// Why there is no instance.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoInstance {
    /// It could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchFailure),
    /// It ended before it was ready.
    #[error("the instance of uid {0} ended before it was ready: see its log")]
    Died(Uid),
    /// It is not ready yet.
    #[error("the instance of uid {0} is not ready yet")]
    Slow(Uid),
    /// The account can have none.
    #[error("the account with uid {0} can have no instance: see its log")]
    Refused(Uid),
    /// It failed a moment ago.
    #[error("the instance of uid {0} has failed repeatedly: see its log")]
    Failing(Uid),
}

impl Instances {
    /// None yet. The uid of every instance that is no longer there comes out at the other end.
    pub(super) fn new(launcher: Launcher) -> (Arc<Self>, mpsc::UnboundedReceiver<Uid>) {
        let (gone, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { launcher, slots: Mutex::default(), gone }), receiver)
    }

    /// Where the instance of a uid is.
    pub(super) fn whereabouts(&self, uid: Uid, now: Instant) -> Whereabouts {
        let slots = self.lock();
        match slots.by_uid.get(&uid) {
            Some(slot) if *slot.phase.borrow() == Phase::Ready => Whereabouts::Up(slot.address.clone()),
            None if slots.is_refused(uid, now) => Whereabouts::Refused,
            Some(_) | None => Whereabouts::Down,
        }
    }

    /// The account can have no instance: for a while none is launched for it.
    pub(super) fn refuse(&self, uid: Uid, now: Instant) {
        let mut slots = self.lock();
        slots.refused.retain(|_, until| now < *until);
        slots.refused.insert(uid, now + REFUSED_FOR);
    }

    /// Sees to it that the account's instance runs, and waits until it is ready. Any number may ask at once.
    pub(super) async fn ensure(self: &Arc<Self>, account: &Account, now: Instant) -> Result<(), NoInstance> {
        self.ensure_within(READY_MAX, account, now).await
    }

    async fn ensure_within(
        self: &Arc<Self>,
        time_max: Duration,
        account: &Account,
        now: Instant,
    ) -> Result<(), NoInstance> {
        let uid = account.uid;
        let mut phase = self.launched(uid, now)?;
        let settled = phase.wait_for(|phase| matches!(phase, Phase::Ready | Phase::Gone));
        match tokio::time::timeout(time_max, settled).await {
            Ok(Ok(phase)) if *phase == Phase::Ready => Ok(()),
            Ok(Ok(_) | Err(_)) if self.lock().is_refused(uid, now) => Err(NoInstance::Refused(uid)),
            Ok(Ok(_) | Err(_)) => Err(NoInstance::Died(uid)),
            Err(_elapsed) => Err(NoInstance::Slow(uid)),
        }
    }

    /// The phase of the uid's instance, which is launched if there is none. Under one lock, so that two never are.
    fn launched(self: &Arc<Self>, uid: Uid, now: Instant) -> Result<watch::Receiver<Phase>, NoInstance> {
        let mut slots = self.lock();
        if let Some(slot) = slots.by_uid.get(&uid) {
            return Ok(slot.phase.subscribe());
        }
        if slots.is_refused(uid, now) {
            return Err(NoInstance::Refused(uid));
        }
        if slots.failures.get(&uid).is_some_and(|failures| now < failures.not_before) {
            return Err(NoInstance::Failing(uid));
        }
        slots.launched = slots.launched.saturating_add(1);
        let number = slots.launched;
        let Launched { mut child, address } = self.launcher.launch(uid, number)?;
        tracing::info!(%uid, number, pid = child.id(), "instance launched");
        let (phase, receiver) = watch::channel(Phase::Launched);
        slots.by_uid.insert(uid, Slot { number, address, phase });
        drop(slots);
        let instances = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = child.wait().await;
            let is_clean = outcome.as_ref().is_ok_and(std::process::ExitStatus::success);
            // Its own word that its account can have none; sudo, which it took the place of, says 1 for whatever it refuses.
            if outcome.as_ref().is_ok_and(|status| status.code() == Some(Exit::Refused.number().into())) {
                instances.refuse(uid, Instant::now());
            }
            match outcome {
                Ok(status) if is_clean => tracing::info!(%uid, number, %status, "instance ended"),
                Ok(status) => tracing::warn!(%uid, number, %status, "instance failed: see its log"),
                Err(error) => tracing::error!(%uid, number, %error, "cannot tell whether the instance runs"),
            }
            instances.remove(uid, number);
            instances.count(uid, is_clean, now, Instant::now());
        });
        Ok(receiver)
    }

    /// The uid's instance says that it serves its socket. One that was told to stop stays stopped.
    pub(super) fn ready(&self, uid: Uid) -> bool {
        self.lock().by_uid.get(&uid).is_some_and(|slot| {
            slot.phase.send_if_modified(|phase| {
                let is_first = *phase == Phase::Launched;
                if is_first {
                    *phase = Phase::Ready;
                }
                is_first
            }) || *slot.phase.borrow() == Phase::Ready
        })
    }

    /// The phase of the uid's instance, for the line that it holds open.
    pub(super) fn watch(&self, uid: Uid) -> Option<watch::Receiver<Phase>> {
        self.lock().by_uid.get(&uid).map(|slot| slot.phase.subscribe())
    }

    /// Tells the uid's instance to stop; it gets no request from now on.
    pub(super) fn stop(self: &Arc<Self>, uid: Uid) {
        let slots = self.lock();
        let Some(slot) = slots.by_uid.get(&uid) else {
            return;
        };
        let number = slot.number;
        slot.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Stopping) != Phase::Stopping);
        drop(slots);
        let _ = self.gone.send(uid);
        let instances = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(STOP_MAX).await;
            if instances.remove(uid, number) {
                tracing::warn!(%uid, number, "instance was told to stop and has not");
            }
        });
    }

    /// Tells all of them to stop.
    pub(super) fn stop_all(&self) {
        for slot in self.lock().by_uid.values() {
            slot.phase.send_replace(Phase::Stopping);
        }
    }

    /// Forgets an instance, and whether it was still known. Its socket goes with it.
    fn remove(&self, uid: Uid, number: u64) -> bool {
        let mut slots = self.lock();
        if slots.by_uid.get(&uid).is_none_or(|slot| slot.number != number) {
            return false;
        }
        let slot = slots.by_uid.remove(&uid);
        drop(slots);
        if let Some(slot) = slot {
            slot.phase.send_replace(Phase::Gone);
            remove_socket(&slot.address.socket);
        }
        // The other end is gone only when the server itself ends.
        let _ = self.gone.send(uid);
        true
    }

    /// Counts failures, so that an instance that cannot start is not started on every request.
    fn count(&self, uid: Uid, is_clean: bool, launched: Instant, ended: Instant) {
        let mut slots = self.lock();
        if is_clean || ended.saturating_duration_since(launched) >= LASTED {
            slots.failures.remove(&uid);
            return;
        }
        let (in_a_row, back_off) = match slots.failures.get(&uid) {
            None => (1, Duration::ZERO),
            Some(before) => {
                let back_off = before.back_off.saturating_mul(2).clamp(BACK_OFF.0, BACK_OFF.1);
                (before.in_a_row.saturating_add(1), back_off)
            }
        };
        slots.failures.insert(uid, Failures { in_a_row, back_off, not_before: ended + back_off });
    }

    /// The map is consistent after every statement, so that a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn is_refused(&self, uid: Uid, now: Instant) -> bool {
        self.refused.get(&uid).is_some_and(|until| now < *until)
    }
}

fn remove_socket(socket: &SocketAddress) {
    match socket {
        SocketAddress::Unix(path) => {
            let path: &PathBuf = path;
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an instance's socket cannot be removed");
            }
        }
        SocketAddress::Tcp(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const UID: Uid = Uid(1100);

    fn account() -> Account {
        Account { uid: UID, name: "alice".to_owned() }
    }

    fn instances(script: &str, directory: &tempfile::TempDir) -> (Arc<Instances>, mpsc::UnboundedReceiver<Uid>) {
        Instances::new(Launcher::stub(script, directory.path()))
    }

    #[tokio::test]
    async fn v58_one_instance_a_uid_however_many_ask() {
        let directory = tempfile::tempdir().unwrap();
        let (instances, _gone) = instances("exec sleep 5", &directory);
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let instances = Arc::clone(&instances);
                tokio::spawn(async move { instances.ensure(&account(), Instant::now()).await })
            })
            .collect();
        while instances.watch(UID).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(instances.whereabouts(UID, Instant::now()), Whereabouts::Down, "launched is not ready");
        assert!(!instances.ready(Uid(1101)), "nobody else's word counts");
        assert!(instances.ready(UID));
        assert!(instances.ready(UID));
        for one in asked {
            one.await.unwrap().unwrap();
        }
        assert!(matches!(instances.whereabouts(UID, Instant::now()), Whereabouts::Up(_)));
        assert_eq!(instances.lock().launched, 1);
    }

    #[tokio::test]
    async fn an_instance_that_ends_is_told_and_launched_again() {
        let directory = tempfile::tempdir().unwrap();
        let (instances, mut gone) = instances("exit 0", &directory);
        for _ in 0..2 {
            let outcome = instances.ensure(&account(), Instant::now()).await;
            assert!(matches!(outcome, Err(NoInstance::Died(UID))));
            assert_eq!(gone.recv().await, Some(UID));
        }
        assert_eq!(instances.lock().launched, 2);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "the log alone is left");
    }

    #[tokio::test]
    async fn one_that_fails_waits_ever_longer() {
        let directory = tempfile::tempdir().unwrap();
        let (instances, mut gone) = instances("exit 1", &directory);
        let now = Instant::now();
        for failures in 1..=2 {
            assert!(matches!(instances.ensure(&account(), now + BACK_OFF.1).await, Err(NoInstance::Died(UID))));
            gone.recv().await.unwrap();
            while instances.lock().failures.get(&UID).is_none_or(|failed| failed.in_a_row < failures) {
                tokio::task::yield_now().await;
            }
        }
        assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Failing(UID))));
        instances.count(UID, false, now, now);
        assert_eq!(instances.lock().failures[&UID].back_off, BACK_OFF.0 * 2);
        instances.count(UID, false, now, now + LASTED);
        assert!(instances.lock().failures.is_empty());
    }

    #[tokio::test]
    async fn v59_one_that_says_that_its_account_can_have_none_is_believed_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let (instances, mut gone) = instances("exit 3", &directory);
        let now = Instant::now();
        assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Refused(UID))));
        gone.recv().await.unwrap();
        assert_eq!(instances.whereabouts(UID, now), Whereabouts::Refused);
        assert_eq!(instances.whereabouts(Uid(1101), now), Whereabouts::Down, "nobody else is concerned");
        assert!(matches!(instances.ensure(&account(), now).await, Err(NoInstance::Refused(UID))));
        assert_eq!(instances.lock().launched, 1);
        let later = now + REFUSED_FOR * 2;
        assert_eq!(instances.whereabouts(UID, later), Whereabouts::Down);
        assert!(instances.ensure(&account(), later).await.is_err());
        assert_eq!(instances.lock().launched, 2, "it may have been put right");
    }

    #[tokio::test]
    async fn one_that_is_slow_or_stopping_is_not_ready() {
        let directory = tempfile::tempdir().unwrap();
        let (instances, mut gone) = instances("exec sleep 5", &directory);
        let slow = instances.ensure_within(SHORT, &account(), Instant::now()).await;
        assert!(matches!(slow, Err(NoInstance::Slow(UID))));
        let mut phase = instances.watch(UID).unwrap();
        instances.ready(UID);
        instances.stop(UID);
        assert_eq!(gone.recv().await, Some(UID));
        assert_eq!(*phase.borrow_and_update(), Phase::Stopping);
        assert!(!instances.ready(UID), "told to stop is told to stop");
        assert_eq!(instances.whereabouts(UID, Instant::now()), Whereabouts::Down);
    }
}
