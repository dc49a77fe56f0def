//! Checks every value as typed, and collects every problem.
//!
//! A function that returns `None` has reported why. [`Config::check`] returns a [`Config`] only
//! without a problem.

mod accounting;
mod applications;
mod audit;
mod findings;
mod outside;
mod products;
mod projects;
mod served;
mod slurm;
mod users;
mod watching;

use std::path::Path;

use serde::Deserialize as _;
use toml::de::{DeTable, Deserializer};

use crate::check::findings::{Findings, PROBLEMS_MAX, Site};
use crate::check::products::Jobs;
use crate::current::Current;
use crate::file::File;
use crate::problem::{ConfigError, Reason};
use crate::spans;
use crate::{Config, Core, Gateway, Instances, Launch, Product, Reader, Role, Served};

impl Config {
    /// Checks a configuration's text as if it had been read from `path`, for that reader.
    pub(super) fn check(text: &str, path: &Path, reader: Reader) -> Result<Self, ConfigError> {
        let mut findings = Findings { text, problems: Vec::new() };
        let config = typed(&mut findings).and_then(|file| meant(file, path, reader, &mut findings));
        match config {
            Some(config) if findings.problems.is_empty() => Ok(config),
            _ => Err(findings.into_error(path)),
        }
    }
}

/// Parses the file. Reports and removes what does not fit the schema, so that the rest is checked
/// too.
fn typed(findings: &mut Findings<'_>) -> Option<File> {
    let (original, errors) = DeTable::parse_recoverable(findings.text);
    for error in &errors {
        findings.add("", error.span(), Reason::Syntax(error.message().to_owned()));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut rest = original.clone();
    while findings.problems.len() < PROBLEMS_MAX {
        let error = match File::deserialize(Deserializer::from(rest.clone())) {
            Ok(file) => return Some(file),
            Err(error) => error,
        };
        let span = error.span();
        let key = span.as_ref().and_then(|span| spans::path_of(original.get_ref(), span));
        findings.add(&key.unwrap_or_default(), span.clone(), Reason::Shape(in_words(error.message())));
        if !span.is_some_and(|span| spans::remove(rest.get_mut(), &span)) {
            return None;
        }
    }
    None
}

/// Rephrases the parser's message in the terms of this file.
fn in_words(message: &str) -> String {
    match message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", ")) {
        Some((_field, expected)) => format!("unknown key, {expected}"),
        None => message
            .replace("expected a sequence", "expected an array")
            .replace("expected i64", "expected a whole number")
            .replace("unknown variant", "unknown word"),
    }
}

fn meant(file: File, path: &Path, reader: Reader, findings: &mut Findings<'_>) -> Option<Config> {
    let base = path.parent().unwrap_or(Path::new("/"));
    let site = Site { base, reader };
    let provider = outside::provider(file.provider, site, findings);
    let core = outside::core(file.core, site, findings);
    let gateway = outside::gateway(file.gateway, provider.as_ref(), core.as_ref(), site, findings);
    let calls = served::calls(&file.calls, provider.as_ref().map(|provider| &provider.id), findings);
    let (calls, site_calls) = calls.unzip();
    let intent = users::intent(file.intent, calls.as_deref(), findings);
    let sessions = users::sessions(&file.sessions, findings);
    let (uid_min, idle_stop) = users::instance_limits(&file.instances, findings).unzip();
    let instances = users::instances(file.instances, gateway.as_ref(), findings);
    let mapping = users::mapping(file.mapping, site, findings);
    let jobs = if file.slurm.is_some() { Jobs::Started } else { Jobs::NotStarted };
    let products = products::products(file.products, jobs, site, findings);
    let drives = served::drives(file.drives, &products, findings);
    let slurm = slurm::slurm(file.slurm, &drives, site, findings);
    let projects = projects::projects(file.projects, site, findings);
    let accounting = accounting::accounting(file.accounting, site, findings);
    let ssh = served::ssh(&file.ssh);
    let terminals = served::terminals(&file.terminals);
    let applications = applications::applications(file.applications, site, findings);
    let connection = users::connection(file.connection, findings);
    let maintenance = users::maintenance(file.maintenance, findings);
    if reader.role == Role::Instance {
        refuse_secrets_within_reach(core.as_ref(), gateway.as_ref(), &products, instances.as_ref(), findings);
    }
    let ipc = served::ipc(file.ipc, site, findings);
    let state = served::state(file.state, site, findings);
    let audit = audit::audit(file.audit, site, findings);
    let listen = gateway.as_ref().map(|gateway| gateway.listen.as_slice()).unwrap_or_default();
    let metrics = watching::metrics(file.metrics, listen, site, findings);
    let alarms = watching::alarms(file.alarms, site, findings);
    let current = Served {
        intent: intent?,
        sessions: sessions?,
        uid_min: uid_min?,
        idle_stop: idle_stop?,
        drives,
        products,
        ssh,
        terminals,
        connection: connection?,
        maintenance,
        calls: calls?,
        site_calls: site_calls?,
    };
    Some(Config {
        file: path.to_owned(),
        provider: provider?,
        core: core?,
        gateway: gateway?,
        instances: instances?,
        mapping: mapping?,
        slurm: slurm.map_or(Some(None), |slurm| slurm.map(Some))?,
        projects: projects.map_or(Some(None), |projects| projects.map(Some))?,
        accounting: accounting?,
        applications: applications?,
        ipc: ipc?,
        state: state?,
        audit: audit?,
        metrics: metrics?,
        alarms: alarms?,
        current: Current::new(current, findings.text),
    })
}

/// Refuses secrets that this account can open: an instance started by the server runs as a user.
fn refuse_secrets_within_reach(
    core: Option<&Core>,
    gateway: Option<&Gateway>,
    products: &[Product],
    instances: Option<&Instances>,
    findings: &mut Findings<'_>,
) {
    if instances.is_some_and(|instances| instances.launch != Launch::Sudo) {
        return;
    }
    let token = core.and_then(|core| core.refresh_token.as_ref()).map(|file| ("core.refresh_token", file));
    let key = gateway.and_then(|gateway| gateway.tls.as_ref()).map(|tls| ("gateway.tls.key", &tls.key));
    let licences = products.iter().filter_map(|product| product.licence.as_ref()?.key.as_ref());
    let licences = licences.map(|file| ("products.key", file));
    for (name, file) in token.into_iter().chain(key).chain(licences) {
        if file.is_within_reach() {
            findings.add(name, None, Reason::WithinReach(file.path().to_owned()));
        }
    }
}
