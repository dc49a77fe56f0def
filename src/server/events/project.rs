//! A project as Core's JSON describes it, parsed within limits.
//!
//! A project with one part that has another form is refused as a whole: half of a list of members
//! would remove the others.

use std::collections::BTreeMap;

use countersign_keys::identity::{ProjectId, Username};
use countersign_keys::store::projects::{MEMBERS_MAX, ProjectRole};
use serde::Deserialize;

/// Longest description of a project, in bytes: [`MEMBERS_MAX`] members, each in a few groups.
pub(crate) const PROJECT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest title that is kept, in bytes. A longer one is cut: it is for display only.
const TITLE_MAX: usize = 256;

/// A project on Core's word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SeenProject {
    pub(crate) id: ProjectId,
    /// May have any characters.
    pub(crate) title: String,
    /// When it was changed, in milliseconds since 1970 by Core's clock.
    pub(crate) modified_ms: i64,
    pub(crate) is_archived: bool,
    pub(crate) members: BTreeMap<Username, ProjectRole>,
}

/// Why a project is refused.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub(crate) enum UnusableProject {
    #[error("its description has another form, or is too long")]
    Form,
    #[error("its id is not a UUID")]
    Id,
    #[error("it has more than {MEMBERS_MAX} members")]
    TooMany,
    #[error("the name of a member is not a username")]
    Name,
    #[error("it lists a member twice")]
    Twice,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    id: String,
    modified_at: i64,
    specification: Specification,
    status: Status,
}

#[derive(Deserialize)]
struct Specification {
    title: String,
}

#[derive(Deserialize)]
struct Status {
    archived: bool,
    /// `null` for none.
    members: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    username: String,
    role: ProjectRole,
}

impl SeenProject {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, UnusableProject> {
        if json.len() > PROJECT_BYTES_MAX {
            return Err(UnusableProject::Form);
        }
        let described: Described = serde_json::from_slice(json).map_err(|_error| UnusableProject::Form)?;
        let Described { id, modified_at, specification: Specification { mut title }, status } = described;
        let id = ProjectId::parse(&id).map_err(|_error| UnusableProject::Id)?;
        let listed = status.members.unwrap_or_default();
        if listed.len() > MEMBERS_MAX {
            return Err(UnusableProject::TooMany);
        }
        let mut members = BTreeMap::new();
        for Listed { username, role } in listed {
            let username = Username::parse(&username).map_err(|_error| UnusableProject::Name)?;
            if members.insert(username, role).is_some() {
                return Err(UnusableProject::Twice);
            }
        }
        title.truncate(title.floor_char_boundary(TITLE_MAX));
        Ok(Self { id, title, modified_ms: modified_at, is_archived: status.archived, members })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described() -> Value {
        json!({
            "id": "0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20", "createdAt": 1, "modifiedAt": 2,
            "specification": {"parent": null, "title": "Ice cores", "canConsumeResources": true},
            "status": {
                "archived": false, "isFavorite": false, "isHidden": false,
                "members": [{"username": "alice#1", "role": "PI"}, {"username": "bob#1", "role": "USER"}],
                "groups": [], "settings": {}, "myRole": null, "path": null, "personalProviderProjectFor": null,
            },
        })
    }

    #[test]
    fn a_project_is_read_as_core_writes_it() {
        let project = SeenProject::parse(described().to_string().as_bytes()).unwrap();
        assert_eq!((project.title.as_str(), project.modified_ms, project.is_archived), ("Ice cores", 2, false));
        let members: Vec<_> = project.members.iter().map(|(name, role)| (name.as_str(), *role)).collect();
        assert_eq!(members, [("alice#1", ProjectRole::Pi), ("bob#1", ProjectRole::User)]);
    }

    #[test]
    fn one_bad_part_refuses_the_whole_project() {
        let check = |pointer: &str, value: Value, want: UnusableProject| {
            let mut project = described();
            *project.pointer_mut(pointer).unwrap() = value;
            assert_eq!(SeenProject::parse(project.to_string().as_bytes()), Err(want), "{pointer}");
        };
        for id in ["", "7", "../../etc", "0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e2", "0B5BD6D5-2B8A-4D3C-9F5E-3A3F7D9C1E20"]
        {
            check("/id", id.into(), UnusableProject::Id);
        }
        check("/status/members/0/username", "".into(), UnusableProject::Name);
        check("/status/members/0/username", "a\nb".into(), UnusableProject::Name);
        check("/status/members/0/username", "bob#1".into(), UnusableProject::Twice);
        check("/status/members/0/role", "OWNER".into(), UnusableProject::Form);
        check("/modifiedAt", "yesterday".into(), UnusableProject::Form);
        let many: Vec<Value> =
            (0..=MEMBERS_MAX).map(|number| json!({"username": number.to_string(), "role": "USER"})).collect();
        check("/status/members", many.into(), UnusableProject::TooMany);
        assert_eq!(SeenProject::parse(&vec![b'['; 100_000]), Err(UnusableProject::Form));
        let long = format!("{}{}", " ".repeat(PROJECT_BYTES_MAX), described());
        assert_eq!(SeenProject::parse(long.as_bytes()), Err(UnusableProject::Form));
    }

    #[test]
    fn a_long_title_is_cut_between_characters() {
        let mut project = described();
        project["specification"]["title"] = "é".repeat(1_000).into();
        assert_eq!(SeenProject::parse(project.to_string().as_bytes()).unwrap().title, "é".repeat(TITLE_MAX / 2));
    }
}
