//! Signed requests about public links and licences: their errors, answers, numbers, and the product
//! that was signed, which jobs have, too.

use countersign_config::{Product, ProductKind};
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::ResourceRemoved;
use countersign_keys::identity::{CoreResourceId, ProviderId};
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;
use countersign_os::log::Chain;
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::{NOT_OFFERED, text};
use crate::direct::server_client::ServerError;

/// Why a call about public links or licences fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResourceError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    /// Core splits requests, so that each has one.
    #[error("one request creates one {0}")]
    OneAtATime(&'static str),
    #[error("this provider has no such {0}")]
    NoProduct(&'static str),
    #[error(
        "a public link here is {0}, with a name of 1 to 32 lower-case letters and digits, and single hyphens between them"
    )]
    Domain(String),
    #[error("UCloud has given the {0} no number")]
    NoNumber(&'static str),
    #[error("the provider cannot do this at the moment")]
    Server(#[from] ServerError),
}

impl ResourceError {
    /// The answer. What the server said to this account is passed on to its user.
    fn reply(&self) -> Reply {
        let code = match self {
            Self::Server(failure) => {
                if let Some(reply) = failure.reply_to_user() {
                    return reply;
                }
                tracing::warn!(cause = %Chain(failure), "a call about public links or licences failed");
                ErrorCode::Failed
            }
            Self::NotOffered => ErrorCode::NotFound,
            Self::OneAtATime(_) | Self::NoProduct(_) | Self::Domain(_) | Self::NoNumber(_) => ErrorCode::Malformed,
        };
        code.reply_with(&self.to_string())
    }
}

/// The answer to a call: nothing for each item.
pub(crate) fn answer(permit: &Permit<'_, '_>, outcome: Result<(), ResourceError>) -> Reply {
    match outcome {
        Ok(()) => {
            let responses: Vec<Value> = permit.items().projections().iter().map(|_| json!({})).collect();
            json_reply(StatusCode::OK, &json!({ "responses": responses }))
        }
        Err(error) => error.reply(),
    }
}

/// The product of this provider that a signed specification names, if it is of that kind.
pub(crate) fn signed_product<'p>(
    specification: &Json<'_>,
    kind: ProductKind,
    products: &'p [Product],
    provider: &ProviderId,
) -> Option<&'p Product> {
    let of_product = |name: &str| specification.member("product")?.member(name)?.as_str();
    if of_product("provider") != Some(provider.as_str()) {
        return None;
    }
    let (id, category) = (of_product("id")?, of_product("category")?);
    products.iter().find(|product| product.kind == kind && product.name == id && product.category == category)
}

/// Core's number of what a request creates. It is not signed: Core chooses it afterwards.
pub(crate) fn number(permit: &Permit<'_, '_>, what: &'static str) -> Result<CoreResourceId, ResourceError> {
    let item = permit.items().body().member("items").and_then(Json::elements).and_then(<[Json<'_>]>::first);
    let number = item.and_then(|item| item.member("id")).and_then(Json::as_str);
    number.and_then(|number| CoreResourceId::parse(number).ok()).ok_or(ResourceError::NoNumber(what))
}

/// What a signed request deletes, item by item.
pub(crate) fn removals(
    permit: &Permit<'_, '_>,
    what: &'static str,
) -> impl Iterator<Item = Result<ResourceRemoved, ResourceError>> {
    permit.items().projections().iter().map(move |item| {
        let number = CoreResourceId::parse(&text(item, "id")).map_err(|_| ResourceError::NoNumber(what))?;
        Ok(ResourceRemoved { username: permit.username().clone(), number })
    })
}
