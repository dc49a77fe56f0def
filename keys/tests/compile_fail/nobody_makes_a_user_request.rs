//! A request from Core cannot be constructed by hand.
//! Refused with E0451.
use std::sync::Arc;

use countersign_keys::call::Row;
use countersign_keys::core_token::UserRequest;
use countersign_keys::identity::Username;
use countersign_keys::request::BearerToken;

pub fn forge<'r>(row: Arc<Row>, username: Username, token: BearerToken<'r>) -> UserRequest<'r> {
    UserRequest { row, username, intent: None, token }
}
