//! Core's call `reportUsage`, as JSON.

use countersign_keys::identity::ProviderId;
use countersign_keys::store::usage::{Charged, Owner};
use countersign_keys::time::Timestamp;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::core::client::{Call, CoreCalls, CoreFailure};

const REPORT: &str = "/api/accounting/v2/reportUsage";

/// Most items of a request.
pub(super) const ITEMS_MAX: usize = 500;

/// A figure that Core is told. It replaces the last one of its scope.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) owner: Owner,
    pub(super) charged: Charged,
    pub(super) usage: u64,
    /// For administrators of Core.
    pub(super) description: String,
}

/// What Core made of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// Everything in it is booked.
    Booked,
    /// Something in it is refused. What stands before that is booked.
    Refused(StatusCode),
    /// Nothing is known. A repetition does no harm.
    Unanswered(CoreFailure),
}

#[derive(Serialize)]
struct Items<'i> {
    items: Vec<Item<'i>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'i> {
    is_delta_charge: bool,
    owner: WalletOwner<'i>,
    category_id_v2: Category<'i>,
    usage: u64,
    description: Description<'i>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WalletOwner<'i> {
    r#type: &'static str,
    username: &'i str,
    project_id: &'i str,
}

#[derive(Serialize)]
struct Category<'i> {
    name: &'i str,
    provider: &'i ProviderId,
}

#[derive(Serialize)]
struct Description<'i> {
    scope: &'i str,
    description: &'i str,
}

/// For each item, whether something is left of the owner's allocation. Not used.
#[derive(Deserialize)]
struct Answer {
    responses: Vec<bool>,
}

impl<'i> Item<'i> {
    fn of(figure: &'i Figure, provider: &'i ProviderId) -> Self {
        let (r#type, username, project_id) = match &figure.owner {
            Owner::User(username) => ("user", username.as_str(), ""),
            Owner::Project(project) => ("project", "", project.as_str()),
        };
        Self {
            is_delta_charge: false,
            owner: WalletOwner { r#type, username, project_id },
            category_id_v2: Category { name: &figure.charged.category, provider },
            usage: figure.usage,
            description: Description { scope: &figure.charged.scope, description: &figure.description },
        }
    }
}

/// Tells Core at most [`ITEMS_MAX`] figures.
pub(super) async fn send(core: &CoreCalls, provider: &ProviderId, figures: &[Figure], now: Timestamp) -> Sent {
    let items = Items { items: figures.iter().map(|figure| Item::of(figure, provider)).collect() };
    let answer = match Call::post(REPORT, &items) {
        Ok(call) => core.ask(&call, now).await,
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(body) if acknowledges(&body, figures.len()) => Sent::Booked,
        Ok(_) => Sent::Unanswered(CoreFailure::Form { call: REPORT }),
        Err(CoreFailure::Status { status, .. }) if is_of_an_item(status) => Sent::Refused(status),
        Err(failure) => Sent::Unanswered(failure),
    }
}

/// Whether an answer is Core's to so many items: a proxy's page acknowledges nothing.
fn acknowledges(body: &[u8], count: usize) -> bool {
    serde_json::from_slice(body).is_ok_and(|Answer { responses }| responses.len() == count)
}

/// Whether a status is about what was sent: Core answers 403 for an unknown category or owner.
fn is_of_an_item(status: StatusCode) -> bool {
    let is_of_the_moment =
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    status.is_client_error() && !is_of_the_moment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cores_own_answer_to_every_item_is_an_acknowledgement() {
        assert!(acknowledges(b"{\"responses\":[true,false]}", 2));
        for other in ["{\"responses\":[true]}", "{\"responses\":null}", "{}", "", "<html>", "[true,false]"] {
            assert!(!acknowledges(other.as_bytes(), 2), "{other}");
        }
        for status in [StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND] {
            assert!(is_of_an_item(status), "{status}");
        }
        let of_the_moment =
            [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY, StatusCode::FOUND];
        assert!(!of_the_moment.into_iter().any(is_of_an_item));
    }
}
