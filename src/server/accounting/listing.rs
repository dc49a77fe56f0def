//! Lists usage for administrators: by category and owner, what UCloud was told and what waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::store::usage::{JobUsage, Owner, UsageTotal};

use crate::connections::approval::is_administrator;
use crate::http::reply::Refusal;
use crate::state::Server;
use crate::turns::Asker;
use countersign_config::{Frequency, Product};
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{OwnersUsage, USAGE_HELD_MAX, USAGE_PAGE, UsageList, UsagePage};

/// By category and owner.
type Rows = BTreeMap<(String, Owner), OwnersUsage>;

/// A page of what was reported, and of what waits.
pub(crate) async fn list(server: &Arc<Server>, uid: Uid, list: UsageList) -> Result<UsagePage, Refusal> {
    if !is_administrator(uid) {
        return Err(Refusal::new(ErrorCode::Forbidden, "only root, or the server's account, lists usage"));
    }
    let (records, served) = (Arc::clone(&server.records), server.config.served());
    let work = move || {
        let (usages, totals) = (records.usages()?, records.usage_totals()?);
        let unknown = usages.iter().filter(|usage| usage.charged.is_none()).count();
        let mut rows = rows(&usages, &totals, &served.products);
        let mut left = match list.after {
            Some(after) => rows.split_off(&after).into_iter().filter(|(key, _)| *key != after).collect(),
            None => rows,
        };
        let more = left.len() > USAGE_PAGE;
        let page = std::mem::take(&mut left).into_values().take(USAGE_PAGE).collect();
        Ok(UsagePage { rows: page, more, unknown: u64::try_from(unknown).unwrap_or(u64::MAX) })
    };
    server.blocking(Asker::Account(uid), work).await
}

fn rows(usages: &[JobUsage], totals: &[UsageTotal], products: &[Product]) -> Rows {
    let mut rows = Rows::new();
    for UsageTotal { category, owner, jobs, told, .. } in totals {
        let row = row(&mut rows, category, owner, products);
        row.reported = row.reported.saturating_add(*told);
        row.done = row.done.saturating_add(*jobs);
    }
    for usage in usages {
        let Some(charged) = &usage.charged else { continue };
        let row = row(&mut rows, &charged.category, &usage.owner, products);
        let (figure, told) = (usage.figure.unwrap_or(0), usage.told.unwrap_or(0));
        let new = figure.saturating_sub(told);
        row.under_way = row.under_way.saturating_add(1);
        row.reported = row.reported.saturating_add(told);
        if usage.is_held {
            row.held = row.held.saturating_add(new);
            if row.held_jobs.len() < USAGE_HELD_MAX {
                row.held_jobs.push(usage.slurm_id);
            }
        } else {
            row.waiting = row.waiting.saturating_add(new);
        }
    }
    rows
}

fn row<'r>(rows: &'r mut Rows, category: &str, owner: &Owner, products: &[Product]) -> &'r mut OwnersUsage {
    rows.entry((category.to_owned(), owner.clone())).or_insert_with(|| OwnersUsage {
        category: category.to_owned(),
        owner: owner.clone(),
        unit: products.iter().find(|product| product.category == category).map(unit).unwrap_or_default(),
        reported: 0,
        waiting: 0,
        held: 0,
        done: 0,
        under_way: 0,
        held_jobs: Vec::new(),
    })
}

/// The unit of a product's category, as UCloud shows it.
fn unit(product: &Product) -> String {
    let unit = &product.accounting.unit;
    match product.accounting.frequency {
        Frequency::Once => unit.clone(),
        Frequency::Minute => format!("{unit}-minutes"),
        Frequency::Hour => format!("{unit}-hours"),
        Frequency::Day => format!("{unit}-days"),
    }
}
