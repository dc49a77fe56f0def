//! Checks `[[products]]`.

use toml::Spanned;

use crate::check::findings::{Findings, Site, word};
use crate::check::outside::secret_file;
use crate::drives::is_name;
use crate::file::{ProductTable, Typed};
use crate::licence::is_address;
use crate::problem::Reason;
use crate::quantity::{CPU, GPU, MEMORY_GB, PRICE};
use crate::{Accounting, Frequency, Licence, Machine, Placement, Product, ProductKind, Role};

/// Longest description, unit or model, in bytes.
const TEXT_MAX: usize = 1024;

/// Keys for machines alone.
const NEEDS_COMPUTE: Reason = Reason::Idle("the product's type is \"compute\"");

/// Keys for licences alone.
const NEEDS_LICENCE: Reason = Reason::Idle("the product's type is \"license\"");

/// Keys for jobs alone.
const NEEDS_SLURM: Reason = Reason::Idle("there is a table [slurm]");

/// Whether the configuration has a table `[slurm]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Jobs {
    Started,
    NotStarted,
}

pub(super) fn products(
    tables: Vec<Spanned<ProductTable>>,
    jobs: Jobs,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Product> {
    let mut products: Vec<Product> = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let (span, key) = (table.span(), format!("products[{index}]"));
        let Some(made) = product(&key, table.into_inner(), &products, jobs, site, findings) else { continue };
        let differs = |other: &&Product| {
            other.category == made.category && (other.kind != made.kind || other.accounting != made.accounting)
        };
        match products.iter().find(differs) {
            None => products.push(made),
            Some(other) => findings.add(&key, Some(span), Reason::CategoryDiffers(other.name.clone())),
        }
    }
    products
}

fn product(
    key: &str,
    table: ProductTable,
    others: &[Product],
    jobs: Jobs,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Product> {
    let what = "the product's name at UCloud";
    let is_taken = |name: &str| others.iter().any(|other| other.name == name);
    let name_is = name(&format!("{key}.name"), table.name, what, findings, is_taken);
    let what = "the product's category at UCloud";
    let category = name(&format!("{key}.category"), table.category, what, findings, |_| false);
    let kind =
        findings.required(&format!("{key}.type"), table.kind, "\"storage\", \"compute\", \"ingress\" or \"license\"");
    let kind = *kind?.get_ref();
    let (unit, frequency) = match kind {
        ProductKind::Storage => ("GB", Frequency::Once),
        ProductKind::Compute => ("Core", Frequency::Hour),
        ProductKind::Ingress => ("Link", Frequency::Once),
        ProductKind::License => ("Licence", Frequency::Once),
    };
    let mut text = |member: &str, typed: Typed<String>, otherwise: &str| {
        let Some(typed) = typed else { return Some(otherwise.to_owned()) };
        let text = typed.get_ref();
        let is_good = text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
        findings.accept(&format!("{key}.{member}"), &typed.span(), is_good.then(|| text.clone()).ok_or(Reason::Text))
    };
    let unit = text("unit", table.unit, unit);
    let unit_plural = text("unit_plural", table.unit_plural, unit.as_deref().unwrap_or_default());
    let description = text("description", table.description, "");
    let models = [("cpu_model", table.cpu_model), ("memory_model", table.memory_model), ("gpu_model", table.gpu_model)];
    let mut spans = models.iter().filter_map(|(_, typed)| typed.as_ref().map(Spanned::span)).collect::<Vec<_>>();
    let [cpu_model, memory_model, gpu_model] = models.map(|(member, typed)| text(member, typed, ""));
    let numbers = [("cpu", &table.cpu, CPU), ("memory_gb", &table.memory_gb, MEMORY_GB), ("gpu", &table.gpu, GPU)];
    spans.extend(numbers.iter().filter_map(|(_, typed, _)| typed.as_ref().map(Spanned::span)));
    let [cpu, memory_gb, gpu] =
        numbers.map(|(member, typed, range)| findings.number(&format!("{key}.{member}"), typed.as_ref(), range));
    let placed = [
        ("partition", table.partition),
        ("qos", table.qos),
        ("account", table.account),
        ("constraint", table.constraint),
    ];
    let placed_spans: Vec<_> = placed.iter().filter_map(|(_, typed)| typed.as_ref().map(Spanned::span)).collect();
    let placement = placement(key, placed, findings);
    if kind != ProductKind::Compute {
        for span in spans.into_iter().chain(placed_spans) {
            findings.add(key, Some(span), NEEDS_COMPUTE);
        }
    } else if jobs == Jobs::NotStarted {
        for span in placed_spans {
            findings.add(key, Some(span), NEEDS_SLURM);
        }
    }
    let licence = licence(key, kind, (table.address, table.key), site, findings);
    Some(Product {
        name: name_is?,
        category: category?,
        kind,
        description: description?,
        price: findings.number(&format!("{key}.price"), table.price.as_ref(), PRICE)?,
        accounting: Accounting {
            unit: unit?,
            unit_plural: unit_plural?,
            frequency: word(table.frequency.as_ref(), frequency),
            is_free: word(table.free.as_ref(), false),
        },
        is_hidden: word(table.hidden.as_ref(), false),
        machine: Machine {
            cpu: cpu?,
            cpu_model: cpu_model?,
            memory_gb: memory_gb?,
            memory_model: memory_model?,
            gpu: gpu?,
            gpu_model: gpu_model?,
        },
        placement: placement?,
        licence: licence?,
    })
}

/// The licence of a product, which one of that type alone has.
fn licence(
    key: &str,
    kind: ProductKind,
    (address, secret): (Typed<String>, Typed<String>),
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<Licence>> {
    if kind != ProductKind::License {
        for typed in [address, secret].into_iter().flatten() {
            findings.add(key, Some(typed.span()), NEEDS_LICENCE);
        }
        return Some(None);
    }
    if address.is_none() && secret.is_none() {
        let what = "the address of a licence server, or \"key\", the file with a licence's key, or both";
        findings.missing(&format!("{key}.address"), Reason::Missing(what));
        return None;
    }
    let address = address.map(|typed| {
        let text = typed.get_ref();
        let address = is_address(text).then(|| text.clone()).ok_or(Reason::LicenceAddress);
        findings.accept(&format!("{key}.address"), &typed.span(), address)
    });
    let secret = secret.map(|typed| {
        let key = format!("{key}.key");
        let file = secret_file(&key, &typed, site, findings)?;
        if site.reader.role == Role::Server {
            findings.accept(&key, &typed.span(), file.read_token())?;
        }
        Some(file)
    });
    let is_refused = address == Some(None) || secret == Some(None);
    (!is_refused).then(|| Some(Licence { address: address.flatten(), key: secret.flatten() }))
}

/// How a product's jobs are submitted. `typed` holds each member's name and value.
fn placement(key: &str, typed: [(&str, Typed<String>); 4], findings: &mut Findings<'_>) -> Option<Placement> {
    let [partition, qos, account, constraint] = typed.map(|(member, typed)| match typed {
        None => Some(None),
        Some(typed) => placed(&format!("{key}.{member}"), &typed, findings).map(Some),
    });
    Some(Placement { partition: partition?, qos: qos?, account: account?, constraint: constraint? })
}

fn placed(key: &str, typed: &Spanned<String>, findings: &mut Findings<'_>) -> Option<String> {
    let text = typed.get_ref();
    findings.accept(key, &typed.span(), is_name(text).then(|| text.clone()).ok_or(Reason::Name))
}

/// A required name that is free, and needs no quoting in a path or in JSON.
pub(super) fn name(
    key: &str,
    typed: Typed<String>,
    what: &'static str,
    findings: &mut Findings<'_>,
    is_taken: impl Fn(&str) -> bool,
) -> Option<String> {
    let typed = findings.required(key, typed, what)?;
    let text = typed.get_ref();
    let name = match text {
        _ if !is_name(text) => Err(Reason::Name),
        text if is_taken(text) => Err(Reason::Twice),
        text => Ok(text.clone()),
    };
    findings.accept(key, &typed.span(), name)
}
