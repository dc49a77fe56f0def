//! Lists projects and members for administrators, in pages.

use std::sync::Arc;

use countersign_keys::identity::{ProjectId, Uid, Username};
use countersign_keys::store::projects::{Member, MemberState, ProjectRecord};
use countersign_keys::time::Timestamp;

use super::rules::{Waiting, waiting};
use crate::connections::approval::is_administrator;
use crate::connections::expiry::Standing;
use crate::http::reply::Refusal;
use crate::state::Server;
use crate::turns::Asker;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    ListedMember, ListedProject, MemberWaits, PROJECT_MEMBERS_PAGE, PROJECTS_PAGE, ProjectMembers, ProjectMembersList,
    Projects, ProjectsList,
};

pub(crate) fn require_administrator(server: &Server, uid: Uid) -> Result<(), Refusal> {
    if server.config.projects.is_none() {
        return Err(Refusal::not_found("this provider takes no part in projects: there is no [projects]"));
    }
    if is_administrator(uid) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::Forbidden, "only root, or the server's account, sees and decides about projects"))
}

pub(crate) fn projects(server: &Server, uid: Uid, list: &ProjectsList) -> Result<Projects, Refusal> {
    require_administrator(server, uid)?;
    let projects = server.projects.lock();
    let mut after = projects.values().filter(|project| list.after.as_ref().is_none_or(|after| project.id > *after));
    let page: Vec<ListedProject> = after.by_ref().take(PROJECTS_PAGE).map(listed_project).collect();
    Ok(Projects { projects: page, more: after.next().is_some() })
}

/// Members of one project or of all, of whom something waits or all.
pub(crate) async fn members(
    server: &Arc<Server>,
    uid: Uid,
    list: ProjectMembersList,
) -> Result<ProjectMembers, Refusal> {
    require_administrator(server, uid)?;
    if let Some(project) = &list.project
        && server.projects.one(project).is_none()
    {
        return Err(Refusal::not_found("UCloud has described no project of this id"));
    }
    let now = server.clock.now()?;
    let found = Arc::clone(server);
    server.blocking(Asker::Account(uid), move || page_of_members(&found, &list, now)).await
}

/// What waits about a member, in the words of the socket.
pub(crate) fn what_waits(member: &Member) -> Option<MemberWaits> {
    waiting(member).map(|waits| match waits {
        Waiting::Addition => MemberWaits::Addition,
        Waiting::HigherRole => MemberWaits::Role,
        Waiting::Removal => MemberWaits::Removal,
    })
}

fn page_of_members(server: &Server, list: &ProjectMembersList, now: Timestamp) -> Result<ProjectMembers, Refusal> {
    let is_after = |project: &ProjectId, username: &Username| {
        list.after.as_ref().is_none_or(|(last, name)| (project, username) > (last, name))
    };
    let mut members = Vec::new();
    // The account database and the store are asked without the lock.
    let ids: Vec<ProjectId> = server.projects.lock().keys().cloned().collect();
    for id in ids {
        let is_asked = list.project.as_ref().is_none_or(|asked| *asked == id)
            && list.after.as_ref().is_none_or(|(last, _)| id >= *last);
        let Some(project) = server.projects.one(&id).filter(|_| is_asked) else { continue };
        for (username, member) in &project.members {
            let waits = what_waits(member);
            if !is_after(&id, username) || (list.waiting && waits.is_none()) {
                continue;
            }
            let account = match server.standing(username, now)? {
                Standing::InForce(connection) => Some(connection.account),
                Standing::None | Standing::Over(_) => None,
            };
            if list.connected && account.is_none() {
                continue;
            }
            if members.len() >= PROJECT_MEMBERS_PAGE {
                return Ok(ProjectMembers { members, more: true });
            }
            members.push(listed_member(&project, username, member, waits, account));
        }
    }
    Ok(ProjectMembers { members, more: false })
}

fn listed_project(project: &ProjectRecord) -> ListedProject {
    let count = |is_so: fn(&Member) -> bool| project.members.values().filter(|member| is_so(member)).count();
    ListedProject {
        id: project.id.clone(),
        title: project.title.clone(),
        group: project.group,
        is_archived: project.is_archived,
        confirmed: count(|member| member.confirmed().is_some()),
        waiting: count(|member| waiting(member).is_some()),
    }
}

fn listed_member(
    project: &ProjectRecord,
    username: &Username,
    member: &Member,
    waits: Option<MemberWaits>,
    account: Option<String>,
) -> ListedMember {
    let by = match &member.state {
        MemberState::Pending => None,
        MemberState::Confirmed { by, .. } => Some(by.clone()),
    };
    ListedMember {
        project: project.id.clone(),
        title: project.title.clone(),
        username: username.clone(),
        role: member.role,
        since: member.leaving.unwrap_or(member.since),
        confirmed: member.confirmed(),
        by,
        waits,
        account,
    }
}
