//! `[[products]]`: the provider's products at UCloud, and how UCloud accounts for them.
//!
//! The server registers them at Core when it starts. Core never allows a category's unit, frequency
//! or freedom of charge to change, so all products of a category agree on them.

use serde::Deserialize;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) kind: ProductKind,
    /// For users.
    pub(crate) description: String,
    /// Units of the category that one unit of this product costs.
    pub(crate) price: i64,
    pub(crate) accounting: Accounting,
    /// Whether grant applications omit it.
    pub(crate) is_hidden: bool,
    /// The hardware of its machines; all zero and empty for storage.
    pub(crate) machine: Machine,
}

/// `products.type`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProductKind {
    /// For drives.
    Storage,
    /// For jobs.
    Compute,
}

/// How UCloud accounts for a category. Cannot be changed once Core has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Accounting {
    /// Such as `GB` or `Core`.
    pub(crate) unit: String,
    /// The plural of the unit.
    pub(crate) unit_plural: String,
    pub(crate) frequency: Frequency,
    /// Whether no allocation is needed.
    pub(crate) is_free: bool,
}

/// `products.frequency`: the period for which a unit is counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Frequency {
    /// The present use, like a quota.
    Once,
    Minute,
    Hour,
    Day,
}

/// A machine's hardware, as UCloud shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Machine {
    /// Virtual processors.
    pub(crate) cpu: i64,
    pub(crate) cpu_model: String,
    pub(crate) memory_gb: i64,
    pub(crate) memory_model: String,
    pub(crate) gpu: i64,
    pub(crate) gpu_model: String,
}

impl Product {
    /// The storage product of that name, or the first if `name` is `None`.
    pub(crate) fn storage_among<'p>(products: &'p [Self], name: Option<&str>) -> Option<&'p Self> {
        let mut storage = products.iter().filter(|product| product.kind == ProductKind::Storage);
        storage.find(|product| name.is_none_or(|name| product.name == name))
    }
}

impl Frequency {
    /// Core's spelling.
    pub(crate) const fn at_core(self) -> &'static str {
        match self {
            Self::Once => "ONCE",
            Self::Minute => "PERIODIC_MINUTE",
            Self::Hour => "PERIODIC_HOUR",
            Self::Day => "PERIODIC_DAY",
        }
    }

    /// Whether units add up over time, which UCloud shows as `Core-hours`.
    pub(crate) const fn is_periodic(self) -> bool {
        !matches!(self, Self::Once)
    }
}

impl ProductKind {
    /// Core's spelling.
    pub(crate) const fn at_core(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Compute => "COMPUTE",
        }
    }

    /// The configuration's spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Compute => "compute",
        }
    }
}
