//! `retrieveProducts`: the configured products, and the features supported for each.
//!
//! A feature is on only if an instance implements it, because Core shows users what is on.

use crate::jobs::table::Queue;
use crate::state::Server;
use countersign_keys::call::ResourceKind;
use countersign_slurm::Partition;
use serde_json::{Value, json};

use countersign_config::{Operator, Product, ProductKind, Terminals};

/// Every product for a kind of resource, with its features.
pub(crate) fn retrieve_products(server: &Server, kind: ResourceKind) -> Value {
    let (wanted, support): (_, fn(&Value, Offered) -> Value) = match kind {
        ResourceKind::FileCollections | ResourceKind::Files => (ProductKind::Storage, storage_support),
        ResourceKind::Jobs => (ProductKind::Compute, compute_support),
        ResourceKind::Ingresses => return json!({ "responses": link_products(server) }),
        ResourceKind::Licenses => return json!({ "responses": licence_products(server) }),
        // There are no products of these kinds: addresses, private networks, shares.
        ResourceKind::NetworkIps | ResourceKind::PrivateNetworks | ResourceKind::Shares => {
            return json!({ "responses": [] });
        }
    };
    let (config, served) = (&server.config, server.config.served());
    let made = served.drives.iter().find(|drive| drive.is_made());
    let made = made.and_then(|drive| drive.product_among(&served.products));
    let jobs = config.slurm.as_ref().map(|slurm| slurm.operator);
    let offered = |product: &Product| Offered {
        terminals: served.terminals,
        jobs,
        web: config.gateway.web.is_some(),
        links: config.gateway.links.is_some(),
        load: jobs.and_then(|_| load(&server.jobs.queue(), product)),
        drives_can_be_made: made.is_some_and(|made| made.name == product.name),
    };
    let products = served.products.iter().filter(|product| product.kind == wanted);
    let responses: Vec<Value> =
        products.map(|product| support(&reference(server, product), offered(product))).collect();
    json!({ "responses": responses })
}

/// The optional features of a product.
#[derive(Clone, Copy)]
struct Offered {
    terminals: Terminals,
    /// Whether jobs are started, and who may change them.
    jobs: Option<Operator>,
    /// Whether their web interfaces have host names.
    web: bool,
    /// Whether public links have host names.
    links: bool,
    /// How busy its partition is.
    load: Option<Load>,
    drives_can_be_made: bool,
}

/// How soon a job may start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Load {
    Available,
    /// Jobs wait for its partition.
    Busy,
    /// Its partition has not enough idle processors.
    Full,
}

impl Load {
    const fn at_core(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Busy => "BUSY",
            Self::Full => "FULL",
        }
    }
}

/// The load of a product's partition, or of the default one. `None` while it is not known.
fn load(queue: &Queue, product: &Product) -> Option<Load> {
    let is_its = |partition: &&Partition| match &product.placement.partition {
        Some(name) => partition.name == *name,
        None => partition.is_default,
    };
    let partition = queue.partitions.iter().find(is_its)?;
    let cpus = u32::try_from(product.machine.cpu.max(1)).unwrap_or(u32::MAX);
    Some(match partition {
        Partition { is_up: false, .. } => Load::Full,
        Partition { idle_cpus, .. } if *idle_cpus < cpus => Load::Full,
        Partition { name, .. } if queue.wanted.contains(name) => Load::Busy,
        _ => Load::Available,
    })
}

fn reference(server: &Server, product: &Product) -> Value {
    json!({ "id": product.name, "category": product.category, "provider": server.config.provider.id.as_str() })
}

/// The products of public links, with what UCloud's page puts around the name that a user chooses.
/// Without jobs there is nothing to link to.
fn link_products(server: &Server) -> Vec<Value> {
    let config = &server.config;
    let Some(hosts) = config.gateway.links.as_ref().filter(|_| config.slurm.is_some()) else { return Vec::new() };
    let (prefix, suffix) = hosts.affixes();
    let support = |product: &Product| json!({ "domainPrefix": prefix, "domainSuffix": suffix, "product": reference(server, product) });
    config.served().products.iter().filter(|product| product.kind == ProductKind::Ingress).map(support).collect()
}

/// The products of licences. Without jobs there is nothing to use one.
fn licence_products(server: &Server) -> Vec<Value> {
    let config = &server.config;
    let is_offered = |product: &&Product| product.kind == ProductKind::License && config.slurm.is_some();
    config
        .served()
        .products
        .iter()
        .filter(is_offered)
        .map(|product| json!({ "product": reference(server, product) }))
        .collect()
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

fn compute_support(product: &Value, offered: Offered) -> Value {
    json!({
        "product": product,
        "docker": backend(Offered { jobs: None, ..offered }),
        "virtualMachine": {
            "enabled": false,
            "logs": false,
            "vnc": false,
            "terminal": false,
            "timeExtension": false,
            "suspension": false,
            "peers": false,
        },
        "native": backend(offered),
        "queueStatus": offered.load.map(Load::at_core),
    })
}

/// Jobs run as native ones, on Slurm. Only an operator can lengthen a job.
fn backend(Offered { jobs, terminals, web, links, .. }: Offered) -> Value {
    json!({
        "enabled": jobs.is_some(),
        "web": jobs.is_some() && web,
        "vnc": jobs.is_some(),
        "logs": jobs.is_some(),
        "terminal": jobs.is_some() && terminals == Terminals::Offered,
        "peers": false,
        "timeExtension": jobs == Some(Operator::Granted),
        "bindLinkToPort": jobs.is_some() && links,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::TestServer;

    const PRODUCTS: &str = "[[drives]]\nid = \"home\"\npath = \"~\"\n\
        [[products]]\nname = \"small\"\ncategory = \"c\"\ntype = \"compute\"\ncpu = 2\n\
        [[products]]\nname = \"big\"\ncategory = \"c\"\ntype = \"compute\"\ncpu = 64\n";

    fn queue(idle_cpus: u32, is_up: bool, wanted: &[&str]) -> Queue {
        let partition = Partition { name: "normal".to_owned(), is_default: true, is_up, idle_cpus };
        Queue { partitions: vec![partition], wanted: wanted.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[tokio::test]
    async fn a_product_runs_jobs_only_where_slurm_is() {
        let test = TestServer::new(PRODUCTS);
        let said = retrieve_products(&test.server, ResourceKind::Jobs);
        assert_eq!(said["responses"][0]["native"]["enabled"], false);
        assert_eq!(said["responses"][0]["queueStatus"], Value::Null);
        for (operator, extends) in [("false", false), ("true", true)] {
            let slurm = format!("[slurm]\ndrive = \"home\"\noperator = {operator}\n{PRODUCTS}");
            let test = TestServer::new(&slurm);
            let said = retrieve_products(&test.server, ResourceKind::Jobs);
            let native = &said["responses"][1]["native"];
            assert_eq!((&native["enabled"], &native["timeExtension"]), (&true.into(), &extends.into()));
            assert_eq!(
                (&native["logs"], &native["terminal"], &native["web"], &native["vnc"]),
                (&true.into(), &true.into(), &false.into(), &true.into()),
                "a web interface needs a host name, and a desktop does not"
            );
            assert_eq!(said["responses"][1]["docker"]["enabled"], false);
            *test.server.jobs.queue() = queue(4, true, &[]);
            let said = retrieve_products(&test.server, ResourceKind::Jobs);
            assert_eq!(said["responses"][0]["queueStatus"], "AVAILABLE");
            assert_eq!(said["responses"][1]["queueStatus"], "FULL");
        }
    }

    #[tokio::test]
    async fn j07_public_links_are_offered_where_they_have_host_names_and_jobs() {
        const LINKS: &str = "[gateway.links]\nprefix = \"link-\"\nsuffix = \".links.example.org\"\n";
        const SLURM: &str = "[slurm]\ndrive = \"home\"\n";
        const PRODUCT: &str = "[[products]]\nname = \"link\"\ncategory = \"link\"\ntype = \"ingress\"\n";
        for (tables, is_offered) in [([LINKS, SLURM], true), ([LINKS, ""], false), (["", SLURM], false)] {
            let test = TestServer::new(&format!("{}{PRODUCTS}{PRODUCT}", tables.concat()));
            let said = retrieve_products(&test.server, ResourceKind::Ingresses);
            let product = json!({ "id": "link", "category": "link", "provider": "hpc" });
            let support = json!({
                "domainPrefix": "link-", "domainSuffix": ".links.example.org", "product": product
            });
            let want = if is_offered { vec![support] } else { Vec::new() };
            assert_eq!(said, json!({ "responses": want }), "{tables:?}");
            let said = retrieve_products(&test.server, ResourceKind::Jobs);
            let native = &said["responses"][0]["native"]["bindLinkToPort"];
            assert_eq!(native, &json!(is_offered), "{tables:?}");
            assert_eq!(said["responses"][0]["docker"]["bindLinkToPort"], false);
        }
    }

    #[tokio::test]
    async fn a_load_that_is_not_known_is_not_told() {
        let test = TestServer::new(PRODUCTS);
        let small = &test.server.config.served().products[0];
        assert_eq!(load(&queue(2, true, &[]), small), Some(Load::Available));
        assert_eq!(load(&queue(2, true, &["normal"]), small), Some(Load::Busy));
        assert_eq!(load(&queue(2, true, &["urgent"]), small), Some(Load::Available));
        assert_eq!(load(&queue(1, true, &[]), small), Some(Load::Full));
        assert_eq!(load(&queue(2, false, &[]), small), Some(Load::Full));
        assert_eq!(load(&Queue::default(), small), None);
        let mut placed = small.clone();
        placed.placement.partition = Some("urgent".to_owned());
        assert_eq!(load(&queue(2, true, &[]), &placed), None);
    }
}
