//! The last step before the first byte goes out: the intent is consumed, and the record written.

use countersign_keys::bind::Bound;
use countersign_keys::policy::{Authorised, Permit, PolicyRejection};
use countersign_keys::request::UserRequestKind;

use crate::exchange::Exchange;
use crate::pipeline::deposits::Reservation;
use crate::response::refusal::Refusal;
use crate::server_link::key_cache::AsOf;
use crate::state::Gateway;
use countersign_audit::Verdict;

impl Exchange<'_> {
    /// Checks that the key is still valid, consumes the intent, and writes the record. `epoch` is
    /// the key cache's from before the signature was checked.
    pub(crate) async fn consume<'h, 'b, R: UserRequestKind>(
        &self,
        authorised: Authorised<'h, 'b, R>,
        deposit: Option<Reservation<'_>>,
        epoch: u64,
    ) -> Result<Permit<'h, 'b, R>, Refusal> {
        let looked_up = if deposit.is_some() { AsOf::Earlier } else { AsOf::At(epoch) };
        let consumed = self.gateway.consume_if_current(authorised, looked_up).await;
        match (deposit, &consumed) {
            (Some(deposit), Ok(_)) => deposit.consume(),
            (Some(deposit), Err(refusal)) if refusal.is_of_the_intent() => deposit.discard(),
            // The refusal was not the intent's fault: the deposit goes back.
            (Some(_), Err(_)) | (None, _) => {}
        }
        let permit = consumed?;
        self.gateway.uses.note(permit.username(), permit.kid());
        self.record(Verdict::Forward)?;
        Ok(permit)
    }
}

impl Gateway {
    /// Applies the site's rules, with the passkey's evidence if there is some.
    pub(crate) fn authorise<'h, 'b, R: UserRequestKind>(
        &self,
        bound: Bound<'h, 'b, R>,
        deposit: Option<&Reservation<'_>>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        match deposit.and_then(Reservation::stepped_up) {
            Some(evidence) => self.rules().policy.authorise_stepped_up(bound, evidence),
            None => self.rules().policy.authorise(bound),
        }
    }

    async fn consume_if_current<'h, 'b, R: UserRequestKind>(
        &self,
        authorised: Authorised<'h, 'b, R>,
        looked_up: AsOf,
    ) -> Result<Permit<'h, 'b, R>, Refusal> {
        // This key, among others, may have been revoked since its signature was checked (P6).
        self.key_cache.check_standing(authorised.username(), authorised.kid(), looked_up, self.now()?).await?;
        Ok(authorised.consume(&self.rules().policy, &self.journal, self.now()?)?)
    }
}
