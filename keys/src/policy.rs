//! Applies the site's policy to a bound request, and makes the permit.
//!
//! Only a permit is forwarded. [`Authorised::consume`] makes it in one step, which checks the time
//! again and records the use of the intent (P4). No other function makes one.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bind::{Bound, Items};
use crate::call::{Class, Row};
use crate::core_token::UserRequest;
use crate::freshness::FreshnessRejection;
use crate::identity::{CallName, KeyId, Project, Username};
use crate::intent::{Binding, Consent, Fingerprint, Intended, Terms, VerifiedIntent};
use crate::replay::{ReplayError, ReplayLog};
use crate::request::{BearerToken, UserRequestKind};
use crate::time::Timestamp;

/// The site's rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The terms that every intent must meet.
    pub terms: Terms,
    /// The requests that also need a passkey.
    pub step_up: StepUp,
}

/// The requests that need a passkey as well as the signature (`intent.step_up`).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// These calls, whatever their items.
    pub calls: BTreeSet<CallName>,
    /// Every item that a rule of its call's row raises: `"raised"` in the configuration.
    pub raised: bool,
}

impl StepUp {
    /// Whether no request needs a passkey.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && !self.raised
    }
}

/// Prefix of the calls about passkeys. The site's list never applies to them: no user could enrol a
/// first passkey.
const ABOUT_PASSKEYS: &str = "passkeys.";

/// The calls that change a user's passkeys. At a site that uses passkeys, a user who has one must
/// use it for these calls. Otherwise the signing key alone could replace a passkey.
const CHANGE_PASSKEYS: [&str; 2] = ["passkeys.begin", "passkeys.remove"];

/// Whether a call also needs a passkey.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StepUpNeed {
    /// The signature is sufficient.
    Never,
    /// Refused without a passkey.
    Always,
    /// Refused without a passkey if the user has one. The server knows, and enforces it.
    WhereThereIsOne,
}

/// Evidence that a passkey of the user asserted one intent, with user verification. Valid for that
/// intent only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SteppedUp {
    intent: Fingerprint,
}

impl SteppedUp {
    /// Makes the evidence. This crate checks no assertion: call this in one place only, where the
    /// answer of the server arrives, which checked it.
    #[must_use]
    pub const fn dangerous_on_the_word_of_the_server(intent: Fingerprint) -> Self {
        Self { intent }
    }
}

/// Why policy refuses a request that its user signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyRejection {
    /// A version 1 intent binds no parameter, so it starts no dangerous call.
    #[error("a dangerous call needs an intent of version 2")]
    DangerByName,
    /// An item is dangerous, and the intent does not say that a person was asked.
    #[error("an item is dangerous, and the intent does not say that a person was asked")]
    NotAsked,
    /// The call also needs a passkey's assertion.
    #[error("the call needs a passkey as well")]
    StepUp,
}

impl Policy {
    /// Whether a request also needs a passkey, because of its call or of an item.
    #[must_use]
    pub fn needs_step_up(&self, call: &CallName, items: &Items<'_>) -> bool {
        self.names(call) || (self.step_up.raised && items.is_raised())
    }

    /// Whether every request of that call also needs a passkey.
    #[must_use]
    pub fn names(&self, call: &CallName) -> bool {
        self.step_up.calls.contains(call) && !call.as_str().starts_with(ABOUT_PASSKEYS)
    }

    /// Whether an intent that arrives before its request also needs a passkey; covers the calls
    /// about passkeys. The items are known only by digest, so an item counts as raised if a person
    /// was asked. A raised item without that consent is refused with its request.
    #[must_use]
    pub fn step_up_of(&self, row: &Row, consent: Consent) -> StepUpNeed {
        let call = row.call();
        let may_be_raised = self.step_up.raised && row.may_be_raised() && consent == Consent::Asked;
        if self.names(call) || may_be_raised {
            StepUpNeed::Always
        } else if !self.step_up.is_empty() && CHANGE_PASSKEYS.contains(&call.as_str()) {
            StepUpNeed::WhereThereIsOne
        } else {
            StepUpNeed::Never
        }
    }

    /// Checks a request against the policy, on the signature alone.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn authorise<'h, 'b, R: UserRequestKind>(
        &self,
        bound: Bound<'h, 'b, R>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        if self.needs_step_up(bound.intended.request.row().call(), &bound.items) {
            return Err(PolicyRejection::StepUp);
        }
        Self::authorise_signed(bound)
    }

    /// Checks a request for which a passkey asserted an intent. It must be the request's own
    /// intent.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn authorise_stepped_up<'h, 'b, R: UserRequestKind>(
        &self,
        bound: Bound<'h, 'b, R>,
        evidence: SteppedUp,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        if evidence.intent != bound.intended.intent.fingerprint() {
            return Err(PolicyRejection::StepUp);
        }
        Self::authorise_signed(bound)
    }

    fn authorise_signed<'h, 'b, R: UserRequestKind>(
        bound: Bound<'h, 'b, R>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        Self::check_binding(&bound.items, &bound.intended.intent)?;
        Ok(Authorised { bound })
    }

    /// Whether an intent is sufficient for these items. Used in authorisation, and for intents that
    /// wait for their request.
    ///
    /// # Errors
    /// An item is dangerous, and the intent binds only the call's name or has no person's consent.
    pub fn check_binding(items: &Items<'_>, intent: &VerifiedIntent<'_>) -> Result<(), PolicyRejection> {
        if items.class() < Class::Danger {
            return Ok(());
        }
        match (&intent.binding, &intent.consent) {
            (Binding::NameOnly, _) => Err(PolicyRejection::DangerByName),
            (Binding::Items(_), Consent::Unasked) => Err(PolicyRejection::NotAsked),
            (Binding::Items(_), Consent::Asked) => Ok(()),
        }
    }
}

/// A request that may be forwarded once, and has not been. Only [`Policy::authorise`] and
/// [`Policy::authorise_stepped_up`] make one.
#[derive(Debug)]
pub struct Authorised<'h, 'b, R = UserRequest<'h>> {
    bound: Bound<'h, 'b, R>,
}

/// Why the last step refuses a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConsumeError {
    /// The intent became stale after it was verified.
    #[error("intent: {0}")]
    Stale(FreshnessRejection),
    /// The intent was used before, or the log cannot tell.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl From<FreshnessRejection> for ConsumeError {
    fn from(cause: FreshnessRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Stale(cause)
    }
}

impl<'h, 'b, R: UserRequestKind> Authorised<'h, 'b, R> {
    /// The user.
    #[must_use]
    pub fn username(&self) -> &Username {
        self.bound.intended.request.username()
    }

    /// The key that signed.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.bound.intended.kid()
    }

    /// Records the use of the intent and makes the permit. Call this immediately before the first
    /// byte is forwarded.
    ///
    /// # Errors
    /// The intent is stale or was used, or its use cannot be recorded.
    pub fn consume(
        self,
        policy: &Policy,
        log: &impl ReplayLog,
        now: Timestamp,
    ) -> Result<Permit<'h, 'b, R>, ConsumeError> {
        let Bound { intended: Intended { request, intent }, items } = self.bound;
        let used = intent.used;
        policy.terms.window.check(used.iat, used.exp, now)?;
        log.check_and_insert(used, now)?;
        Ok(Permit { request, intent, items })
    }
}

/// Permission to forward one request, once. Only [`Authorised::consume`] makes one, and forwarding
/// consumes it.
#[derive(Debug)]
pub struct Permit<'h, 'b, R = UserRequest<'h>> {
    request: R,
    intent: VerifiedIntent<'h>,
    items: Items<'b>,
}

impl<'h> Permit<'h, '_, UserRequest<'h>> {
    /// Core's token as received, for the instance to verify again. A request of the user's own
    /// browser has none.
    #[must_use]
    pub const fn token(&self) -> BearerToken<'h> {
        self.request.token
    }
}

impl<'b, R: UserRequestKind> Permit<'_, 'b, R> {
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

    /// The intent as received. The process behind the gateway verifies it again.
    #[must_use]
    pub fn intent(&self) -> &str {
        &self.intent.text
    }

    /// The fingerprint of the intent.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.intent.fingerprint()
    }

    /// The project that the user acts in.
    #[must_use]
    pub const fn project(&self) -> Option<&Project> {
        self.intent.project.as_ref()
    }

    /// Whether the signer asked a person before it signed.
    #[must_use]
    pub const fn consent(&self) -> Consent {
        self.intent.consent
    }

    /// The items, with their bound parameters.
    #[must_use]
    pub const fn items(&self) -> &Items<'b> {
        &self.items
    }
}
