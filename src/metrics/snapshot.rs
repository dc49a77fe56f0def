//! The counts of a process at one moment, as a value that can be sent to another process.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::histogram::Histogram;

/// Samples, in any order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Snapshot {
    samples: Vec<Sample>,
}

/// One value of a family.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub name: Cow<'static, str>,
    /// The labels' values, in the family's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Cow<'static, str>>,
    pub value: Value,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Number(f64),
    Buckets {
        /// Not cumulative; the last has no upper bound.
        counts: Vec<u64>,
        /// Of all observations, in seconds.
        sum: f64,
    },
}

/// A number as a metric has it. Beyond 2^53 it loses its last digits, as in every metrics system.
pub trait Measured {
    fn measured(self) -> f64;
}

macro_rules! measured {
    ($($number:ty),*) => {
        $(impl Measured for $number {
            #[allow(clippy::as_conversions, reason = "no lossless conversion exists, and none is needed")]
            fn measured(self) -> f64 {
                self as f64
            }
        })*
    };
}

measured!(u64, usize, i64, u32, f64);

impl Measured for bool {
    fn measured(self) -> f64 {
        if self { 1.0 } else { 0.0 }
    }
}

impl Snapshot {
    /// Adds a value of a family without labels.
    pub fn put(&mut self, family: &Family, value: impl Measured) {
        self.put_with(family, &[], value);
    }

    /// Adds a value with its labels' values, in the family's order.
    pub fn put_with(&mut self, family: &Family, labels: &[&'static str], value: impl Measured) {
        self.add(family, labels, Value::Number(value.measured()));
    }

    /// Adds a value if there is one.
    pub fn put_known(&mut self, family: &Family, value: Option<impl Measured>) {
        if let Some(value) = value {
            self.put(family, value);
        }
    }

    pub fn put_histogram(&mut self, family: &Family, labels: &[&'static str], histogram: &Histogram) {
        let (counts, sum) = histogram.read();
        self.add(family, labels, Value::Buckets { counts, sum });
    }

    fn add(&mut self, family: &Family, labels: &[&'static str], value: Value) {
        let labels = labels.iter().map(|label| Cow::Borrowed(*label)).collect();
        self.samples.push(Sample { name: family.name.into(), labels, value });
    }

    /// Adds the samples of another process.
    pub fn extend(&mut self, other: &Self) {
        self.samples.extend(other.samples.iter().cloned());
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

impl Sample {
    /// Whether it is one of that family, with that family's labels.
    pub fn is_of(&self, family: &Family) -> bool {
        self.name == family.name && self.labels.len() == family.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family;

    #[test]
    fn w01_a_snapshot_arrives_as_it_was_sent() {
        let mut sent = Snapshot::default();
        let histogram = Histogram::default();
        histogram.observe(std::time::Duration::from_millis(3));
        sent.put(&family::SERVER_USERS, 3_u64);
        sent.put_with(&family::SERVER_AUDIT_BACKLOG, &["gateway"], 0_u64);
        sent.put_histogram(&family::SERVER_SLURM_POLL, &[], &histogram);
        let line = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&line).unwrap(), sent);
        assert!(line.starts_with(r#"[{"name":"countersign_server_users","value":3.0}"#), "{line}");
    }
}
