//! Messages about projects, for administrators alone.

use countersign_keys::identity::{ProjectId, Username};
use countersign_keys::store::projects::ProjectRole;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Lists projects. [`ProjectsList`] → [`Projects`].
pub const PROJECTS_LIST: &str = "/projects/list";
/// Lists members. [`ProjectMembersList`] → [`ProjectMembers`].
pub const PROJECTS_MEMBERS: &str = "/projects/members";
/// Decides what waits about members of a project. [`ProjectsDecided`] → `{}`.
pub const PROJECTS_DECIDE: &str = "/projects/decide";

/// Most projects in an answer: with the longest titles it fits into [`super::BODY_MAX`].
pub const PROJECTS_PAGE: usize = 100;

/// Most members in an answer, for the same reason.
pub const PROJECT_MEMBERS_PAGE: usize = 75;

/// Most members in one decision: with the longest names they fit into a request.
pub const PROJECTS_DECIDED_MAX: usize = 25;

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectsList {
    /// Only projects after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ProjectId>,
}

/// A page of projects, by id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Projects {
    /// At most [`PROJECTS_PAGE`].
    pub projects: Vec<ListedProject>,
    pub more: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListedProject {
    pub id: ProjectId,
    /// UCloud's word, with any characters.
    pub title: String,
    /// The number of its group; `None` before a member is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    pub is_archived: bool,
    /// Confirmed members.
    pub confirmed: usize,
    /// Members about whom something waits.
    pub waiting: usize,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectMembersList {
    /// Of this project; otherwise of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Only members about whom something waits.
    #[serde(default)]
    pub waiting: bool,
    /// Only members who are connected to an account.
    #[serde(default)]
    pub connected: bool,
    /// Only members after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<(ProjectId, Username)>,
}

/// A page of members, by project and name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectMembers {
    /// At most [`PROJECT_MEMBERS_PAGE`].
    pub members: Vec<ListedMember>,
    pub more: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListedMember {
    pub project: ProjectId,
    /// The project's title, with any characters.
    pub title: String,
    pub username: Username,
    /// The role that UCloud names.
    pub role: ProjectRole,
    /// Since when UCloud names it, or does not list the member.
    pub since: Timestamp,
    /// The role that was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<ProjectRole>,
    /// The account of the administrator who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<MemberWaits>,
    /// The local account, if the member is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// What waits for a decision.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberWaits {
    Addition,
    /// A higher role.
    Role,
    Removal,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectsDecided {
    pub project: ProjectId,
    /// 1 to [`PROJECTS_DECIDED_MAX`].
    pub members: Vec<DecidedMember>,
    pub decision: ProjectsDecision,
}

/// A member as the administrator saw it. The decision is refused if UCloud has changed it since.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecidedMember {
    pub username: Username,
    pub role: ProjectRole,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<MemberWaits>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProjectsDecision {
    /// Admits the member, raises the role, or removes the member: whatever waits.
    Approve,
    /// Leaves it as it is, until UCloud names another role.
    Reject,
}
