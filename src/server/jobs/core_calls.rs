//! Core's calls about jobs, as JSON: what the server sends, and what it reads of the answers.

use countersign_keys::session::InterfaceKind;
use countersign_keys::store::jobs::Target;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::client::CoreFailure;

pub(super) const UPDATE: &str = "/api/jobs/control/update";
pub(crate) const RETRIEVE: &str = "/api/jobs/control/retrieve";
pub(super) const REGISTER: &str = "/api/jobs/control/register";
pub(super) const BROWSE: &str = "/api/jobs/control/browse";
pub(super) const CHECK_EXISTENCE: &str = "/api/providers/resources/checkExistence";

/// Longest answer about one job, in bytes: its parameters have a whole script.
pub(crate) const JOB_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Longest page of jobs, in bytes.
pub(super) const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A change that Core must be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Folder(String),
    State { state: String, words: String },
    End { state: String, words: String },
    Target(Target),
    Words(String),
    Warning(u32),
    Limit(u32),
}

impl Change {
    /// Whether it changes nothing but what the user reads.
    pub(super) const fn is_sentence(&self) -> bool {
        matches!(self, Self::Words(_) | Self::Warning(_))
    }
}

#[derive(Serialize)]
pub(super) struct Items<I> {
    pub(super) items: I,
}

#[derive(Serialize)]
pub(super) struct Item<'i> {
    pub(super) id: &'i str,
    pub(super) update: Update<'i>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update<'u> {
    pub(super) state: Option<&'u str>,
    pub(super) output_folder: Option<&'u str>,
    pub(super) status: Option<String>,
    pub(super) expected_state: Option<&'u str>,
    pub(super) expected_different_state: Option<bool>,
    pub(super) new_time_allocation: Option<i64>,
    pub(super) timestamp: i64,
}

impl<'u> Update<'u> {
    pub(super) fn of_state(state: &'u str, words: &str) -> Self {
        Self { state: Some(state), status: Some(words.to_owned()), ..Self::default() }
    }

    pub(super) fn of(change: &'u Change) -> Self {
        match change {
            Change::Folder(folder) => Self { output_folder: Some(folder), ..Self::default() },
            Change::Target(target) => Self { status: Some(target_line(target)), ..Self::default() },
            Change::State { state, words } | Change::End { state, words } => {
                Self { expected_different_state: Some(true), ..Self::of_state(state, words) }
            }
            Change::Words(words) => Self { status: Some(words.clone()), ..Self::default() },
            Change::Warning(minutes) => {
                Self { status: Some(format!("The job's time is up in {minutes} minutes.")), ..Self::default() }
            }
            // Core reads whole minutes only.
            Change::Limit(minutes) => {
                Self { new_time_allocation: Some(i64::from(*minutes).saturating_mul(60_000)), ..Self::default() }
            }
        }
    }
}

/// The sentence by which UCloud's page learns of a target.
fn target_line(Target { rank, kind, name, port }: &Target) -> String {
    let kind = match kind {
        InterfaceKind::Web => "WEB",
        InterfaceKind::Vnc => "VNC",
    };
    let target = json!({ "rank": rank, "type": kind, "target": name, "port": port, "defaultName": null });
    format!("Target: {target}")
}

#[derive(Serialize)]
pub(super) struct Resource<'r> {
    pub(super) r#type: &'static str,
    pub(super) id: &'r str,
}

#[derive(Deserialize)]
pub(super) struct Existence {
    pub(super) responses: Vec<bool>,
}

#[derive(Deserialize)]
pub(crate) struct JobAtCore {
    pub(crate) owner: Owner,
    pub(super) status: StatusAtCore,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Owner {
    pub(crate) created_by: String,
    #[serde(default)]
    pub(crate) project: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct StatusAtCore {
    pub(super) state: String,
}

/// A page of jobs.
pub(super) struct Page {
    pub(super) items: Vec<Listed>,
    /// The mark of the next page.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub(super) id: String,
    /// The id under which this provider registered it.
    pub(super) provider_generated_id: Option<String>,
    #[serde(flatten)]
    pub(super) job: JobAtCore,
}

impl Page {
    /// Reads a page. Leaves out what is no job.
    pub(super) fn read(text: &[u8]) -> Result<Self, CoreFailure> {
        #[derive(Deserialize)]
        struct Typed {
            /// Core writes `null` for an empty list.
            #[serde(deserialize_with = "Option::deserialize")]
            items: Option<Vec<Value>>,
            next: Option<String>,
        }
        let Typed { items, next } =
            serde_json::from_slice(text).map_err(|_error| CoreFailure::Form { call: BROWSE })?;
        let items = items.into_iter().flatten().filter_map(|item| serde_json::from_value(item).ok()).collect();
        Ok(Self { items, next })
    }
}
