//! Decides from accounting's rows what a job has used, and of which product. Pure: rows, products
//! and time are arguments.
//!
//! A row counts only if it names the uid of the account that reported the job. The product follows
//! from what Slurm says of the run, never from the account's word: the account pays for it.

use std::collections::BTreeMap;

use countersign_config::{Product, ProductKind};
use countersign_keys::store::usage::{Charged, JobUsage};
use countersign_keys::time::Timestamp;
use countersign_slurm::{Run, SlurmJobId};

use super::units::{Exact, Rate, Taken};

/// How much earlier than its submission a job may be in accounting, in seconds: clocks differ.
pub(super) const SLACK_S: i64 = 3_600;

/// How long after the end of its last run a job's figure is the last one, in seconds. Until then it
/// may be put back into the queue, and slurmdbd may be told of it late.
pub(super) const SETTLED_AFTER_S: i64 = 3_600;

/// What accounting says of a job.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Nothing, or nothing yet.
    Unknown,
    /// It is another account's.
    Foreign,
    /// It is a task of that array, or a part of that job, which has a figure for all of them.
    PartOf(SlurmJobId),
    /// No run has started.
    NotStarted,
    /// It has ended without a run.
    NeverRan,
    /// It runs or ran as no product of the site.
    NoProduct,
    /// Its figure does not fit into any number that Core takes.
    TooMuch(Charged),
    Used(Used),
}

/// What a job has used.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Used {
    pub(super) charged: Charged,
    pub(super) exact: Exact,
    /// The whole units in it.
    pub(super) whole: u64,
    /// Whether nothing is added to it any more.
    pub(super) is_last: bool,
}

/// Looks at a job. `runs` are the rows of its number and of its array.
pub(super) fn look(usage: &JobUsage, runs: &[Run], products: &[Product], now: Timestamp) -> Look {
    let (slurm_id, uid) = usage.key();
    // Numbers are reused: what was submitted long before is another job.
    let first_s = usage.submitted.seconds().saturating_sub(SLACK_S);
    let is_own = |run: &&Run| run.uid == uid.0 && run.submit.is_none_or(|submit| submit >= first_s);
    let own: Vec<&Run> = runs.iter().filter(is_own).collect();
    let Some(one) = own.first() else {
        // Accounting's first rows of a job name uid 0.
        let is_foreign = runs.iter().any(|run| run.uid != uid.0 && run.uid != 0);
        return if is_foreign { Look::Foreign } else { Look::Unknown };
    };
    if one.whole.get() != slurm_id {
        return Look::PartOf(one.whole);
    }
    let is_last = is_over(&own, now);
    let started = own.iter().filter(|run| run.start.is_some() && run.allocated.nodes.max(run.allocated.cpus) > 0);
    let Some(first) = started.clone().min_by_key(|run| (run.start, run.id)) else {
        return if is_last { Look::NeverRan } else { Look::NotStarted };
    };
    let charged = match &usage.charged {
        Some(charged) => Some(charged.clone()),
        None => product_of(products, first).map(|product| Charged {
            product: product.name.clone(),
            category: product.category.clone(),
            scope: scope(slurm_id, own.iter().filter_map(|run| run.submit).min().unwrap_or(0)),
        }),
    };
    let is_it = |product: &&Product, charged: &Charged| {
        product.name == charged.product && product.category == charged.category && product.kind == ProductKind::Compute
    };
    let product = charged.as_ref().and_then(|charged| products.iter().find(|product| is_it(product, charged)));
    let (Some(charged), Some(product)) = (charged, product) else { return Look::NoProduct };
    let rate = Rate::of(product);
    let counted = started.filter(|run| rate.is_periodic() || run.end.is_none());
    let taken = counted.map(|run| Taken {
        count: if product.machine.gpu > 0 { run.allocated.gpus } else { run.allocated.cpus },
        seconds: run.elapsed_s,
    });
    let exact = rate.exact(taken);
    match exact.and_then(|exact| Some((exact, exact.whole()?))) {
        Some((exact, whole)) => Look::Used(Used { charged, exact, whole, is_last }),
        None => Look::TooMuch(charged),
    }
}

/// Core's key for a job: Slurm's number and the time of its first submission, because numbers are
/// reused.
fn scope(slurm_id: u32, submitted: i64) -> String {
    format!("slurm-{slurm_id}-{submitted}")
}

/// Whether the last run of each job ended long ago.
fn is_over(runs: &[&Run], now: Timestamp) -> bool {
    let mut last: BTreeMap<SlurmJobId, &Run> = BTreeMap::new();
    for run in runs {
        let known = last.entry(run.id).or_insert(run);
        if (run.submit, run.start) >= (known.submit, known.start) {
            *known = run;
        }
    }
    let is_old = |end: i64| now.seconds().saturating_sub(end) >= SETTLED_AFTER_S;
    last.values().all(|run| run.state.is_final() && run.end.is_some_and(is_old))
}

/// The product as which a run was submitted: one whose partition, quality of service and account
/// are the run's, as far as the product sets them. Of several, the one that sets most of them, and
/// of those one with the run's machines.
pub(super) fn product_of<'p>(products: &'p [Product], run: &Run) -> Option<&'p Product> {
    let machines = products.iter().filter(|product| product.kind == ProductKind::Compute);
    let mut best: Option<((usize, bool), &Product)> = None;
    for product in machines {
        let place = &product.placement;
        let set = [(&place.partition, &run.partition), (&place.qos, &run.qos), (&place.account, &run.account)];
        if set.iter().any(|(wanted, is)| wanted.as_ref().is_some_and(|wanted| wanted != *is)) {
            continue;
        }
        let count = set.iter().filter(|(wanted, _)| wanted.is_some()).count();
        let rank = (count, is_of_machines(product, run));
        // The first of equals.
        if best.is_none_or(|(other, _)| rank > other) {
            best = Some((rank, product));
        }
    }
    best.map(|(_, product)| product)
}

/// Whether the run had whole machines of this product.
fn is_of_machines(product: &Product, run: &Run) -> bool {
    let of_all = |each: i64| u64::try_from(each).ok()?.checked_mul(run.allocated.nodes);
    let machine = &product.machine;
    of_all(machine.cpu.max(1)) == Some(run.allocated.cpus) && of_all(machine.gpu) == Some(run.allocated.gpus)
}

#[cfg(test)]
mod tests;
