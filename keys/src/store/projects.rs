//! Projects at UCloud: who is in each on Core's word, and whom the centre has admitted.
//!
//! Core's word alone admits no user (protocol, section 13). The rules are the server's; this keeps
//! what they decide. A group's number is given once and never again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::typed::{fetch, put};
use super::{Store, StoreFailure, Table, decode};
use crate::identity::{ProjectId, Uid, Username};
use crate::time::Timestamp;

/// Most projects on record. UCloud has some thousands.
pub const PROJECTS_MAX: usize = 10_000;

/// Most members of a project: with a record of each, some 1.5 MB.
pub const MEMBERS_MAX: usize = 10_000;

/// The counter with the latest number of a group.
const GROUP_COUNTER: &[u8] = b"project_group";

/// The counters with the moments of events, in seconds since 1970.
const HANDLED: &[u8] = b"events_handled";
const REPLAYED: &[u8] = b"events_replayed";

/// A member's role, by its power: Core's words `USER`, `ADMIN` and `PI`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProjectRole {
    /// Uses the project.
    User,
    /// Admits others.
    Admin,
    /// Leads the project.
    Pi,
}

impl ProjectRole {
    /// Core's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Admin => "ADMIN",
            Self::Pi => "PI",
        }
    }
}

/// A project, as Core describes it and as the centre admits its members.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectRecord {
    /// Core's id.
    pub id: ProjectId,
    /// The title that Core gave last. For display only.
    pub title: String,
    /// The change that was handled last, in milliseconds since 1970 by Core's clock.
    pub modified_ms: i64,
    /// Whether Core says that it is archived.
    pub is_archived: bool,
    /// The number of its group, from the first confirmed member on.
    pub group: Option<u32>,
    /// At most [`MEMBERS_MAX`].
    pub members: BTreeMap<Username, Member>,
    /// When confirmed members were removed on Core's word, in the last hour.
    pub removed: Vec<Timestamp>,
    /// What its group is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedGroup>,
}

/// What the site's program was told of a group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedGroup {
    /// The accounts in it by login name. If it is not certain, those that may be in it.
    pub members: BTreeMap<String, Uid>,
    /// Whether the program knows that the project is archived.
    pub is_archived: bool,
    /// Whether the program has ended well since.
    pub is_certain: bool,
}

/// A member on Core's word.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The role that Core names.
    pub role: ProjectRole,
    /// Since when Core names it.
    pub since: Timestamp,
    /// Whether the centre has admitted the member.
    pub state: MemberState,
    /// The role that was rejected while Core names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<ProjectRole>,
    /// Since when Core does not list the member, whose removal waits for a confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Timestamp>,
}

/// Whether the centre has admitted a member.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum MemberState {
    /// On Core's word alone, which admits no user.
    Pending,
    /// Admitted.
    Confirmed {
        /// The role that was confirmed. A higher one that Core names waits.
        role: ProjectRole,
        /// The account of the administrator who confirmed it.
        by: String,
        /// When.
        at: Timestamp,
    },
}

impl Member {
    /// The confirmed role.
    #[must_use]
    pub const fn confirmed(&self) -> Option<ProjectRole> {
        match self.state {
            MemberState::Pending => None,
            MemberState::Confirmed { role, .. } => Some(role),
        }
    }
}

/// The moments from which events are replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventMoments {
    /// When the last event was handled.
    pub handled: Timestamp,
    /// When Core was last asked for all events.
    pub replayed: Timestamp,
}

impl<S: Store> Registry<S> {
    /// All projects.
    ///
    /// # Errors
    /// The store failed.
    pub fn projects(&self) -> Result<Vec<ProjectRecord>, StoreFailure> {
        let entries = self.store().scan(Table::Projects, b"", None, PROJECTS_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::Projects, value)).collect()
    }

    /// Writes the record of a project, and removes that of another in whose place it comes.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_project(&self, project: &ProjectRecord, displaced: Option<&ProjectId>) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            if let Some(displaced) = displaced {
                transaction.remove(Table::Projects, displaced.as_str().as_bytes())?;
            }
            put(transaction, Table::Projects, project.id.as_str().as_bytes(), project)
        })
    }

    /// Writes the record of a project and gives its group the next number. Returns the number.
    ///
    /// # Errors
    /// The store failed.
    pub fn number_project(&self, project: &ProjectRecord) -> Result<u32, StoreFailure> {
        self.write(|transaction| {
            let latest: Option<u32> = fetch(transaction, Table::Counters, GROUP_COUNTER)?;
            let number = latest.unwrap_or(0).saturating_add(1);
            put(transaction, Table::Counters, GROUP_COUNTER, &number)?;
            let numbered = ProjectRecord { group: Some(number), ..project.clone() };
            put(transaction, Table::Projects, project.id.as_str().as_bytes(), &numbered)?;
            Ok(number)
        })
    }

    /// The moments from which events are replayed; 1970 if there were none.
    ///
    /// # Errors
    /// The store failed.
    pub fn event_moments(&self) -> Result<EventMoments, StoreFailure> {
        let moment = |name| self.record(Table::Counters, name);
        let never = Timestamp::from_seconds(0);
        Ok(EventMoments { handled: moment(HANDLED)?.unwrap_or(never), replayed: moment(REPLAYED)?.unwrap_or(never) })
    }

    /// Records these moments.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_event_moments(&self, moments: EventMoments) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            put(transaction, Table::Counters, HANDLED, &moments.handled)?;
            put(transaction, Table::Counters, REPLAYED, &moments.replayed)
        })
    }
}
