//! The direct channel: calls of the user's browser at the provider's origin, without Core.
//!
//! The intent is the only credential, and its signer is the user of the request. The result has
//! another type than that of Core's lane, so neither can pass for the other.

use std::sync::Arc;

use crate::call::Row;
use crate::identity::Username;
use crate::intent::{Binding, Intended, IntentRejection, PresentedIntent, VerifiedIntent, Version1};
use crate::request::{INTENT_MAX, PresentedDirect, UserRequestKind, sealed};

/// A direct request. Only [`PresentedDirect::intend`] makes one.
#[derive(Debug)]
pub struct DirectRequest {
    row: Arc<Row>,
    username: Username,
}

impl sealed::Sealed for DirectRequest {}

impl UserRequestKind for DirectRequest {
    fn row(&self) -> &Arc<Row> {
        &self.row
    }

    fn username(&self) -> &Username {
        &self.username
    }
}

impl<'h> PresentedDirect<'h> {
    /// Parses the header's intent. Refuses version 1 whatever the site accepts from Core, because
    /// version 1 binds no provider and no parameter.
    ///
    /// # Errors
    /// The intent is missing or malformed.
    pub fn intent(&self) -> Result<PresentedIntent<'h>, IntentRejection> {
        PresentedIntent::parse(self.intent.ok_or(IntentRejection::Missing)?, INTENT_MAX, Version1::Refused)
    }

    /// Joins the request with its intent. The signer of the intent becomes the user of the request.
    ///
    /// # Errors
    /// The intent is for another call, or binds no parameters.
    pub fn intend(self, intent: VerifiedIntent<'h>) -> Result<Intended<'h, DirectRequest>, IntentRejection> {
        if intent.binding == Binding::NameOnly {
            return Err(IntentRejection::Version1);
        }
        if intent.call != *self.row.call() {
            return Err(IntentRejection::Call);
        }
        let request = DirectRequest { row: self.row, username: intent.username.clone() };
        Ok(Intended { request, intent })
    }
}
