//! `[[products]]`: the provider's products at UCloud, and how UCloud accounts for them.
//!
//! The server registers them at Core when it starts. Core never allows a category's unit, frequency
//! or freedom of charge to change, so all products of a category agree on them.

use serde::Deserialize;

use crate::licence::Licence;
use crate::slurm::Placement;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Product {
    pub name: String,
    pub category: String,
    pub kind: ProductKind,
    /// For users.
    pub description: String,
    /// Units of the category that one unit of this product costs.
    pub price: i64,
    pub accounting: Accounting,
    /// Whether grant applications omit it.
    pub is_hidden: bool,
    /// The hardware of its machines; all zero and empty for what is no machine.
    pub machine: Machine,
    /// How its jobs are submitted; all `None` for what is no machine.
    pub placement: Placement,
    /// What its licences are; `None` for every other type.
    pub licence: Option<Licence>,
}

/// `products.type`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ProductKind {
    /// For drives.
    Storage,
    /// For jobs.
    Compute,
    /// For public links.
    Ingress,
    /// For licences.
    License,
}

/// How UCloud accounts for a category. Cannot be changed once Core has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accounting {
    /// Such as `GB` or `Core`.
    pub unit: String,
    /// The plural of the unit.
    pub unit_plural: String,
    pub frequency: Frequency,
    /// Whether no allocation is needed.
    pub is_free: bool,
}

/// `products.frequency`: the period for which a unit is counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Frequency {
    /// The present use, like a quota.
    Once,
    Minute,
    Hour,
    Day,
}

/// A machine's hardware, as UCloud shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Machine {
    /// Virtual processors.
    pub cpu: i64,
    pub cpu_model: String,
    pub memory_gb: i64,
    pub memory_model: String,
    pub gpu: i64,
    pub gpu_model: String,
}

impl Product {
    /// The storage product of that name, or the first if `name` is `None`.
    pub fn storage_among<'p>(products: &'p [Self], name: Option<&str>) -> Option<&'p Self> {
        let mut storage = products.iter().filter(|product| product.kind == ProductKind::Storage);
        storage.find(|product| name.is_none_or(|name| product.name == name))
    }
}

impl Frequency {
    /// Core's spelling.
    pub const fn at_core(self) -> &'static str {
        match self {
            Self::Once => "ONCE",
            Self::Minute => "PERIODIC_MINUTE",
            Self::Hour => "PERIODIC_HOUR",
            Self::Day => "PERIODIC_DAY",
        }
    }

    /// Whether units add up over time, which UCloud shows as `Core-hours`.
    pub const fn is_periodic(self) -> bool {
        !matches!(self, Self::Once)
    }
}

impl ProductKind {
    /// Core's spelling.
    pub const fn at_core(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Compute => "COMPUTE",
            Self::Ingress => "INGRESS",
            Self::License => "LICENSE",
        }
    }

    /// The spelling of the configuration, and of the `type` at Core.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Compute => "compute",
            Self::Ingress => "ingress",
            Self::License => "license",
        }
    }
}
