//! `countersign apps`: reviews the applications that users' jobs may run.
//!
//! The server keeps what accounts offered, unread; the text is their word. This program reads it
//! strictly and shows it. Only `approve` writes: one file of root's, so that neither the server nor
//! a user can change what was approved. It runs as root for that reason, and does nothing else.

mod approved_file;
pub(super) mod review_failure;

use std::path::Path;

use countersign_applications::{Catalogue, Difference, Digest, Invocation, NotApproved, contents, differences};
use nix::unistd::geteuid;
use serde::Serialize;

use crate::arguments::{AppsApprove, AppsDiff, AppsNamed, AppsReject, AppsShow, Output};
use crate::commands::administrator::load_config;
use crate::commands::apps::approved_file::write;
use crate::commands::apps::review_failure::ReviewFailure;
use crate::commands::error::CommandError;
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{Consent, Width, show, show_json, show_table};
use crate::commands::text::moment;
use countersign_config::{Config, Reader, Role};
use countersign_ipc::server_protocol::{
    APPLICATIONS_DECIDE, APPLICATIONS_PENDING, APPLICATIONS_SHOW, ApplicationDecided, ApplicationDecision,
    ApplicationNamed, ApplicationText, Empty, PendingApplication, PendingApplications,
};
use countersign_os::quoted::{escaped, word};

/// Digits of a digest that a table shows. Commands take as many or more.
const DIGEST_SHOWN: usize = 16;

/// `apps pending`
pub(super) fn pending(output: Output, path: &Path) -> Result<(), CommandError> {
    let config = load_config(path)?;
    let pending = waiting(&ServerLine::of(&config)?)?;
    if output.json {
        return show_json(&pending);
    }
    if pending.is_empty() {
        return show("No application waits for a review.");
    }
    let rows: Vec<[String; 5]> = pending
        .iter()
        .map(|PendingApplication { name, version, digest, uid, offered }| {
            let digest = digest.chars().take(DIGEST_SHOWN).collect();
            [word(name), word(version), digest, uid.to_string(), moment(*offered)]
        })
        .collect();
    show_table(["NAME", "VERSION", "DIGEST", "OFFERED BY UID", "SINCE"], &rows, Width::Terminal)
}

/// `apps show`
pub(super) fn show_one(arguments: &AppsShow, path: &Path) -> Result<(), CommandError> {
    let config = load_config(path)?;
    let (named, invocation) = reviewed(&ServerLine::of(&config)?, &arguments.named)?;
    let described = contents(&invocation);
    if arguments.output.json {
        return show_json(&Shown { application: &named, invocation: invocation.indented() });
    }
    show(&format!(
        "{} {}, as an account offered it. SHA-256: {}\n",
        word(&named.name),
        word(&named.version),
        named.digest
    ))?;
    show_differences(&described)
}

/// `apps diff`
pub(super) fn diff(arguments: &AppsDiff, path: &Path) -> Result<(), CommandError> {
    let config = load_config(path)?;
    let (named, new) = reviewed(&ServerLine::of(&config)?, &arguments.named)?;
    let catalogue = catalogue(&config);
    let (version, old) = before(&catalogue, &named, arguments.with.as_deref())?;
    let found = differences(&old, &new);
    if arguments.output.json {
        let found: Vec<_> = found.into_iter().map(|one| Change { subject: one.subject, lines: one.lines }).collect();
        return show_json(&serde_json::json!({ "from": version, "to": named, "differences": found }));
    }
    let (name, to) = (word(&named.name), word(&named.version));
    if found.is_empty() {
        return show(&format!("{name} {to} is the same as the approved version {}.", word(&version)));
    }
    show(&format!("From the approved version {} to what was offered as {name} {to}:\n", word(&version)))?;
    show_differences(&found)
}

/// `apps approve`
pub(super) fn approve(arguments: &AppsApprove, path: &Path) -> Result<(), CommandError> {
    let consent = Consent::from_flag(arguments.yes);
    consent.require_someone()?;
    if !geteuid().is_root() {
        return Err(ReviewFailure::NotRoot.into());
    }
    let config = Config::load_for_command(path)?;
    let server = ServerLine::of(&config)?;
    let (named, invocation) = reviewed(&server, &arguments.named)?;
    let catalogue = catalogue(&config);
    let file = catalogue.path(&named.name, &named.version).map_err(|name| ReviewFailure::Approved(name.into()))?;
    let (name, version) = (word(&named.name), word(&named.version));
    match before(&catalogue, &named, None) {
        Ok((old_version, old)) => {
            show(&format!("From the approved version {} to {name} {version}:\n", word(&old_version)))?;
            show_differences(&differences(&old, &invocation))?;
        }
        Err(CommandError::Review(ReviewFailure::NothingToCompare)) => show_differences(&contents(&invocation))?,
        Err(failure) => return Err(failure),
    }
    show(&format!("\nSHA-256: {}\nFile:    {}", named.digest, file.display()))?;
    consent.ask(&format!("May users' jobs run {name} {version}?"))?;
    // The server refuses a digest that does not wait any longer, and records the decision (P9).
    decide(&server, &named, ApplicationDecision::Approve)?;
    write(&config.applications.folder, &file, invocation.indented().as_bytes())?;
    decide(&server, &named, ApplicationDecision::Written)?;
    show(&format!("{name} {version} is approved."))
}

/// `apps reject`
pub(super) fn reject(arguments: &AppsReject, path: &Path) -> Result<(), CommandError> {
    let consent = Consent::from_flag(arguments.yes);
    consent.require_someone()?;
    let config = load_config(path)?;
    let server = ServerLine::of(&config)?;
    let named = find(&server, &arguments.named)?;
    let (name, version) = (word(&named.name), word(&named.version));
    consent.ask(&format!("Reject {name} {version}, sha256:{}?", named.digest))?;
    decide(&server, &named, ApplicationDecision::Reject)?;
    show(&format!("{name} {version} is rejected."))
}

/// `apps list`
pub(super) fn list(output: Output, path: &Path) -> Result<(), CommandError> {
    let config = load_config(path)?;
    let catalogue = catalogue(&config);
    let folder = &config.applications.folder;
    let listed = catalogue.list().map_err(|source| CommandError::File { path: folder.clone(), source })?;
    let listed: Vec<Listed> = listed
        .into_iter()
        .map(|one| {
            let read = catalogue.read(&one.name, &one.version);
            let state = match &read {
                Ok(invocation) => hex(invocation.digest()),
                Err(refused) => format!("refused: {}", countersign_os::log::Chain(refused)),
            };
            Listed { name: one.name, version: one.version, is_usable: read.is_ok(), digest: state }
        })
        .collect();
    if output.json {
        return show_json(&listed);
    }
    if listed.is_empty() {
        return show(&format!("No application is approved: there is none in {}.", folder.display()));
    }
    let rows: Vec<[String; 3]> =
        listed.iter().map(|one| [word(&one.name), word(&one.version), escaped(&one.digest)]).collect();
    show_table(["NAME", "VERSION", "SHA-256"], &rows, Width::Wide)
}

/// An approved application, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    version: String,
    is_usable: bool,
    /// Or why it is refused.
    digest: String,
}

#[derive(Debug, Serialize)]
struct Shown<'s> {
    application: &'s ApplicationNamed,
    invocation: String,
}

#[derive(Debug, Serialize)]
struct Change {
    subject: String,
    lines: Vec<String>,
}

fn catalogue(config: &Config) -> Catalogue {
    Catalogue::at(&config.applications, Reader::own(Role::Command).uid)
}

fn waiting(server: &ServerLine) -> Result<Vec<PendingApplication>, CommandError> {
    let PendingApplications { applications } = server.ask(APPLICATIONS_PENDING, &Empty {})?;
    Ok(applications)
}

/// The one application that the arguments name.
fn find(server: &ServerLine, arguments: &AppsNamed) -> Result<ApplicationNamed, CommandError> {
    let AppsNamed { name, version, digest } = arguments;
    let is_meant = |one: &PendingApplication| {
        let is_digest = digest
            .as_ref()
            .is_none_or(|digest| digest.len() >= DIGEST_SHOWN && one.digest.starts_with(&digest.to_ascii_lowercase()));
        one.name == *name && one.version == *version && is_digest
    };
    let mut meant = waiting(server)?.into_iter().filter(is_meant);
    let one = meant.next().ok_or(ReviewFailure::NotPending)?;
    if meant.next().is_some() {
        return Err(ReviewFailure::Ambiguous.into());
    }
    Ok(ApplicationNamed { name: one.name, version: one.version, digest: one.digest })
}

/// The application that the arguments name, read and checked.
fn reviewed(server: &ServerLine, arguments: &AppsNamed) -> Result<(ApplicationNamed, Invocation), CommandError> {
    let named = find(server, arguments)?;
    let ApplicationText { invocation } = server.ask(APPLICATIONS_SHOW, &named)?;
    let invocation = Invocation::parse(invocation.as_bytes()).map_err(ReviewFailure::Refused)?;
    if hex(invocation.digest()) != named.digest {
        return Err(ReviewFailure::OtherDigest.into());
    }
    Ok((named, invocation))
}

fn decide(server: &ServerLine, named: &ApplicationNamed, decision: ApplicationDecision) -> Result<(), CommandError> {
    let decided = ApplicationDecided { application: named.clone(), decision };
    server.ask::<_, ApplicationText>(APPLICATIONS_DECIDE, &decided).map(|_| ())
}

/// The approved application to compare with: the named version, the same one, or the last in the
/// order of versions.
fn before(
    catalogue: &Catalogue,
    named: &ApplicationNamed,
    with: Option<&str>,
) -> Result<(String, Invocation), CommandError> {
    let version = with.unwrap_or(&named.version);
    match catalogue.read(&named.name, version) {
        Ok(invocation) => return Ok((version.to_owned(), invocation)),
        Err(NotApproved::Unknown) if with.is_none() => {}
        Err(refused) => return Err(ReviewFailure::Approved(refused).into()),
    }
    let listed = catalogue.list().unwrap_or_default();
    let last = listed.into_iter().rfind(|one| one.name == named.name).ok_or(ReviewFailure::NothingToCompare)?;
    let invocation = catalogue.read(&last.name, &last.version).map_err(ReviewFailure::Approved)?;
    Ok((last.version, invocation))
}

/// Each line is escaped: the text is a user's word.
fn show_differences(found: &[Difference]) -> Result<(), CommandError> {
    for Difference { subject, lines } in found {
        match lines.as_slice() {
            [line] => show(&format!("{}: {}", escaped(subject), escaped(line)))?,
            lines => {
                show(&format!("{}:", escaped(subject)))?;
                lines.iter().try_for_each(|line| show(&format!("  {}", escaped(line))))?;
            }
        }
    }
    Ok(())
}

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
