//! `[[products]]`: what the provider offers at UCloud, and how UCloud accounts for it.
//!
//! The server registers these at Core when it starts. Core never lets a category's unit, frequency
//! or freedom of charge change, so all products of a category agree on them.

use serde::Deserialize;

/// One of `[[products]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Product {
    /// The product's name.
    pub(crate) name: String,
    /// Its category.
    pub(crate) category: String,
    /// What it is.
    pub(crate) kind: ProductKind,
    /// What users read about it.
    pub(crate) description: String,
    /// Units of the category that one of this product costs.
    pub(crate) price: i64,
    /// How its category is accounted for.
    pub(crate) accounting: Accounting,
    /// Whether grant applications leave it out.
    pub(crate) is_hidden: bool,
    /// What a machine of it has; all zero and empty for storage.
    pub(crate) machine: Machine,
}

/// `products.type`: what a product is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProductKind {
    /// Drives are made of it.
    Storage,
    /// Jobs run on it.
    Compute,
}

/// How UCloud accounts for a category. None of it can be changed once Core has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Accounting {
    /// The unit's name, such as `GB` or `Core`.
    pub(crate) unit: String,
    /// The same for more than one.
    pub(crate) unit_plural: String,
    /// For how long a unit is counted.
    pub(crate) frequency: Frequency,
    /// Whether no allocation is needed.
    pub(crate) is_free: bool,
}

/// `products.frequency`: for how long a unit is counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Frequency {
    /// What is used at a moment, as a quota is.
    Once,
    /// For each minute.
    Minute,
    /// For each hour.
    Hour,
    /// For each day.
    Day,
}

/// What a machine has, as UCloud shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Machine {
    /// Virtual processors.
    pub(crate) cpu: i64,
    /// Their model.
    pub(crate) cpu_model: String,
    /// Memory in GB.
    pub(crate) memory_gb: i64,
    /// Its kind.
    pub(crate) memory_model: String,
    /// GPUs.
    pub(crate) gpu: i64,
    /// Their model.
    pub(crate) gpu_model: String,
}

impl Product {
    /// The storage product of that name, or without a name the first.
    pub(crate) fn storage_among<'p>(products: &'p [Self], name: Option<&str>) -> Option<&'p Self> {
        let mut storage = products.iter().filter(|product| product.kind == ProductKind::Storage);
        storage.find(|product| name.is_none_or(|name| product.name == name))
    }
}

impl Frequency {
    /// As Core writes it.
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
    /// As Core writes it.
    pub(crate) const fn at_core(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Compute => "COMPUTE",
        }
    }

    /// As the configuration writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Compute => "compute",
        }
    }
}
