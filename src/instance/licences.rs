//! Licences: the user's signed requests that create and delete them.
//!
//! The user signs the product. Core's number stands for it in later requests, and only among the
//! licences that this user has signed: the server keeps that record, and the keys.

use countersign_config::{Config, Product, ProductKind};
use countersign_ipc::error_code::Reply;
use countersign_ipc::server_protocol::{Empty, LICENCES_MAKE, LICENCES_REMOVE, LicenceMade};
use countersign_keys::identity::ProviderId;
use countersign_keys::policy::Permit;

use crate::call::ResourceCall;
use crate::direct::server_client::ServerClient;
use crate::resource::{self, ResourceError, number, removals, signed_product};

/// How users read of one.
const LICENCE: &str = "licence";

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
            products: config.served().products.iter().filter(is_offered).cloned().collect(),
            provider: config.provider.id.clone(),
            server: ServerClient::at(config.ipc.socket()),
        }
    }

    /// Answers a call that Core sends.
    pub(crate) async fn answer(&self, permit: &Permit<'_, '_>, call: ResourceCall) -> Reply {
        resource::answer(permit, self.perform(permit, call).await)
    }

    async fn perform(&self, permit: &Permit<'_, '_>, call: ResourceCall) -> Result<(), ResourceError> {
        if self.products.is_empty() {
            return Err(ResourceError::NotOffered);
        }
        match call {
            ResourceCall::Create => self.create(permit).await?,
            ResourceCall::Delete => {
                for removed in removals(permit, LICENCE) {
                    let Empty {} = self.server.ask(LICENCES_REMOVE, &removed?).await?;
                }
            }
            // UCloud keeps the labels.
            ResourceCall::UpdateLabels => {}
        }
        Ok(())
    }

    async fn create(&self, permit: &Permit<'_, '_>) -> Result<(), ResourceError> {
        let [item] = permit.items().projections() else { return Err(ResourceError::OneAtATime(LICENCE)) };
        let product =
            signed_product(item.parameter("specification"), ProductKind::License, &self.products, &self.provider)
                .ok_or(ResourceError::NoProduct(LICENCE))?;
        let number = number(permit, LICENCE)?;
        let made = LicenceMade { username: permit.username().clone(), product: product.name.clone(), number };
        let Empty {} = self.server.ask(LICENCES_MAKE, &made).await?;
        Ok(())
    }
}
