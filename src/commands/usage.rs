//! `countersign usage`: shows administrators what UCloud was told of usage, and what waits.

use std::path::Path;

use countersign_keys::store::usage::Owner;

use crate::arguments::Output;
use crate::commands::administrator::load_config;
use crate::commands::error::CommandError;
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{Width, show, show_json, show_table};
use countersign_ipc::server_protocol::{OwnersUsage, USAGE_LIST, UsageList, UsagePage};
use countersign_os::quoted::word;

pub(super) fn list(output: Output, path: &Path) -> Result<(), CommandError> {
    let config = load_config(path)?;
    let server = ServerLine::of(&config)?;
    let mut rows: Vec<OwnersUsage> = Vec::new();
    let unknown = loop {
        let after = rows.last().map(|last| (last.category.clone(), last.owner.clone()));
        let UsagePage { rows: page, more, unknown } = server.ask(USAGE_LIST, &UsageList { after })?;
        let is_last = !more || page.is_empty();
        rows.extend(page);
        if is_last {
            break unknown;
        }
    };
    if output.json {
        return show_json(&serde_json::json!({ "usage": rows, "unknownJobs": unknown }));
    }
    if config.accounting.is_none() {
        show("No usage is reported: there is no [accounting] in the configuration.")?;
    }
    let shown: Vec<[String; 8]> = rows.iter().map(columns).collect();
    if shown.is_empty() {
        show("No job has used anything yet.")?;
    } else {
        let header = ["CATEGORY", "OWNER", "UNIT", "REPORTED", "WAITING", "HELD", "JOBS", "HELD JOBS"];
        show_table(header, &shown, Width::Terminal)?;
    }
    if unknown > 0 {
        show(&format!("\nOf {unknown} jobs Slurm's accounting has recorded no run yet."))?;
    }
    Ok(())
}

fn columns(row: &OwnersUsage) -> [String; 8] {
    let owner = match &row.owner {
        Owner::User(username) => word(username.as_str()),
        Owner::Project(project) => format!("project {}", word(project.as_str())),
    };
    let held: Vec<String> = row.held_jobs.iter().map(ToString::to_string).collect();
    let jobs = row.done.saturating_add(row.under_way).to_string();
    let held = if held.is_empty() { "-".to_owned() } else { held.join(",") };
    let [reported, waiting, kept] = [row.reported, row.waiting, row.held].map(|units| units.to_string());
    [word(&row.category), owner, word(&row.unit), reported, waiting, kept, jobs, held]
}
