//! `countersign projects`: shows administrators whom UCloud lists in projects, and takes their
//! decisions.
//!
//! Names, roles and titles are UCloud's word and are escaped. A decision names what was shown, so
//! the server refuses it if UCloud has changed the member meanwhile.

use std::path::Path;

use countersign_keys::identity::{ProjectId, Username};
use serde_json::json;

use crate::arguments::{Output, ProjectsDecide, ProjectsPending, ProjectsShow};
use crate::commands::administrator::load_config;
use crate::commands::error::CommandError;
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{Consent, Width, show, show_json, show_table};
use crate::commands::text::moment;
use countersign_ipc::server_protocol::{
    DecidedMember, Empty, ListedMember, ListedProject, MemberWaits, PROJECTS_DECIDE, PROJECTS_DECIDED_MAX,
    PROJECTS_LIST, PROJECTS_MEMBERS, ProjectMembers, ProjectMembersList, Projects, ProjectsDecided, ProjectsDecision,
    ProjectsList,
};
use countersign_os::quoted::word;

/// `projects list`
pub(super) fn list(output: Output, path: &Path) -> Result<(), CommandError> {
    let server = ServerLine::of(&load_config(path)?)?;
    let mut projects: Vec<ListedProject> = Vec::new();
    loop {
        let after = projects.last().map(|last| last.id.clone());
        let Projects { projects: page, more } = server.ask(PROJECTS_LIST, &ProjectsList { after })?;
        let is_last = !more || page.is_empty();
        projects.extend(page);
        if is_last {
            break;
        }
    }
    if output.json {
        return show_json(&projects);
    }
    if projects.is_empty() {
        return show("UCloud has described no project.");
    }
    let rows: Vec<[String; 6]> = projects
        .iter()
        .map(|project| {
            let group = project.group.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let archived = if project.is_archived { "archived" } else { "-" };
            let (confirmed, waiting) = (project.confirmed.to_string(), project.waiting.to_string());
            [project.id.to_string(), group, confirmed, waiting, archived.to_owned(), word(&project.title)]
        })
        .collect();
    show_table(["PROJECT", "GROUP", "MEMBERS", "WAITING", "STATE", "TITLE"], &rows, Width::Terminal)
}

/// `projects pending`
pub(super) fn pending(arguments: ProjectsPending, path: &Path) -> Result<(), CommandError> {
    let server = ServerLine::of(&load_config(path)?)?;
    let asked = ProjectMembersList { waiting: true, connected: !arguments.all, ..ProjectMembersList::default() };
    let members = members(&server, &asked)?;
    if members.is_empty() && !arguments.output.json {
        return show("Nothing waits about a member who is connected here.");
    }
    show_members(&members, arguments.output)
}

/// `projects show`
pub(super) fn show_one(arguments: &ProjectsShow, path: &Path) -> Result<(), CommandError> {
    let project = ProjectId::parse(&arguments.project)?;
    let server = ServerLine::of(&load_config(path)?)?;
    let members = members(&server, &ProjectMembersList { project: Some(project), ..ProjectMembersList::default() })?;
    show_members(&members, arguments.output)
}

/// `projects approve`
pub(super) fn approve(arguments: &ProjectsDecide, path: &Path) -> Result<(), CommandError> {
    decide(arguments, ProjectsDecision::Approve, path)
}

/// `projects reject`
pub(super) fn reject(arguments: &ProjectsDecide, path: &Path) -> Result<(), CommandError> {
    decide(arguments, ProjectsDecision::Reject, path)
}

fn decide(arguments: &ProjectsDecide, decision: ProjectsDecision, path: &Path) -> Result<(), CommandError> {
    let consent = Consent::from_flag(arguments.yes);
    consent.require_someone()?;
    let project = ProjectId::parse(&arguments.project)?;
    let named = arguments.usernames.iter().map(|name| Username::parse(name)).collect::<Result<Vec<_>, _>>()?;
    if named.len() > PROJECTS_DECIDED_MAX {
        return Err(CommandError::Incomplete("too many members for one decision: name 25 at most"));
    }
    let server = ServerLine::of(&load_config(path)?)?;
    let mut listed =
        members(&server, &ProjectMembersList { project: Some(project.clone()), ..ProjectMembersList::default() })?;
    listed.retain(|member| named.contains(&member.username));
    if !named.iter().all(|name| listed.iter().any(|member| member.username == *name)) {
        return Err(CommandError::Incomplete("UCloud lists no such member: see countersign projects show"));
    }
    show_members(&listed, Output { json: false })?;
    consent.ask(match decision {
        ProjectsDecision::Approve => "Approve this?",
        ProjectsDecision::Reject => "Reject this?",
    })?;
    let as_seen = |member: &ListedMember| DecidedMember {
        username: member.username.clone(),
        role: member.role,
        waits: member.waits,
    };
    let decided = ProjectsDecided { project, members: listed.iter().map(as_seen).collect(), decision };
    server.ask::<_, Empty>(PROJECTS_DECIDE, &decided)?;
    show(match decision {
        ProjectsDecision::Approve => "Approved.",
        ProjectsDecision::Reject => "Rejected.",
    })
}

/// All members that fit, page by page.
fn members(server: &ServerLine, asked: &ProjectMembersList) -> Result<Vec<ListedMember>, CommandError> {
    let mut members: Vec<ListedMember> = Vec::new();
    loop {
        let after = members.last().map(|last| (last.project.clone(), last.username.clone()));
        let question = ProjectMembersList { after, ..asked.clone() };
        let ProjectMembers { members: page, more } = server.ask(PROJECTS_MEMBERS, &question)?;
        let is_last = !more || page.is_empty();
        members.extend(page);
        if is_last {
            return Ok(members);
        }
    }
}

fn show_members(members: &[ListedMember], output: Output) -> Result<(), CommandError> {
    if output.json {
        return show_json(&json!(members));
    }
    let rows: Vec<[String; 7]> = members
        .iter()
        .map(|member| {
            let account = member.account.as_deref().map_or_else(|| "-".to_owned(), word);
            let waits = match member.waits {
                None => "-",
                Some(MemberWaits::Addition) => "to be admitted",
                Some(MemberWaits::Role) => "to get a higher role",
                Some(MemberWaits::Removal) => "to be removed",
            };
            let (role, confirmed) = (member.role.word(), member.confirmed.map_or("-", |role| role.word()));
            [
                word(member.username.as_str()),
                account,
                role.to_owned(),
                confirmed.to_owned(),
                waits.to_owned(),
                moment(member.since),
                format!("{} {}", member.project, word(&member.title)),
            ]
        })
        .collect();
    show_table(["USERNAME", "ACCOUNT", "ROLE", "CONFIRMED", "WAITS", "SINCE", "PROJECT"], &rows, Width::Wide)
}
