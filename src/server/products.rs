//! `retrieveProducts`: what the provider offers, by its configuration, and what of it can be done.
//!
//! A feature is on only if an instance really does it: Core shows users what is on.

use countersign_keys::call::ResourceKind;
use serde_json::{Value, json};

use super::Server;
use crate::config::{Product, ProductKind, Terminals};

/// Every product of a kind of resource, with its support.
pub(super) fn retrieve_products(server: &Server, kind: ResourceKind) -> Value {
    let (wanted, support): (_, fn(&Value, Terminals) -> Value) = match kind {
        ResourceKind::FileCollections | ResourceKind::Files => (ProductKind::Storage, storage_support),
        ResourceKind::Jobs => (ProductKind::Compute, compute_support),
        // There are no products of these kinds: no public links, addresses, licences, private networks or shares.
        ResourceKind::Ingresses
        | ResourceKind::NetworkIps
        | ResourceKind::Licenses
        | ResourceKind::PrivateNetworks
        | ResourceKind::Shares => return json!({ "responses": [] }),
    };
    let products = server.config.products.iter().filter(|product| product.kind == wanted);
    let responses: Vec<Value> =
        products.map(|product| support(&reference(server, product), server.config.terminals)).collect();
    json!({ "responses": responses })
}

fn reference(server: &Server, product: &Product) -> Value {
    json!({ "id": product.name, "category": product.category, "provider": server.config.provider.id.as_str() })
}

fn storage_support(product: &Value, terminals: Terminals) -> Value {
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
            "usersCanCreate": false,
            "usersCanDelete": false,
            "usersCanRename": false,
        },
        "files": {
            "aclModifiable": false,
            "trashSupported": true,
            "isReadOnly": false,
            "searchSupported": false,
            "streamingSearchSupported": true,
            "sharesSupported": false,
            "openInTerminal": terminals == Terminals::Offered,
        },
    })
}

fn compute_support(product: &Value, _terminals: Terminals) -> Value {
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

/// No kind of job is run yet: terminals and jobs come with instances that can do them.
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
