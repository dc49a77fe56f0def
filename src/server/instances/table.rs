//! The running instances: at most one for each uid, from launched through ready to gone.
//!
//! The server cannot signal another account's process. It holds a channel to each instance
//! ([`countersign_ipc::instance_line`]), on which the instance reports that it serves (V72). The
//! instance exits when told to, when the channel breaks, or when idle. In each case the gateway is
//! told, and the next `init` launches another.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::identity::Uid;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, watch};

use super::launch::{LaunchFailure, Launched, Launcher};
use super::log::InstanceLog;
use super::phase::{InstanceCounts, Phase};
use countersign_home::accounts::Account;
use countersign_ipc::gateway_protocol::{InstanceAddress, SocketAddress, Whereabouts};
use countersign_ipc::instance_line::{FromInstance, ToInstance, hear, say};
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::exit_code::Exit;

/// How long `init` waits for an instance. Core gives up on the call after 5 s, and repeats the
/// request anyway.
pub(crate) const READY_MAX: Duration = Duration::from_secs(2);

/// How long an approval waits for an instance: a person waits, not a call of Core's.
const TRY_MAX: Duration = Duration::from_secs(10);

/// How long the gateway may take to note that an instance stops. It is killed earlier.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// How long an instance may take to stop. After that another may replace it.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Wait after a second consecutive failure, doubled for each further one, and the longest wait.
/// After a first failure the next `init` launches at once.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How long a refusal for an account is cached. Long enough that a user who tries again gets the
/// answer without another launch, short enough that users need not wait long after the staff have
/// fixed it.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// An instance that lived this long did start.
const LASTED: Duration = Duration::from_secs(10);

/// How long to wait for the output of an instance that is gone. It is there already, unless a child
/// of the instance is between fork and exec.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// sudo's exit code for every refusal.
const SUDO_REFUSED: i32 = 1;

/// The running instances. Bounded by the connected accounts; an entry is removed with its process.
#[derive(Debug)]
pub(crate) struct Instances {
    launcher: Launcher,
    slots: Mutex<Slots>,
    gone: mpsc::UnboundedSender<Uid>,
    /// Counts changes of the configuration that instances have read.
    renewals: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Slots {
    launched: u64,
    failed: u64,
    by_uid: HashMap<Uid, Slot>,
    /// Recent failures. An entry is removed when an instance of that uid has lasted.
    failures: HashMap<Uid, Failures>,
    /// Accounts that can have no instance, found by the server or the instance, and until when that
    /// is cached. An expired entry is removed when another is added.
    refused: HashMap<Uid, Instant>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    address: InstanceAddress,
    phase: watch::Sender<Phase>,
    /// Notified when no gateway sends this instance new requests any more.
    released: Arc<Notify>,
}

/// Tells when an instance is to stop: it gets no new requests, and every gateway knows.
#[derive(Debug)]
struct Stop {
    phase: watch::Receiver<Phase>,
    released: Arc<Notify>,
}

impl Stop {
    async fn told(&mut self) {
        // An error means that the instance is gone.
        let _ = self.phase.wait_for(|phase| matches!(phase, Phase::Stopping | Phase::Gone)).await;
        let _ = tokio::time::timeout(RELEASE_MAX, self.released.notified()).await;
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    in_a_row: u32,
    back_off: Duration,
    not_before: Instant,
}

/// How far a launched process has reported to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// No report: most likely sudo still runs.
    Launched,
    /// The program ran.
    Started,
}

/// Why an account has no instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoInstance {
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
    /// It failed recently, and its back-off is not over.
    #[error("the instance of uid {0} has failed repeatedly: see its log")]
    Failing(Uid),
}

impl Instances {
    /// Makes an empty set. The receiver gets the uid of each instance that ended.
    pub(crate) fn new(launcher: Launcher) -> (Arc<Self>, mpsc::UnboundedReceiver<Uid>) {
        let (gone, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { launcher, slots: Mutex::default(), gone, renewals: watch::Sender::new(0) }), receiver)
    }

    pub(crate) fn counts(&self) -> InstanceCounts {
        let slots = self.lock();
        let phases = slots.by_uid.values().map(|slot| *slot.phase.borrow()).collect();
        InstanceCounts { phases, launched: slots.launched, failed: slots.failed }
    }

    /// The address of a uid's instance.
    pub(crate) fn whereabouts(&self, uid: Uid, now: Instant) -> Whereabouts {
        let slots = self.lock();
        match slots.by_uid.get(&uid) {
            Some(slot) if *slot.phase.borrow() == Phase::Ready => Whereabouts::Up(slot.address.clone()),
            None if slots.is_refused(uid, now) => Whereabouts::Refused,
            Some(_) | None => Whereabouts::Down,
        }
    }

    /// Caches that the account can have no instance. None is launched for a while.
    pub(crate) fn refuse(&self, uid: Uid, now: Instant) {
        let mut slots = self.lock();
        slots.refused.retain(|_, until| now < *until);
        slots.refused.insert(uid, now + REFUSED_FOR);
    }

    /// Launches the account's instance if needed, and waits until it is ready. Concurrent calls
    /// share one launch.
    pub(crate) async fn ensure(self: &Arc<Self>, account: &Account, now: Instant) -> Result<(), NoInstance> {
        self.ensure_within(READY_MAX, account, now).await
    }

    /// Checks that the account can have an instance: if none runs, starts one and stops it again.
    pub(crate) async fn try_out(self: &Arc<Self>, account: &Account, now: Instant) -> Result<(), NoInstance> {
        if matches!(self.whereabouts(account.uid, now), Whereabouts::Up(_)) {
            return Ok(());
        }
        self.ensure_within(TRY_MAX, account, now).await?;
        let phase = self.watch(account.uid);
        self.stop(account.uid);
        if let Some(mut phase) = phase {
            // If it does not end in time, it is still known to be stopping. The next is launched
            // when it is gone.
            let _ = tokio::time::timeout(STOP_MAX, phase.wait_for(|phase| *phase == Phase::Gone)).await;
        }
        Ok(())
    }

    async fn ensure_within(
        self: &Arc<Self>,
        time_max: Duration,
        account: &Account,
        now: Instant,
    ) -> Result<(), NoInstance> {
        let uid = account.uid;
        let mut phase = self.launched(uid, now)?;
        if *phase.borrow() == Phase::Stopping {
            // Another follows it.
            let _ = tokio::time::timeout(time_max, phase.wait_for(|phase| *phase == Phase::Gone)).await;
            phase = self.launched(uid, now)?;
        }
        let settled = phase.wait_for(|phase| matches!(phase, Phase::Ready | Phase::Gone));
        match tokio::time::timeout(time_max, settled).await {
            Ok(Ok(phase)) if *phase == Phase::Ready => Ok(()),
            Ok(Ok(_) | Err(_)) if self.lock().is_refused(uid, now) => Err(NoInstance::Refused(uid)),
            Ok(Ok(_) | Err(_)) => Err(NoInstance::Died(uid)),
            Err(_elapsed) => Err(NoInstance::Slow(uid)),
        }
    }

    /// The phase of the uid's instance, launching it if there is none. One lock, so that two are
    /// never launched.
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
        let launched = self.launcher.launch(uid, number)?;
        tracing::info!(%uid, number, pid = launched.child.id(), "instance launched");
        let (phase, receiver) = watch::channel(Phase::Launched);
        let released = Arc::new(Notify::new());
        let stop = Stop { phase: receiver.clone(), released: Arc::clone(&released) };
        slots.by_uid.insert(uid, Slot { number, address: launched.address.clone(), phase, released });
        drop(slots);
        tokio::spawn(Arc::clone(self).attend(uid, number, launched, stop, now));
        Ok(receiver)
    }

    /// Supervises a launched instance until it is gone.
    async fn attend(
        self: Arc<Self>,
        uid: Uid,
        number: u64,
        Launched { mut child, line, output, log, address }: Launched,
        stop: Stop,
        launched: Instant,
    ) {
        let logging = tokio::spawn(Arc::clone(&self).log(uid, number, log, output));
        let mut conversing = tokio::spawn(Arc::clone(&self).converse(uid, number, line, address.key, stop));
        let outcome = child.wait().await;
        let is_clean = outcome.as_ref().is_ok_and(std::process::ExitStatus::success);
        let code = outcome.as_ref().ok().and_then(std::process::ExitStatus::code);
        let last = tokio::time::timeout(LAST_WORDS_MAX, logging).await;
        let last = last.ok().and_then(Result::ok).unwrap_or_default();
        // Its last messages, and then the end of the channel.
        let started = tokio::time::timeout(LAST_WORDS_MAX, &mut conversing).await;
        let started = matches!(started, Ok(Ok(Progress::Started)));
        conversing.abort();
        // The account can have no instance: the instance said so, or sudo did, which exits with 1
        // for every refusal.
        let by_sudo = (!started && code == Some(SUDO_REFUSED)).then(|| sudos_reason(&last)).flatten();
        if code == Some(Exit::Refused.number().into()) || by_sudo.is_some() {
            self.refuse(uid, Instant::now());
        }
        match outcome {
            Ok(status) if is_clean => tracing::info!(%uid, number, %status, "instance ended"),
            Ok(_) if by_sudo.is_some() => tracing::warn!(%uid, number, reason = by_sudo, "sudo refused the instance"),
            Ok(status) => {
                tracing::warn!(%uid, number, %status, last = last.last().map(String::as_str), "instance failed: see its log");
            }
            Err(error) => tracing::error!(%uid, number, %error, "cannot tell whether the instance runs"),
        }
        self.remove(uid, number);
        self.count(uid, is_clean, launched, Instant::now());
    }

    /// Stores an instance's output. Stops the instance if that fails.
    async fn log(self: Arc<Self>, uid: Uid, number: u64, log: InstanceLog, output: OwnedFd) -> Vec<String> {
        log.keep(output).await.unwrap_or_else(|error| {
            tracing::error!(%uid, number, %error, "cannot store the output of an instance: stopping it");
            self.stop_one(uid, number);
            Vec::new()
        })
    }

    /// Reads an instance's messages and tells it when to stop, until the channel ends.
    async fn converse(
        self: Arc<Self>,
        uid: Uid,
        number: u64,
        line: UnixStream,
        key: Option<ListenerKey>,
        mut stop: Stop,
    ) -> Progress {
        let mut renewals = self.renewals.subscribe();
        let (reader, mut writer) = line.into_split();
        let mut reader = BufReader::new(reader);
        let mut progress = Progress::Launched;
        let hearing = async {
            loop {
                match hear(&mut reader).await {
                    Ok(Some(FromInstance::Started)) => progress = Progress::Started,
                    Ok(Some(FromInstance::Ready)) => {
                        progress = Progress::Started;
                        self.ready(uid, number);
                    }
                    Ok(Some(FromInstance::Free)) => self.stop_one(uid, number),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(%uid, number, %error, "channel to an instance broke");
                        return;
                    }
                }
            }
        };
        let telling = async {
            // An error means that the instance is gone.
            if let Some(key) = key
                && let Err(error) = say(&mut writer, &ToInstance::Key { key }).await
            {
                tracing::debug!(%uid, number, %error, "cannot send an instance its key: it is gone");
            }
            loop {
                let (message, is_last) = tokio::select! {
                    () = stop.told() => (ToInstance::Stop, true),
                    Ok(()) = renewals.changed() => (ToInstance::Renew, false),
                };
                if let Err(error) = say(&mut writer, &message).await {
                    tracing::debug!(%uid, number, %error, "cannot tell an instance to stop: it is gone");
                }
                if is_last {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = hearing => {}
            () = telling => {}
        }
        progress
    }

    /// Records that the instance serves its socket. One that was told to stop stays stopping.
    fn ready(&self, uid: Uid, number: u64) {
        if let Some(slot) = self.lock().by_uid.get(&uid).filter(|slot| slot.number == number) {
            let is_first = slot.phase.send_if_modified(|phase| {
                let is_first = *phase == Phase::Launched;
                if is_first {
                    *phase = Phase::Ready;
                }
                is_first
            });
            if is_first {
                tracing::info!(%uid, number, "instance ready");
            }
        }
    }

    /// The phase of the uid's instance.
    pub(crate) fn watch(&self, uid: Uid) -> Option<watch::Receiver<Phase>> {
        self.lock().by_uid.get(&uid).map(|slot| slot.phase.subscribe())
    }

    /// Tells the uid's instance to stop. It gets no requests from now on.
    pub(crate) fn stop(self: &Arc<Self>, uid: Uid) {
        let number = self.lock().by_uid.get(&uid).map(|slot| slot.number);
        if let Some(number) = number {
            self.stop_one(uid, number);
        }
    }

    fn stop_one(self: &Arc<Self>, uid: Uid, number: u64) {
        let slots = self.lock();
        let Some(slot) = slots.by_uid.get(&uid).filter(|slot| slot.number == number) else {
            return;
        };
        slot.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Stopping) != Phase::Stopping);
        drop(slots);
        let _ = self.gone.send(uid);
        let instances = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(STOP_MAX).await;
            if instances.remove(uid, number) {
                tracing::warn!(%uid, number, "instance did not stop in time");
            }
        });
    }

    /// Has every instance replaced as soon as no session is open in it and no work under way.
    pub(crate) fn renew_all(&self) {
        self.renewals.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// No gateway sends this account's stopping instance new requests any more.
    pub(crate) fn release(&self, uid: Uid) {
        if let Some(slot) = self.lock().by_uid.get(&uid).filter(|slot| *slot.phase.borrow() == Phase::Stopping) {
            slot.released.notify_one();
        }
    }

    /// Tells every instance to stop. There is no gateway any more.
    pub(crate) fn stop_all(&self) {
        for slot in self.lock().by_uid.values() {
            slot.phase.send_replace(Phase::Stopping);
            slot.released.notify_one();
        }
    }

    /// Removes an instance and its socket. Returns whether it was still known.
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
        // The receiver is gone only when the server ends.
        let _ = self.gone.send(uid);
        true
    }

    /// Counts failures, so that an instance that cannot start is not started for every request.
    fn count(&self, uid: Uid, is_clean: bool, launched: Instant, ended: Instant) {
        let mut slots = self.lock();
        if !is_clean {
            slots.failed = slots.failed.saturating_add(1);
        }
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

    /// The map is consistent after every statement, so a panic elsewhere leaves no half-made
    /// change.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn is_refused(&self, uid: Uid, now: Instant) -> bool {
        self.refused.get(&uid).is_some_and(|until| now < *until)
    }
}

/// sudo's reason, if the last line printed is sudo's. An earlier warning of sudo (a host name that
/// does not resolve, say) is not a refusal.
fn sudos_reason(last: &[String]) -> Option<&str> {
    last.last().and_then(|line| line.strip_prefix("sudo: "))
}

fn remove_socket(socket: &SocketAddress) {
    match socket {
        SocketAddress::Unix(path) => {
            let path: &PathBuf = path;
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an instance's socket");
            }
        }
        SocketAddress::Tcp(_) => {}
    }
}

#[cfg(test)]
mod tests;
