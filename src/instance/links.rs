//! Public links: the user's signed requests that create and delete them.
//!
//! The host name comes from what the user signed. Core's number stands for it in later requests,
//! and only among the links that this user has signed: the server keeps that record, and nothing
//! that Core says changes it.

mod open;
pub(crate) mod requests;

use countersign_config::{Config, LinkHosts, Product, ProductKind};
use countersign_ipc::error_code::Reply;
use countersign_ipc::server_protocol::{Empty, LINKS_MAKE, LINKS_REMOVE, LinkForgotten, LinkMade};
use countersign_keys::bind::Projection;
use countersign_keys::identity::{LinkName, ProviderId};
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;

use self::open::OpenLinks;
use crate::call::ResourceCall;
use crate::direct::server_client::ServerClient;
use crate::resource::{self, ResourceError, number, removals, signed_product};

/// How users read of one, and of a product of them.
const LINK: &str = "public link";
const LINK_PRODUCT: &str = "product for public links";

/// The public links of one account.
#[derive(Debug)]
pub(crate) struct Links {
    /// `None` if this provider offers none.
    site: Option<Site>,
    open: OpenLinks,
}

/// What offers links here.
#[derive(Debug)]
struct Site {
    hosts: LinkHosts,
    products: Vec<Product>,
    provider: ProviderId,
    server: ServerClient,
}

impl Links {
    pub(crate) fn of(config: &Config) -> Self {
        let site = |hosts: &LinkHosts| Site {
            hosts: hosts.clone(),
            products: config
                .served()
                .products
                .iter()
                .filter(|product| product.kind == ProductKind::Ingress)
                .cloned()
                .collect(),
            provider: config.provider.id.clone(),
            server: ServerClient::at(config.ipc.socket()),
        };
        let site = config.gateway.links.as_ref().filter(|_| config.slurm.is_some()).map(site);
        Self { site, open: OpenLinks::default() }
    }

    /// Where links are; `None` if this provider offers none.
    pub(crate) fn hosts(&self) -> Option<&LinkHosts> {
        self.site.as_ref().map(|site| &site.hosts)
    }

    /// How many are open. Ends those that are over.
    pub(crate) fn count(&self) -> usize {
        self.open.count()
    }

    /// Answers a call that Core sends.
    pub(crate) async fn answer(&self, permit: &Permit<'_, '_>, call: ResourceCall) -> Reply {
        let outcome = match &self.site {
            Some(site) => site.perform(permit, call, &self.open).await,
            None => Err(ResourceError::NotOffered),
        };
        resource::answer(permit, outcome)
    }
}

impl Site {
    async fn perform(
        &self,
        permit: &Permit<'_, '_>,
        call: ResourceCall,
        open: &OpenLinks,
    ) -> Result<(), ResourceError> {
        match call {
            ResourceCall::Create => self.create(permit).await?,
            ResourceCall::Delete => {
                for removed in removals(permit, LINK) {
                    let LinkForgotten { name } = self.server.ask(LINKS_REMOVE, &removed?).await?;
                    if let Some(name) = name {
                        open.close(&name);
                    }
                }
            }
            // UCloud keeps the labels.
            ResourceCall::UpdateLabels => {}
        }
        Ok(())
    }

    async fn create(&self, permit: &Permit<'_, '_>) -> Result<(), ResourceError> {
        let [item] = permit.items().projections() else { return Err(ResourceError::OneAtATime(LINK)) };
        let name = self.signed_name(item)?;
        let number = number(permit, LINK)?;
        let made = LinkMade { username: permit.username().clone(), name, number };
        let Empty {} = self.server.ask(LINKS_MAKE, &made).await?;
        Ok(())
    }

    /// The name that the user signed, of a product of this provider.
    fn signed_name(&self, item: &Projection<'_>) -> Result<LinkName, ResourceError> {
        let specification = item.parameter("specification");
        signed_product(specification, ProductKind::Ingress, &self.products, &self.provider)
            .ok_or(ResourceError::NoProduct(LINK_PRODUCT))?;
        let domain = specification.member("domain").and_then(Json::as_str).unwrap_or_default();
        self.hosts.signed(domain).ok_or_else(|| ResourceError::Domain(self.hosts.form()))
    }
}
