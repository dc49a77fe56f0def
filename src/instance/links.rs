//! Public links: the user's signed requests that create and delete them.
//!
//! The host name comes from what the user signed. Core's number stands for it in later requests,
//! and only among the links that this user has signed: the server keeps that record, and nothing
//! that Core says changes it.

mod open;
pub(crate) mod requests;

use countersign_config::{Config, LinkHosts, Product, ProductKind};
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::{Empty, LINKS_MAKE, LINKS_REMOVE, LinkForgotten, LinkMade, LinkRemoved};
use countersign_keys::bind::Projection;
use countersign_keys::identity::{CoreResourceId, LinkName, ProviderId};
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;
use countersign_os::log::Chain;
use http::StatusCode;
use serde_json::{Value, json};

use self::open::OpenLinks;
use crate::call::{LinksCall, NOT_OFFERED, text};
use crate::direct::server_client::{ServerClient, ServerError};
use crate::resource::{number, signed_product};

/// Why a call about public links fails.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    /// Core splits requests, so that each has one link.
    #[error("one request creates one public link")]
    OneAtATime,
    #[error("this provider has no such product for public links")]
    NoProduct,
    #[error(
        "a public link here is {0}, with a name of 1 to 32 lower-case letters and digits, and single hyphens between them"
    )]
    Domain(String),
    #[error("UCloud has given the public link no number")]
    NoNumber,
    #[error("the provider cannot do this at the moment")]
    Server(#[from] ServerError),
}

impl LinkError {
    /// The answer. What the server said to this account is passed on to its user.
    fn reply(&self) -> Reply {
        let code = match self {
            Self::Server(failure) => {
                if let Some(reply) = failure.reply_to_user() {
                    return reply;
                }
                tracing::warn!(cause = %Chain(failure), "a call about public links failed");
                ErrorCode::Failed
            }
            Self::NotOffered => ErrorCode::NotFound,
            Self::OneAtATime | Self::NoProduct | Self::Domain(_) | Self::NoNumber => ErrorCode::Malformed,
        };
        code.reply_with(&self.to_string())
    }
}

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
            products: config.products.iter().filter(|product| product.kind == ProductKind::Ingress).cloned().collect(),
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
    pub(crate) async fn answer(&self, permit: &Permit<'_, '_>, call: LinksCall) -> Reply {
        let answer = match &self.site {
            Some(site) => site.perform(permit, call, &self.open).await,
            None => Err(LinkError::NotOffered),
        };
        match answer {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => error.reply(),
        }
    }
}

impl Site {
    async fn perform(&self, permit: &Permit<'_, '_>, call: LinksCall, open: &OpenLinks) -> Result<Value, LinkError> {
        let items = permit.items().projections();
        match call {
            LinksCall::Create => self.create(permit).await?,
            LinksCall::Delete => {
                for item in items {
                    let number = CoreResourceId::parse(&text(item, "id")).map_err(|_| LinkError::NoNumber)?;
                    let removed = LinkRemoved { username: permit.username().clone(), number };
                    let LinkForgotten { name } = self.server.ask(LINKS_REMOVE, &removed).await?;
                    if let Some(name) = name {
                        open.close(&name);
                    }
                }
            }
            // UCloud keeps the labels.
            LinksCall::UpdateLabels => {}
        }
        let responses: Vec<Value> = items.iter().map(|_| json!({})).collect();
        Ok(json!({ "responses": responses }))
    }

    async fn create(&self, permit: &Permit<'_, '_>) -> Result<(), LinkError> {
        let [item] = permit.items().projections() else { return Err(LinkError::OneAtATime) };
        let name = self.signed_name(item)?;
        let number = number(permit).ok_or(LinkError::NoNumber)?;
        let made = LinkMade { username: permit.username().clone(), name, number };
        let Empty {} = self.server.ask(LINKS_MAKE, &made).await?;
        Ok(())
    }

    /// The name that the user signed, of a product of this provider.
    fn signed_name(&self, item: &Projection<'_>) -> Result<LinkName, LinkError> {
        let specification = item.parameter("specification");
        signed_product(specification, ProductKind::Ingress, &self.products, &self.provider)
            .ok_or(LinkError::NoProduct)?;
        let domain = specification.member("domain").and_then(Json::as_str).unwrap_or_default();
        self.hosts.signed(domain).ok_or_else(|| LinkError::Domain(self.hosts.form()))
    }
}
