//! Registers the configured products at Core when the server starts.
//!
//! Core offers a provider to users only if it knows products of it, and only the provider can
//! register them. Core can never change a category's unit, frequency or price class (free or not).
//! Refuses to register a configuration that would change them; the log says what to do.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::ProviderId;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::{Call, CoreCalls, CoreFailure};
use crate::state::{Server, log_failure};
use countersign_config::Product;

const REGISTER: &str = "/api/products/v2";
const BROWSE: &str = "/api/products/v2/browse";

/// Pages read of Core's list: far more products than a provider has.
const PAGES_MAX: usize = 100;

/// Shortest wait before another try.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Why products are not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationFailure {
    /// The call to Core failed.
    #[error(transparent)]
    Core(#[from] CoreFailure),
    /// Core would have to change an immutable value.
    #[error(
        "the category {category} has at UCloud the accounting {there}, and {here} in the configuration: put the product into a new category, or restore what was there"
    )]
    Changed {
        /// The category.
        category: String,
        /// The value at Core.
        there: Accounting,
        /// The value in the configuration.
        here: Accounting,
    },
}

/// The accounting of a category, which is immutable at Core.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accounting {
    accounting_unit: Unit,
    #[serde(default)]
    accounting_frequency: String,
    #[serde(default)]
    free_to_use: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unit {
    name: String,
    name_plural: String,
    #[serde(default)]
    floating_point: bool,
    #[serde(default)]
    display_frequency_suffix: bool,
}

impl std::fmt::Display for Accounting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accounting_unit: Unit { name, name_plural, .. }, accounting_frequency, free_to_use } = self;
        write!(out, "{name:?}/{name_plural:?} {accounting_frequency:?} free={free_to_use}")
    }
}

impl Accounting {
    fn of(product: &Product) -> Self {
        let accounting = &product.accounting;
        Self {
            accounting_unit: Unit {
                name: accounting.unit.clone(),
                name_plural: accounting.unit_plural.clone(),
                floating_point: false,
                display_frequency_suffix: accounting.frequency.is_periodic(),
            },
            accounting_frequency: accounting.frequency.at_core().to_owned(),
            free_to_use: accounting.is_free,
        }
    }
}

#[derive(Serialize)]
struct Registration<'r> {
    items: Vec<Item<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'r> {
    r#type: &'static str,
    category: Category<'r>,
    name: &'r str,
    description: &'r str,
    product_type: &'static str,
    price: i64,
    hidden_in_grant_applications: bool,
    cpu: i64,
    cpu_model: &'r str,
    memory_in_gigs: i64,
    memory_model: &'r str,
    gpu: i64,
    gpu_model: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Category<'r> {
    name: &'r str,
    provider: &'r ProviderId,
    product_type: &'static str,
    #[serde(flatten)]
    accounting: Accounting,
    allow_sub_allocations: bool,
}

impl<'r> Item<'r> {
    fn of(product: &'r Product, provider: &'r ProviderId) -> Self {
        let Product { name, category, kind, description, price, accounting: _, is_hidden, machine, .. } = product;
        Self {
            r#type: kind.as_str(),
            category: Category {
                name: category,
                provider,
                product_type: kind.at_core(),
                accounting: Accounting::of(product),
                allow_sub_allocations: true,
            },
            name,
            description,
            product_type: kind.at_core(),
            price: *price,
            hidden_in_grant_applications: *is_hidden,
            cpu: machine.cpu,
            cpu_model: &machine.cpu_model,
            memory_in_gigs: machine.memory_gb,
            memory_model: &machine.memory_model,
            gpu: machine.gpu,
            gpu_model: &machine.gpu_model,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Option<Vec<Listed>>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    category: ListedCategory,
}

#[derive(Deserialize)]
struct ListedCategory {
    name: String,
    #[serde(flatten)]
    accounting: Accounting,
}

/// Registers the products at the start and after each reload, until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let mut reloads = server.reloads.subscribe();
    loop {
        tokio::select! {
            () = register_now(&server, &core) => {
                // An error means that the server ends.
                if reloads.changed().await.is_err() {
                    return;
                }
            }
            Ok(()) = reloads.changed() => {} // registers the new ones instead
        }
    }
}

/// Tries until the products are registered, or until only the operator can help.
async fn register_now(server: &Server, core: &CoreCalls) {
    let mut wait = WAIT_MIN;
    loop {
        let served = server.config.served();
        match server.clock.now() {
            Err(failure) => log_failure("postponed the registration of products", &failure),
            Ok(now) => match register(&server.config.provider.id, &served.products, core, now).await {
                Ok(()) => {
                    tracing::info!(products = served.products.len(), "registered products at Core");
                    return;
                }
                Err(failure @ RegistrationFailure::Changed { .. }) => {
                    log_failure("refused to register products at Core", &failure);
                    return;
                }
                Err(failure @ RegistrationFailure::Core(_)) => {
                    log_failure("cannot register products at Core", &failure);
                }
            },
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(WAIT_MAX);
    }
}

/// Registers all products in one request, if no category would change.
pub(crate) async fn register(
    provider: &ProviderId,
    products: &[Product],
    core: &CoreCalls,
    now: Timestamp,
) -> Result<(), RegistrationFailure> {
    if products.is_empty() {
        return Ok(());
    }
    for listed in listed(provider, core, now).await? {
        let ListedCategory { name, accounting: there } = listed.category;
        let changed = |product: &&Product| product.category == name && Accounting::of(product) != there;
        if let Some(product) = products.iter().find(changed) {
            return Err(RegistrationFailure::Changed { category: name, there, here: Accounting::of(product) });
        }
    }
    let items = products.iter().map(|product| Item::of(product, provider)).collect();
    core.ask(&Call::post(REGISTER, &Registration { items })?, now).await?;
    Ok(())
}

/// Core's list of this provider's products.
async fn listed(provider: &ProviderId, core: &CoreCalls, now: Timestamp) -> Result<Vec<Listed>, CoreFailure> {
    let (mut all, mut next) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut parameters = vec![("itemsPerPage", "250"), ("filterProvider", provider.as_str())];
        parameters.extend(next.as_deref().map(|next| ("next", next)));
        let answer = core.ask(&Call::get(BROWSE, &parameters), now).await?;
        let page: Page = serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: BROWSE })?;
        all.extend(page.items.unwrap_or_default());
        next = page.next.filter(|next| !next.is_empty());
        if next.is_none() {
            break;
        }
    }
    Ok(all)
}
