//! Policy: what a well-signed request still needs, and the permit that it leaves with.
//!
//! A permit is the only thing that is forwarded. It comes out of one step that looks at the time once more and uses up the intent (P4);
//! no function makes one otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bind::{Bound, Items};
use crate::call::{Class, Row};
use crate::core_token::UserRequest;
use crate::freshness::FreshnessRejection;
use crate::identity::{CallName, KeyId, Username};
use crate::intent::{Binding, Intended, Terms, VerifiedIntent};
use crate::replay::{ReplayError, ReplayLog};
use crate::request::{BearerToken, UserAsked};
use crate::time::Timestamp;

/// The site's own rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What every intent has to meet.
    pub terms: Terms,
    /// Calls that need a passkey as well.
    pub step_up: BTreeSet<CallName>,
}

/// Why a request that its user signed is refused all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyRejection {
    /// An intent of version 1 binds no parameter: it starts nothing dangerous.
    #[error("a dangerous call needs an intent of version 2")]
    DangerByName,
    /// The call needs a passkey's assertion too.
    #[error("the call needs a passkey as well")]
    StepUp,
}

impl Policy {
    /// Looks whether the site's rules allow what the user signed.
    ///
    /// # Errors
    /// The rule that does not.
    pub fn authorise<'h, 'b, R: UserAsked>(
        &self,
        bound: Bound<'h, 'b, R>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        let row = bound.intended.request.row();
        if bound.intended.intent.binding == Binding::NameOnly && row.class() == Class::Danger {
            return Err(PolicyRejection::DangerByName);
        }
        if self.step_up.contains(row.call()) {
            return Err(PolicyRejection::StepUp);
        }
        Ok(Authorised { bound })
    }
}

/// A request that may be forwarded once, and has not been. Made by [`Policy::authorise`] alone.
#[derive(Debug)]
pub struct Authorised<'h, 'b, R = UserRequest<'h>> {
    bound: Bound<'h, 'b, R>,
}

/// Why the last step fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpendError {
    /// The intent has become stale meanwhile.
    #[error("intent: {0}")]
    Stale(#[from] FreshnessRejection),
    /// It was used, or the log cannot say.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl<'h, 'b, R: UserAsked> Authorised<'h, 'b, R> {
    /// The user.
    #[must_use]
    pub fn username(&self) -> &Username {
        self.bound.intended.request.username()
    }

    /// Uses up the intent, at this moment, and gives the permit: to be done immediately before the first byte goes out.
    ///
    /// # Errors
    /// If the intent has become stale or been used, or its use cannot be written down.
    pub fn spend(self, policy: &Policy, log: &impl ReplayLog, now: Timestamp) -> Result<Permit<'h, 'b, R>, SpendError> {
        let Bound { intended: Intended { request, intent }, items } = self.bound;
        let used = intent.used;
        policy.terms.window.check(used.iat, used.exp, now)?;
        log.check_and_insert(used, now)?;
        Ok(Permit { request, intent, items })
    }
}

/// Leave to forward one request, once. Made by [`Authorised::spend`] alone; whoever forwards takes it by value.
#[derive(Debug)]
pub struct Permit<'h, 'b, R = UserRequest<'h>> {
    request: R,
    intent: VerifiedIntent<'h>,
    items: Items<'b>,
}

impl<'h> Permit<'h, '_, UserRequest<'h>> {
    /// Core's token as it came, for whoever verifies it again. A request of the user's own browser has none.
    #[must_use]
    pub const fn token(&self) -> BearerToken<'h> {
        self.request.token
    }
}

impl<'b, R: UserAsked> Permit<'_, 'b, R> {
    /// The call.
    #[must_use]
    pub fn row(&self) -> &Arc<Row> {
        self.request.row()
    }

    /// The user.
    #[must_use]
    pub fn username(&self) -> &Username {
        self.request.username()
    }

    /// The key that signed.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.intent.kid
    }

    /// The intent as it came, for whoever verifies it again.
    #[must_use]
    pub fn intent(&self) -> &str {
        &self.intent.text
    }

    /// The items, with their bound parameters.
    #[must_use]
    pub const fn items(&self) -> &Items<'b> {
        &self.items
    }
}
