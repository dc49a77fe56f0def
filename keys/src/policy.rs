//! Policy: what a well-signed request still needs, and the permit that it leaves with.
//!
//! A permit is the only thing that is forwarded. It comes out of one step that looks at the time
//! once more and uses up the intent (P4); no function makes one otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bind::{Bound, Items};
use crate::call::{Class, Row};
use crate::core_token::UserRequest;
use crate::freshness::FreshnessRejection;
use crate::identity::{CallName, KeyId, Username};
use crate::intent::{Binding, Consent, Fingerprint, Intended, Terms, VerifiedIntent};
use crate::replay::{ReplayError, ReplayLog};
use crate::request::{BearerToken, UserAsked};
use crate::time::Timestamp;

/// The site's own rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What every intent has to meet.
    pub terms: Terms,
    /// What needs a passkey as well.
    pub step_up: StepUp,
}

/// What needs a passkey as well as the signature (`intent.step_up`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StepUp {
    /// These calls, whatever their items.
    pub calls: BTreeSet<CallName>,
    /// Every item that a rule of its call's row raises, of whatever call: `"raised"` in the
    /// configuration.
    pub raised: bool,
}

impl StepUp {
    /// Whether nothing needs one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && !self.raised
    }
}

/// How the calls about passkeys themselves begin. No list of the site's rules them: nobody could
/// enrol a first one.
const ABOUT_PASSKEYS: &str = "passkeys.";

/// Those that change which there are. Where passkeys are asked for at all, whoever has one has to
/// use it for these: the signing key alone could put another in its place otherwise.
const CHANGE_PASSKEYS: [&str; 2] = ["passkeys.begin", "passkeys.remove"];

/// Whether a call needs a passkey as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StepUpNeed {
    /// The signature is enough.
    Never,
    /// The call is refused without.
    Always,
    /// A user who has a passkey has to use it; the server, which knows, sees to that.
    WhereThereIsOne,
}

/// Evidence that a passkey of the user asserted one very intent, with the user verified. It is good
/// for that intent and no other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SteppedUp {
    intent: Fingerprint,
}

impl SteppedUp {
    /// The evidence, from whoever checked the assertion. This crate checks none: to be called in
    /// one place, where the word of the process that does is heard.
    #[must_use]
    pub const fn dangerous_on_the_word_of_the_server(intent: Fingerprint) -> Self {
        Self { intent }
    }
}

/// Why a request that its user signed is refused all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyRejection {
    /// An intent of version 1 binds no parameter: it starts nothing dangerous.
    #[error("a dangerous call needs an intent of version 2")]
    DangerByName,
    /// What can do harm is signed after a person was asked, and the intent says so.
    #[error("an item is dangerous, and the intent does not say that a person was asked")]
    NotAsked,
    /// The call needs a passkey's assertion too.
    #[error("the call needs a passkey as well")]
    StepUp,
}

impl Policy {
    /// Whether a request needs a passkey as well: its call does, or one of its items.
    #[must_use]
    pub fn needs_step_up(&self, call: &CallName, items: &Items<'_>) -> bool {
        self.names(call) || (self.step_up.raised && items.is_raised())
    }

    /// Whether every request of that call needs a passkey as well.
    #[must_use]
    pub fn names(&self, call: &CallName) -> bool {
        self.step_up.calls.contains(call) && !call.as_str().starts_with(ABOUT_PASSKEYS)
    }

    /// Whether an intent that comes before its request needs a passkey as well, calls about
    /// passkeys included. Its items are digests. A person was asked about an item that is raised,
    /// or the intent is refused with its request.
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

    /// Looks whether the site's rules allow what the user signed, on the signature alone.
    ///
    /// # Errors
    /// The rule that does not.
    pub fn authorise<'h, 'b, R: UserAsked>(
        &self,
        bound: Bound<'h, 'b, R>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        if self.needs_step_up(bound.intended.request.row().call(), &bound.items) {
            return Err(PolicyRejection::StepUp);
        }
        Self::authorise_signed(bound)
    }

    /// The same, where a passkey asserted an intent as well: it has to be this one.
    ///
    /// # Errors
    /// The rule that does not.
    pub fn authorise_stepped_up<'h, 'b, R: UserAsked>(
        &self,
        bound: Bound<'h, 'b, R>,
        evidence: SteppedUp,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        if evidence.intent != bound.intended.intent.fingerprint() {
            return Err(PolicyRejection::StepUp);
        }
        Self::authorise_signed(bound)
    }

    fn authorise_signed<'h, 'b, R: UserAsked>(
        bound: Bound<'h, 'b, R>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        Self::check_binding(&bound.items, &bound.intended.intent)?;
        Ok(Authorised { bound })
    }

    /// Looks whether an intent is enough for these items. Part of authorising, and for intents that
    /// wait for their request.
    ///
    /// # Errors
    /// An item is dangerous, and the intent binds the call's name alone or nobody was asked.
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

/// A request that may be forwarded once, and has not been. Made by [`Policy::authorise`] and
/// [`Policy::authorise_stepped_up`] alone.
#[derive(Debug)]
pub struct Authorised<'h, 'b, R = UserRequest<'h>> {
    bound: Bound<'h, 'b, R>,
}

/// Why the last step fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpendError {
    /// The intent has become stale meanwhile.
    #[error("intent: {0}")]
    Stale(FreshnessRejection),
    /// It was used, or the log cannot say.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl From<FreshnessRejection> for SpendError {
    fn from(cause: FreshnessRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Stale(cause)
    }
}

impl<'h, 'b, R: UserAsked> Authorised<'h, 'b, R> {
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

    /// Uses up the intent, at this moment, and gives the permit: to be done immediately before the
    /// first byte goes out.
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

/// Leave to forward one request, once. Made by [`Authorised::spend`] alone; whoever forwards takes
/// it by value.
#[derive(Debug)]
pub struct Permit<'h, 'b, R = UserRequest<'h>> {
    request: R,
    intent: VerifiedIntent<'h>,
    items: Items<'b>,
}

impl<'h> Permit<'h, '_, UserRequest<'h>> {
    /// Core's token as it came, for whoever verifies it again. A request of the user's own browser
    /// has none.
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

    /// Names that very intent.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.intent.fingerprint()
    }

    /// Whether a person was asked before it was signed.
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
