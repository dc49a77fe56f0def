//! The product that a user signed, and the number that Core gave: for jobs, public links and
//! licences.

use countersign_config::{Product, ProductKind};
use countersign_keys::identity::{CoreResourceId, ProviderId};
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;

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
pub(crate) fn number(permit: &Permit<'_, '_>) -> Option<CoreResourceId> {
    let item = permit.items().body().member("items").and_then(Json::elements).and_then(<[Json<'_>]>::first)?;
    CoreResourceId::parse(item.member("id")?.as_str()?).ok()
}
