//! Licences: the user's signed requests that create and delete them.
//!
//! The user signs the product. Core's number stands for it in later requests, and only among the
//! licences that this user has signed: the server keeps that record, and the keys.

use countersign_config::{Config, Product, ProductKind};
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::{Empty, LICENCES_MAKE, LICENCES_REMOVE, LicenceMade, LicenceRemoved};
use countersign_keys::identity::{CoreResourceId, ProviderId};
use countersign_keys::policy::Permit;
use countersign_os::log::Chain;
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::{LicencesCall, NOT_OFFERED, text};
use crate::direct::server_client::{ServerClient, ServerError};
use crate::resource::{number, signed_product};

/// Why a call about licences fails.
#[derive(Debug, thiserror::Error)]
enum LicenceError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    /// Core splits requests, so that each has one licence.
    #[error("one request creates one licence")]
    OneAtATime,
    #[error("this provider has no such licence")]
    NoProduct,
    #[error("UCloud has given the licence no number")]
    NoNumber,
    #[error("the provider cannot do this at the moment")]
    Server(#[from] ServerError),
}

impl LicenceError {
    /// The answer. What the server said to this account is passed on to its user.
    fn reply(&self) -> Reply {
        let code = match self {
            Self::Server(failure) => {
                if let Some(reply) = failure.reply_to_user() {
                    return reply;
                }
                tracing::warn!(cause = %Chain(failure), "a call about licences failed");
                ErrorCode::Failed
            }
            Self::NotOffered => ErrorCode::NotFound,
            Self::OneAtATime | Self::NoProduct | Self::NoNumber => ErrorCode::Malformed,
        };
        code.reply_with(&self.to_string())
    }
}

/// The licences of one account.
#[derive(Debug)]
pub(crate) struct Licences {
    /// None if this provider offers no licences.
    products: Vec<Product>,
    provider: ProviderId,
    server: ServerClient,
}

impl Licences {
    pub(crate) fn of(config: &Config) -> Self {
        let is_offered = |product: &&Product| product.kind == ProductKind::License && config.slurm.is_some();
        Self {
            products: config.products.iter().filter(is_offered).cloned().collect(),
            provider: config.provider.id.clone(),
            server: ServerClient::at(config.ipc.socket()),
        }
    }

    /// Answers a call that Core sends.
    pub(crate) async fn answer(&self, permit: &Permit<'_, '_>, call: LicencesCall) -> Reply {
        match self.perform(permit, call).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => error.reply(),
        }
    }

    async fn perform(&self, permit: &Permit<'_, '_>, call: LicencesCall) -> Result<Value, LicenceError> {
        if self.products.is_empty() {
            return Err(LicenceError::NotOffered);
        }
        let items = permit.items().projections();
        match call {
            LicencesCall::Create => self.create(permit).await?,
            LicencesCall::Delete => {
                for item in items {
                    let number = CoreResourceId::parse(&text(item, "id")).map_err(|_| LicenceError::NoNumber)?;
                    let removed = LicenceRemoved { username: permit.username().clone(), number };
                    let Empty {} = self.server.ask(LICENCES_REMOVE, &removed).await?;
                }
            }
            // UCloud keeps the labels.
            LicencesCall::UpdateLabels => {}
        }
        let responses: Vec<Value> = items.iter().map(|_| json!({})).collect();
        Ok(json!({ "responses": responses }))
    }

    async fn create(&self, permit: &Permit<'_, '_>) -> Result<(), LicenceError> {
        let [item] = permit.items().projections() else { return Err(LicenceError::OneAtATime) };
        let product =
            signed_product(item.parameter("specification"), ProductKind::License, &self.products, &self.provider)
                .ok_or(LicenceError::NoProduct)?;
        let number = number(permit).ok_or(LicenceError::NoNumber)?;
        let made = LicenceMade { username: permit.username().clone(), product: product.name.clone(), number };
        let Empty {} = self.server.ask(LICENCES_MAKE, &made).await?;
        Ok(())
    }
}
