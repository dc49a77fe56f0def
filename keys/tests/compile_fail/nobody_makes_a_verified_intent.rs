//! A verified intent cannot be constructed by hand.
//! Refused with private fields.
use std::borrow::Cow;

use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::intent::VerifiedIntent;

pub fn forge(username: Username, call: CallName, kid: KeyId) -> VerifiedIntent<'static> {
    VerifiedIntent { text: Cow::Borrowed(""), username, project: None, call, kid }
}
