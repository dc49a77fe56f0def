//! Users' choices of a job beside its application's parameters: the Slurm account and modules, as
//! their own instances report them, and the site's text.
//!
//! UCloud asks before the user has signed anything, with Core's token alone. So no request of
//! Core's reaches an instance: the answer is the report of the instance, as far as the
//! configuration asks for it (decision 213). The gateway passes on nothing of the request but the
//! user's name.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_config::{ACCOUNT_PARAMETER, MODULES_PARAMETER, Slurm};
use countersign_ipc::server_protocol::{Empty, JobChoices};
use countersign_keys::identity::{Uid, Username};
use serde_json::{Value, json};

use crate::connections::expiry::Standing;
use crate::http::reply::Refusal;
use crate::jobs::choice_table::Choices;
use crate::state::{Server, log_failure};

/// Most Slurm accounts and modules of a report, and the longest name, in bytes.
const ACCOUNTS_MAX: usize = 100;
const MODULES_MAX: usize = 2_000;
const NAME_MAX: usize = 128;

/// Keeps what an account's instance reports.
pub(crate) fn reported(server: &Server, uid: Uid, choices: JobChoices) -> Result<Empty, Refusal> {
    let Some(slurm) = &server.config.slurm else {
        return Err(Refusal::not_found("this provider starts no jobs"));
    };
    if server.records.usernames(uid)?.is_empty() {
        return Err(Refusal::not_found("this account is not connected"));
    }
    let is_name =
        |name: &String| (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let are_names = |names: &[String], max: usize| names.len() <= max && names.iter().all(is_name);
    if !are_names(&choices.accounts, ACCOUNTS_MAX) || !are_names(&choices.modules, MODULES_MAX) {
        return Err(Refusal::bad_request("these are not names of Slurm accounts and modules"));
    }
    let JobChoices { accounts, modules } = choices;
    let accounts = if slurm.asks.account { accounts } else { Vec::new() };
    let modules = if slurm.asks.modules { modules } else { Vec::new() };
    server.choices.keep(uid, JobChoices { accounts, modules });
    Ok(Empty {})
}

/// The answer to `jobs/requestDynamicParameters`, for the user whom Core names.
pub(crate) fn parameters(server: &Server, username: Option<&Username>) -> Value {
    let Some(slurm) = &server.config.slurm else { return json!({ "parameters": [] }) };
    let mut parameters: Vec<Value> = readme(slurm).into_iter().collect();
    if let Some(choices) = username.and_then(|username| choices_of(server, username)) {
        parameters.extend(account(&choices.accounts));
        parameters.extend(modules(&choices.modules));
    }
    json!({ "parameters": parameters })
}

/// What the user's account has reported; `None` for a user who is not connected.
fn choices_of(server: &Server, username: &Username) -> Option<Arc<Choices>> {
    let now = server.clock.now().ok()?;
    match server.standing(username, now) {
        Ok(Standing::InForce(connection)) => server.choices.of(connection.uid),
        Ok(Standing::None | Standing::Over(_)) => None,
        Err(failure) => {
            log_failure("cannot look up a user", &failure);
            None
        }
    }
}

fn readme(slurm: &Slurm) -> Option<Value> {
    let text = match slurm.readme.as_ref()?.read() {
        Ok(text) => text,
        Err(failure) => {
            log_failure("cannot read slurm.readme", &failure);
            return None;
        }
    };
    Some(json!({
        "type": "readme", "name": "__readme__", "optional": true, "title": "README", "description": text,
        "defaultValue": null,
    }))
}

/// A choice is worth asking if there are several.
fn account(accounts: &[String]) -> Option<Value> {
    let names: BTreeSet<&String> = accounts.iter().collect();
    let options: Vec<Value> = names.iter().map(|name| json!({ "name": name, "value": name })).collect();
    (options.len() > 1).then(|| {
        json!({
            "type": "enumeration", "name": ACCOUNT_PARAMETER, "optional": true, "title": "Slurm account",
            "description": "The account at Slurm for this job. Without one Slurm takes your default account.",
            "defaultValue": null, "options": options,
        })
    })
}

fn modules(modules: &[String]) -> Option<Value> {
    let supported = modules.iter().map(|name| {
        json!({
            "name": name, "description": "", "shortDescription": "", "dependsOn": [], "documentationUrl": "",
        })
    });
    let supported: Vec<Value> = supported.collect();
    (!supported.is_empty()).then(|| {
        json!({
            "type": "modules", "name": MODULES_PARAMETER, "optional": true, "title": "Modules",
            "description": "Modules that are loaded before the application starts.",
            "defaultValue": [], "supportedModules": supported,
        })
    })
}

#[cfg(test)]
mod tests;
