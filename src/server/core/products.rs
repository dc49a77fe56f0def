//! `retrieveProducts`: the configured products, and the features supported for each.
//!
//! A feature is on only if an instance implements it, because Core shows users what is on.

use crate::state::Server;
use countersign_keys::call::ResourceKind;
use serde_json::{Value, json};

use countersign_config::{Product, ProductKind, Terminals};

/// Every product for a kind of resource, with its features.
pub(crate) fn retrieve_products(server: &Server, kind: ResourceKind) -> Value {
    let (wanted, support): (_, fn(&Value, Offered) -> Value) = match kind {
        ResourceKind::FileCollections | ResourceKind::Files => (ProductKind::Storage, storage_support),
        ResourceKind::Jobs => (ProductKind::Compute, compute_support),
        // There are no products of these kinds: public links, addresses, licences, private
        // networks, shares.
        ResourceKind::Ingresses
        | ResourceKind::NetworkIps
        | ResourceKind::Licenses
        | ResourceKind::PrivateNetworks
        | ResourceKind::Shares => return json!({ "responses": [] }),
    };
    let config = &server.config;
    let made = config.drives.iter().find(|drive| drive.is_made());
    let made = made.and_then(|drive| drive.product_among(&config.products));
    let offered = |product: &Product| Offered {
        terminals: config.terminals,
        drives_can_be_made: made.is_some_and(|made| made.name == product.name),
    };
    let products = config.products.iter().filter(|product| product.kind == wanted);
    let responses: Vec<Value> =
        products.map(|product| support(&reference(server, product), offered(product))).collect();
    json!({ "responses": responses })
}

/// The optional features of a product.
#[derive(Clone, Copy)]
struct Offered {
    terminals: Terminals,
    drives_can_be_made: bool,
}

fn reference(server: &Server, product: &Product) -> Value {
    json!({ "id": product.name, "category": product.category, "provider": server.config.provider.id.as_str() })
}

fn storage_support(product: &Value, offered: Offered) -> Value {
    json!({
        "product": product,
        "stats": {
            "sizeInBytes": true,
            "sizeIncludingChildrenInBytes": false,
            "visualization": false,
            "modifiedAt": true,
            "createdAt": false,
            "accessedAt": true,
            "unixPermissions": true,
            "unixOwner": true,
            "unixGroup": true,
        },
        "collection": {
            "aclModifiable": false,
            "usersCanCreate": offered.drives_can_be_made,
            "usersCanDelete": offered.drives_can_be_made,
            "usersCanRename": offered.drives_can_be_made,
        },
        "files": {
            "aclModifiable": false,
            "trashSupported": true,
            "isReadOnly": false,
            "searchSupported": false,
            "streamingSearchSupported": true,
            "sharesSupported": false,
            "openInTerminal": offered.terminals == Terminals::Offered,
        },
    })
}

fn compute_support(product: &Value, _offered: Offered) -> Value {
    json!({
        "product": product,
        "docker": backend(),
        "virtualMachine": {
            "enabled": false,
            "logs": false,
            "vnc": false,
            "terminal": false,
            "timeExtension": false,
            "suspension": false,
            "peers": false,
        },
        "native": backend(),
        "queueStatus": null,
    })
}

/// No kind of job runs yet. Features will be turned on with instances that implement them.
fn backend() -> Value {
    json!({
        "enabled": false,
        "web": false,
        "vnc": false,
        "logs": false,
        "terminal": false,
        "peers": false,
        "timeExtension": false,
        "bindLinkToPort": false,
    })
}
