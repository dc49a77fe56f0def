//! The counts of the gateway for its metrics: decisions, durations and sizes.
//!
//! Counting takes no lock and no memory. No label can come from a request: lanes, classes and
//! reasons are words of this program.

mod listener;
mod scrape;
mod words;

use std::time::Duration;

use countersign_audit::Verdict;
use countersign_metrics::{Counter, Histogram, Level};

pub(crate) use self::listener::serve;
pub(crate) use self::scrape::Scraped;
pub(crate) use self::words::{Lane, Reason};
use crate::response;
use crate::response::refusal::Refusal;

/// Classes of refusals, as senders learn them (design, section 8). A class that is not among them
/// counts as the first.
const CLASSES: [&str; 20] = [
    "OTHER",
    "ACCOUNT_REFUSED",
    "BAD_REQUEST",
    "FORBIDDEN",
    "INTENT_INVALID",
    "INTENT_REPLAYED",
    "INTENT_REQUIRED",
    "INTENT_STALE",
    "INTENT_STEP_UP",
    "MAINTENANCE",
    "NOT_CONNECTED",
    "NOT_FOUND",
    "NO_INSTANCE",
    "TOO_MANY",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UPGRADE_REQUIRED",
    "CONFLICT",
    "NOT_YOURS",
    "FAILURE",
];

/// First digits of the status of an answer.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the gateway has counted since it started.
#[derive(Debug)]
pub(crate) struct GatewayMetrics {
    /// By lane: forwarded, and deposited.
    admitted: Grid,
    /// By lane, class and reason.
    refused: Grid,
    /// By lane and status.
    answers: Grid,
    /// Whole requests.
    pub(crate) requests: Histogram,
    /// Verifications of intents.
    pub(crate) verifications: Histogram,
    pub(crate) in_flight: Level,
    pub(crate) unwritten_records: Counter,
}

/// Counters in a row.
#[derive(Debug)]
struct Grid(Box<[Counter]>);

impl Grid {
    fn new(cells: usize) -> Self {
        Self(std::iter::repeat_with(Counter::new).take(cells).collect())
    }

    fn add_one(&self, at: usize) {
        if let Some(counter) = self.0.get(at) {
            counter.add_one();
        }
    }

    /// The cells that have counted something.
    fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(Counter::count).enumerate().filter(|(_, count)| *count > 0)
    }
}

/// The place of a cell, and back: `inner` is the length of the last dimension.
const fn place(outer: usize, inner: usize, at: usize) -> usize {
    outer.saturating_mul(inner).saturating_add(at)
}

const fn split(place: usize, inner: usize) -> (usize, usize) {
    (place.saturating_div(inner), place.saturating_sub(place.saturating_div(inner).saturating_mul(inner)))
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        let lanes = Lane::ALL.len();
        Self {
            admitted: Grid::new(lanes.saturating_mul(2)),
            refused: Grid::new(lanes.saturating_mul(CLASSES.len()).saturating_mul(Reason::ALL.len())),
            answers: Grid::new(lanes.saturating_mul(STATUSES.len())),
            requests: Histogram::default(),
            verifications: Histogram::default(),
            in_flight: Level::default(),
            unwritten_records: Counter::new(),
        }
    }
}

impl GatewayMetrics {
    /// Counts a request that was forwarded, or an intent that was deposited.
    pub(crate) fn admitted(&self, lane: Lane, verdict: Verdict) {
        let column = usize::from(verdict == Verdict::Deposit);
        self.admitted.add_one(place(lane.index(), 2, column));
    }

    /// Counts a refusal or a failure.
    pub(crate) fn refused(&self, lane: Lane, refusal: &Refusal) {
        let code = response::told(refusal).0.code();
        let class = CLASSES.iter().position(|class| *class == code).unwrap_or(0);
        self.count_refused(lane, class, Reason::of(refusal));
    }

    /// Counts bytes that were not a request.
    pub(crate) fn no_request(&self, lane: Lane) {
        self.count_refused(lane, 0, Reason::NoRequest);
    }

    fn count_refused(&self, lane: Lane, class: usize, reason: Reason) {
        let row = place(lane.index(), CLASSES.len(), class);
        self.refused.add_one(place(row, Reason::ALL.len(), reason.index()));
    }

    /// Counts the answer of an instance or of the server to a recorded request.
    pub(crate) fn answered(&self, lane: Lane, status: u16) {
        let column = usize::from(status.saturating_div(100)).saturating_sub(1);
        if column < STATUSES.len() {
            self.answers.add_one(place(lane.index(), STATUSES.len(), column));
        }
    }

    pub(crate) fn requested(&self, took: Duration) {
        self.requests.observe(took);
    }
}

#[cfg(test)]
mod tests {
    use countersign_keys::intent::IntentRejection;
    use countersign_keys::verify::Rejection;
    use countersign_metrics::Snapshot;

    use super::*;
    use crate::http1::head::HeadRejection;

    #[test]
    fn w01_a_refusal_counts_in_its_own_cell_alone() {
        let metrics = GatewayMetrics::default();
        let refusals: [Refusal; 3] =
            [HeadRejection::Host.into(), Rejection::NoSuchCall.into(), IntentRejection::Signature.into()];
        for refusal in &refusals {
            metrics.refused(Lane::Core, refusal);
        }
        metrics.refused(Lane::Socket, &refusals[0]);
        metrics.no_request(Lane::Unknown);
        metrics.admitted(Lane::Core, Verdict::Forward);
        metrics.admitted(Lane::Public, Verdict::Deposit);
        metrics.answered(Lane::Core, 204);
        let mut snapshot = Snapshot::default();
        metrics.put(&mut snapshot);
        let text = countersign_metrics::write(snapshot);
        for line in [
            r#"decisions_total{lane="core",decision="forward",class="",reason=""} 1.0"#,
            r#"decisions_total{lane="public",decision="deposit",class="",reason=""} 1.0"#,
            r#"decisions_total{lane="core",decision="refuse",class="BAD_REQUEST",reason="head"} 1.0"#,
            r#"decisions_total{lane="core",decision="refuse",class="NOT_FOUND",reason="no_such_call"} 1.0"#,
            r#"decisions_total{lane="core",decision="refuse",class="INTENT_INVALID",reason="intent_signature"} 1.0"#,
            r#"decisions_total{lane="socket",decision="refuse",class="BAD_REQUEST",reason="head"} 1.0"#,
            r#"decisions_total{lane="unknown",decision="refuse",class="OTHER",reason="no_request"} 1.0"#,
            r#"answers_total{lane="core",status="2xx"} 1.0"#,
        ] {
            assert!(text.contains(&format!("countersign_gateway_{line}\n")), "{line}\n{text}");
        }
        let refused = text.lines().filter(|line| line.contains("decision=\"refuse\""));
        assert_eq!(refused.count(), 5, "{text}");
    }
}
