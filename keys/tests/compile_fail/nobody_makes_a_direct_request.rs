//! A direct request comes only from a verified intent.
//! Refused with E0451.
use std::sync::Arc;

use countersign_keys::call::Row;
use countersign_keys::identity::Username;
use countersign_keys::direct::DirectRequest;

pub fn forge(row: Arc<Row>, username: Username) -> DirectRequest {
    DirectRequest { row, username }
}
