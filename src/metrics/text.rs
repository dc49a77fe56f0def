//! The text format of OpenMetrics, which Prometheus and others read.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::family::{FAMILIES, Family, Kind};
use crate::histogram::BOUNDS_S;
use crate::snapshot::{Sample, Snapshot, Value};

/// The content type of what [`write()`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Exemplars have labels; there are none.
type NoExemplar<'l> = [(&'l str, &'l str); 0];

/// Writes a snapshot, family by family. Leaves out samples that are of no known family.
pub fn write(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut text = String::new();
    // A string takes everything; only its memory could fail.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape(Snapshot);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        FAMILIES.iter().try_for_each(|family| {
            let mut samples = self.0.samples().iter().filter(|sample| sample.is_of(family)).peekable();
            if samples.peek().is_none() {
                return Ok(());
            }
            write_family(family, samples, &mut encoder)
        })
    }
}

fn write_family<'s>(
    family: &Family,
    samples: impl Iterator<Item = &'s Sample>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    // The format's own suffix of counters.
    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
    let mut written = encoder.encode_descriptor(name, family.help.trim_end_matches('.'), None, kind)?;
    for sample in samples {
        let labels: Vec<(&str, &str)> =
            family.labels.iter().zip(&sample.labels).map(|(name, value)| (*name, value.as_ref())).collect();
        if labels.is_empty() {
            write_value(sample, family.kind, &mut written)?;
        } else {
            write_value(sample, family.kind, &mut written.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Leaves out a value of another kind than its family's.
fn write_value(sample: &Sample, kind: Kind, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (&sample.value, kind) {
        (Value::Number(number), Kind::Counter) => encoder.encode_counter::<NoExemplar<'_>, _, f64>(number, None),
        (Value::Number(number), Kind::Gauge) => encoder.encode_gauge(number),
        (Value::Buckets { counts, sum }, Kind::Histogram) => {
            let bounds = BOUNDS_S.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let count = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
            encoder.encode_histogram::<NoExemplar<'_>>(*sum, count, &buckets, None)
        }
        (Value::Number(_) | Value::Buckets { .. }, Kind::Counter | Kind::Gauge | Kind::Histogram) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::family;
    use crate::histogram::Histogram;

    #[test]
    fn w01_the_text_is_openmetrics() {
        let mut snapshot = Snapshot::default();
        snapshot.put(&family::SERVER_USERS, 2_u64);
        snapshot.put_with(&family::GATEWAY_DECISIONS, &["core", "refuse", "BAD_REQUEST", "head"], 7_u64);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(200));
        histogram.observe(Duration::from_secs(9));
        snapshot.put_histogram(&family::SERVER_SLURM_POLL, &[], &histogram);
        let text = write(snapshot);
        let has = |line: &str| assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        has("# TYPE countersign_gateway_decisions counter");
        has(
            "countersign_gateway_decisions_total{lane=\"core\",decision=\"refuse\",class=\"BAD_REQUEST\",reason=\"head\"} 7.0",
        );
        has("countersign_server_users 2.0");
        has("countersign_server_slurm_poll_seconds_bucket{le=\"0.00025\"} 1");
        has("countersign_server_slurm_poll_seconds_bucket{le=\"+Inf\"} 2");
        has("countersign_server_slurm_poll_seconds_count 2");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn w01_a_sample_of_no_known_family_is_left_out() {
        let sent = r#"[{"name":"evil","value":1.0},{"name":"countersign_server_users","labels":["x"],"value":1.0},
            {"name":"countersign_server_users","value":{"counts":[1],"sum":1.0}}]"#;
        let text = write(serde_json::from_str(sent).unwrap());
        assert!(!text.contains("evil") && !text.contains("\"x\"") && !text.contains("users 1"), "{text}");
    }
}
