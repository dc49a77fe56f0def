//! How a request finds the deposit that it needs (protocol, section 5; V70).

use countersign_keys::bind::Items;
use countersign_keys::call::Row;
use countersign_keys::identity::Username;
use countersign_keys::intent::{IntentRejection, VerifiedIntent};
use countersign_keys::policy::{ConsumeError, Policy, PolicyRejection};
use tokio::time::Instant;

use crate::pipeline::deposits::{NotReserved, Reservation, Wanted};
use crate::response::refusal::Refusal;
use crate::server_link::key_cache::AsOf;
use crate::state::Gateway;
use countersign_ipc::gateway_protocol::Signer;

/// Why a request has no deposit.
enum NoDeposit {
    /// No deposit is there, and none can come. If a deposit was discarded meanwhile, its refusal is
    /// reported instead: it says more.
    Absent(Refusal),
    /// No passkey has asserted the deposit, or the gateway failed.
    Refused(Refusal),
}

impl Gateway {
    /// Finds the deposit that the request needs.
    ///
    /// A request without an intent needs a deposit that covers it. A call that needs a passkey
    /// needs the deposit of the intent that came with it, asserted by the passkey. A deposit that
    /// no request can use any more is discarded, and the next one is tried (V70). Returns without
    /// waiting if the user is not connected or has no key.
    pub(crate) async fn deposit_for<'d>(
        &'d self,
        row: &Row,
        username: &'d Username,
        from_header: Option<&VerifiedIntent<'_>>,
        items: &Items<'_>,
        until: Instant,
    ) -> Result<Option<Reservation<'d>>, Refusal> {
        let wanted = match from_header {
            Some(intent) if self.rules().policy.needs_step_up(row.call(), items) => {
                Wanted::Asserted(intent.fingerprint())
            }
            Some(_) => return Ok(None),
            None => Wanted::Covering(row, items),
        };
        let mut discarded = None;
        loop {
            let taken = match self.reserve_or_wait(username, wanted, until).await {
                Ok(taken) => taken,
                Err(NoDeposit::Absent(refusal)) => return Err(discarded.unwrap_or(refusal)),
                Err(NoDeposit::Refused(refusal)) => return Err(refusal),
            };
            match self.check_deposit(items, &taken).await {
                Ok(()) => return Ok(Some(taken)),
                Err(refusal) if refusal.is_of_the_intent() => {
                    tracing::info!(%username, kid = %taken.intent.kid(), %refusal, "discarded deposit");
                    taken.discard();
                    discarded = Some(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Takes a deposit, or waits for one if one can come.
    async fn reserve_or_wait<'d>(
        &'d self,
        username: &'d Username,
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<Reservation<'d>, NoDeposit> {
        let now = || self.now().map_err(|failure| NoDeposit::Refused(failure.into()));
        let is_there = self.deposits.reserve(username, wanted, now()?, Instant::now()).await;
        if matches!((&is_there, wanted), (Err(NotReserved::Absent), Wanted::Covering(..))) {
            self.check_signer(username).await.map_err(NoDeposit::Absent)?;
        }
        let taken = match is_there {
            Ok(taken) => Ok(taken),
            Err(_) => self.deposits.reserve(username, wanted, now()?, until).await,
        };
        taken.map_err(|why| match (why, wanted) {
            (NotReserved::NotSteppedUp, _) => NoDeposit::Refused(PolicyRejection::StepUp.into()),
            (NotReserved::Absent, Wanted::Asserted(_)) => NoDeposit::Absent(PolicyRejection::StepUp.into()),
            (NotReserved::Absent, Wanted::Covering(..)) => NoDeposit::Absent(IntentRejection::Missing.into()),
        })
    }

    /// Checks whether the user is connected and has a key, and so may be signing at this moment. If
    /// the server cannot tell, the gateway waits for the deposit as usual, so a failure lets
    /// nothing through.
    async fn check_signer(&self, username: &Username) -> Result<(), Refusal> {
        match self.key_cache.signer(username).await {
            Ok(Signer::NotConnected) => Err(Refusal::NotConnected),
            Ok(Signer::NoKey) => Err(Refusal::NoKey),
            Ok(Signer::HasKey) | Err(_) => Ok(()),
        }
    }

    /// Checks whether a deposit could still be consumed. Consumes nothing: the last step does, and
    /// checks again.
    async fn check_deposit(&self, items: &Items<'_>, taken: &Reservation<'_>) -> Result<(), Refusal> {
        let (intent, now) = (&taken.intent, self.now()?);
        let used = intent.to_use();
        Policy::check_binding(items, intent)?;
        self.rules().policy.terms.window.check(used.iat, used.exp, now).map_err(ConsumeError::from)?;
        self.journal.check(used).map_err(ConsumeError::from)?;
        self.key_cache.check_standing(intent.username(), intent.kid(), AsOf::Earlier, now).await
    }
}
