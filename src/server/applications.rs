//! Applications that wait for an administrator's review.
//!
//! An account offers what UCloud sent it; this keeps the text, unread, until an administrator
//! decides. It approves nothing: the approved file is root's, and only `countersign apps approve`
//! writes it. Kept in memory: after a restart an application is offered again by the next job.

pub(crate) mod pending_table;

use countersign_keys::identity::Uid;

use crate::audit::record::AuditedAction;
use crate::connections::approval::{asker, is_administrator};
use crate::http::reply::Refusal;
use crate::state::Server;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    APPLICATIONS_DECIDE, ApplicationDecided, ApplicationDecision, ApplicationNamed, ApplicationOffered,
    ApplicationText, Empty, PendingApplications,
};
use countersign_os::quoted::word;

/// Keeps an application for review, as the word of a connected account.
pub(crate) fn offered(server: &Server, uid: Uid, offered: ApplicationOffered) -> Result<Empty, Refusal> {
    if server.records.usernames(uid)?.is_empty() {
        return Err(Refusal::not_found("this account is not connected to a UCloud user"));
    }
    server.pending_applications.offer(uid, offered, server.clock.now()?)?;
    Ok(Empty {})
}

pub(crate) fn pending(server: &Server, uid: Uid) -> Result<PendingApplications, Refusal> {
    require_administrator(uid)?;
    Ok(PendingApplications { applications: server.pending_applications.list() })
}

pub(crate) fn show(server: &Server, uid: Uid, named: &ApplicationNamed) -> Result<ApplicationText, Refusal> {
    require_administrator(uid)?;
    text_of(server, named)
}

/// Records an administrator's decision. A text that does not wait any longer is refused: another
/// was offered, or it was decided already.
pub(crate) fn decide(server: &Server, uid: Uid, decided: &ApplicationDecided) -> Result<ApplicationText, Refusal> {
    require_administrator(uid)?;
    let ApplicationDecided { application, decision } = decided;
    let text = text_of(server, application)?;
    let done = match decision {
        ApplicationDecision::Approve => "approve",
        ApplicationDecision::Written => "approved",
        ApplicationDecision::Reject => "reject",
    };
    let ApplicationNamed { name, version, digest } = application;
    let note = format!("{done} {} {} sha256:{digest}", word(name), word(version));
    let asker = asker(uid);
    // Recorded before it is done (P9).
    server.record(&AuditedAction { note: Some(&note), ..AuditedAction::of(&asker, APPLICATIONS_DECIDE) })?;
    if *decision != ApplicationDecision::Approve {
        server.pending_applications.remove(application, *decision);
    }
    Ok(text)
}

fn text_of(server: &Server, named: &ApplicationNamed) -> Result<ApplicationText, Refusal> {
    let gone = || Refusal::not_found("no application of this name, version and digest waits for a review");
    server
        .pending_applications
        .text(named)
        .map(|text| ApplicationText { invocation: text.to_string() })
        .ok_or_else(gone)
}

fn require_administrator(uid: Uid) -> Result<(), Refusal> {
    if is_administrator(uid) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::Forbidden, "only root, or the server's account, reviews applications"))
}

#[cfg(test)]
mod tests;
