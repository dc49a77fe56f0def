//! Checks and records of changes of links and licences: the account acts for a user of its own, and
//! each change is recorded (P9).

use countersign_keys::identity::{Uid, Username};

use crate::audit::record::AuditedAction;
use crate::connections::approval::asker;
use crate::http::reply::Refusal;
use crate::state::Server;

/// Checks that the account is connected to the user for whom it asks.
pub(crate) fn check_own_user(server: &Server, uid: Uid, username: &Username) -> Result<(), Refusal> {
    if server.records.usernames(uid)?.contains(username) {
        Ok(())
    } else {
        Err(Refusal::not_found("this account is not connected to that UCloud user"))
    }
}

/// Records what an account does for its user.
pub(crate) fn note(server: &Server, uid: Uid, operation: &str, username: &Username, note: &str) -> Result<(), Refusal> {
    let asker = asker(uid);
    let action = AuditedAction::of(&asker, operation);
    server.record(&AuditedAction { username: Some(username), note: Some(note), ..action })
}
