//! The lane of the user's own browser: a call at the provider's own origin, without Core. The
//! intent is all that it takes, and who asks is whoever signed it.
//!
//! What comes out of it is not what comes out of Core's lane: a request of the one cannot be taken
//! for one of the other.

use std::sync::Arc;

use crate::call::Row;
use crate::identity::Username;
use crate::intent::{Binding, Intended, IntentRejection, PresentedIntent, VerifiedIntent, Version1};
use crate::request::{INTENT_MAX, PresentedOwn, UserAsked, sealed};

/// What a user's own browser asks. Made by [`PresentedOwn::intend`] alone.
#[derive(Debug)]
pub struct OwnRequest {
    row: Arc<Row>,
    username: Username,
}

impl sealed::Sealed for OwnRequest {}

impl UserAsked for OwnRequest {
    fn row(&self) -> &Arc<Row> {
        &self.row
    }

    fn username(&self) -> &Username {
        &self.username
    }
}

impl<'h> PresentedOwn<'h> {
    /// The intent of the header. One of version 1 is none here, whatever a site accepts from Core:
    /// it binds no provider and no parameter.
    ///
    /// # Errors
    /// If there is none, or not of its form.
    pub fn intent(&self) -> Result<PresentedIntent<'h>, IntentRejection> {
        PresentedIntent::parse(self.intent.ok_or(IntentRejection::Missing)?, INTENT_MAX, Version1::Refused)
    }

    /// Joins the request with the intent that is said to be for it: whoever signed that is whose
    /// request it is.
    ///
    /// # Errors
    /// If the intent is another call's, or binds no parameters.
    pub fn intend(self, intent: VerifiedIntent<'h>) -> Result<Intended<'h, OwnRequest>, IntentRejection> {
        if intent.binding == Binding::NameOnly {
            return Err(IntentRejection::Version1);
        }
        if intent.call != *self.row.call() {
            return Err(IntentRejection::Call);
        }
        let request = OwnRequest { row: self.row, username: intent.username.clone() };
        Ok(Intended { request, intent })
    }
}
