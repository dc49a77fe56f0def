//! The work that a permitted call asks of this instance, parsed once from the call's name and its
//! bound parameters. Nothing else in a request affects what is done.

use countersign_keys::bind::{Items, Projection};
use countersign_keys::call::names;
use countersign_keys::direct::DirectRequest;
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;

use crate::files::request::{Browse, CreateFolder, FilesRequest, MoveOrCopy, Retrieve, Trash};

/// The answer to a call that no code implements here.
pub(crate) const NOT_OFFERED: &str = "this provider does not offer this";

/// The answer to a call for which Slurm has no equivalent.
const NO_ATTACHING: &str =
    "the files and other resources of a running job cannot be changed at this computing centre: start another job";

/// A call that Core sends for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Files(FilesRequest),
    /// Answered with a one-time token for each item.
    Issue(SessionKind),
    Drives(DrivesCall),
    InstallSshKeys {
        /// The whole list, in the order in which it is signed.
        keys: Vec<String>,
    },
    ControlTask(TaskControl),
    Search(Search),
    Jobs(JobsCall),
    Links(ResourceCall),
    Licences(ResourceCall),
    /// Follows a job's output, on a WebSocket.
    Follow {
        id: String,
    },
    /// The provider does not offer it, for this reason.
    Refused(&'static str),
    /// The provider does not offer it.
    NotOffered,
}

/// A call about jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobsCall {
    Create,
    Terminate,
    Extend,
    Suspend,
    Unsuspend,
}

/// A call about public links, or about licences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceCall {
    Create,
    Delete,
    UpdateLabels,
}

/// What a one-time token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Download,
    Upload,
    Terminal,
    /// A shell in a job.
    JobSession,
}

/// A change of the user's drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrivesCall {
    Create,
    Rename,
    Delete,
}

/// Pauses, resumes or cancels a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskControl {
    /// UCloud's number of the task. `None` if the request has no whole number there.
    pub(crate) id: Option<i64>,
    pub(crate) requested_state: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) query: String,
    /// Where the search begins. `None`: in all drives.
    pub(crate) folder: Option<String>,
}

/// A call that the user's browser sends without Core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectCall {
    ListDrives,
    PreviewJob,
    ListKeys,
    RenewKey,
    RemoveKey,
    NotOffered,
}

impl Call {
    pub(crate) fn of(permit: &Permit<'_, '_>) -> Self {
        // A row whose items are the whole body always has one.
        Self::parse(permit.row().call().as_str(), permit.items()).unwrap_or(Self::NotOffered)
    }

    fn parse(name: &str, items: &Items<'_>) -> Option<Self> {
        let each = items.projections();
        let shown = |name: &str| items.body().member(name).or_else(|| items.body().member(&capitalised(name)));
        Some(match name {
            names::FILES_BROWSE => Self::Files(FilesRequest::Browse(browse(each.first()?, shown("browse")?))),
            names::FILES_RETRIEVE => Self::Files(FilesRequest::Retrieve(Retrieve { id: text(each.first()?, "id") })),
            names::FILES_CREATE_FOLDER => Self::Files(FilesRequest::CreateFolder(map(each, create_folder))),
            names::FILES_MOVE => Self::Files(FilesRequest::Move(map(each, move_or_copy))),
            names::FILES_COPY => Self::Files(FilesRequest::Copy(map(each, move_or_copy))),
            names::FILES_TRASH => Self::Files(FilesRequest::Trash(map(each, trash))),
            names::FILES_EMPTY_TRASH => Self::Files(FilesRequest::EmptyTrash(map(each, trash))),
            names::FILES_STREAMING_SEARCH => Self::Search(search(each.first()?)),
            names::FILES_CREATE_DOWNLOAD => Self::Issue(SessionKind::Download),
            names::FILES_CREATE_UPLOAD => Self::Issue(SessionKind::Upload),
            names::JOBS_OPEN_TERMINAL_IN_FOLDER => Self::Issue(SessionKind::Terminal),
            names::JOBS_OPEN_INTERACTIVE_SESSION => Self::Issue(SessionKind::JobSession),
            names::JOBS_CREATE => Self::Jobs(JobsCall::Create),
            names::JOBS_TERMINATE => Self::Jobs(JobsCall::Terminate),
            names::JOBS_EXTEND => Self::Jobs(JobsCall::Extend),
            names::JOBS_SUSPEND => Self::Jobs(JobsCall::Suspend),
            names::JOBS_UNSUSPEND => Self::Jobs(JobsCall::Unsuspend),
            names::JOBS_FOLLOW => Self::Follow { id: text(each.first()?, "id") },
            names::JOBS_ATTACH_RESOURCE | names::JOBS_DETACH_RESOURCE => Self::Refused(NO_ATTACHING),
            names::INGRESSES_CREATE => Self::Links(ResourceCall::Create),
            names::INGRESSES_DELETE => Self::Links(ResourceCall::Delete),
            names::INGRESSES_UPDATE_LABELS => Self::Links(ResourceCall::UpdateLabels),
            names::LICENSES_CREATE => Self::Licences(ResourceCall::Create),
            names::LICENSES_DELETE => Self::Licences(ResourceCall::Delete),
            names::LICENSES_UPDATE_LABELS => Self::Licences(ResourceCall::UpdateLabels),
            names::FILES_COLLECTIONS_CREATE => Self::Drives(DrivesCall::Create),
            names::FILES_COLLECTIONS_RENAME => Self::Drives(DrivesCall::Rename),
            names::FILES_COLLECTIONS_DELETE => Self::Drives(DrivesCall::Delete),
            names::SSH_KEY_UPLOADED => Self::InstallSshKeys { keys: texts(each.first()?, "keys") },
            names::TASKS_PAUSE_OR_CANCEL => Self::ControlTask(task_control(each.first()?)),
            _ => Self::NotOffered,
        })
    }
}

impl DirectCall {
    pub(crate) fn of(permit: &Permit<'_, '_, DirectRequest>) -> Self {
        match permit.row().call().as_str() {
            names::DRIVES_LIST => Self::ListDrives,
            names::JOBS_PREVIEW => Self::PreviewJob,
            names::KEYS_LIST => Self::ListKeys,
            names::KEYS_RENEW => Self::RenewKey,
            names::KEYS_REMOVE => Self::RemoveKey,
            _ => Self::NotOffered,
        }
    }
}

fn map<T>(items: &[Projection<'_>], item: impl Fn(&Projection<'_>) -> T) -> Vec<T> {
    items.iter().map(item).collect()
}

/// Only the path is bound. Paging, sorting and filters are not: they affect only the display.
fn browse(item: &Projection<'_>, shown: &Json<'_>) -> Browse {
    let string = |value: Option<&Json<'_>>| value.and_then(Json::as_str).map(str::to_owned);
    let flags = shown.member("flags");
    let flag = |name: &str| flags.and_then(|flags| flags.member(name));
    Browse {
        path: text(item, "path"),
        items_per_page: shown.member("itemsPerPage").and_then(Json::as_integer).unwrap_or(0),
        next: string(shown.member("next")),
        sort_by: string(shown.member("sortBy")).unwrap_or_default(),
        sort_direction: string(shown.member("sortDirection")).unwrap_or_default(),
        filter_hidden_files: flag("filterHiddenFiles").and_then(Json::as_bool).unwrap_or(false),
        filter_by_file_extension: string(flag("filterByFileExtension")),
    }
}

fn create_folder(item: &Projection<'_>) -> CreateFolder {
    CreateFolder { id: text(item, "id"), conflict_policy: text(item, "conflictPolicy") }
}

fn move_or_copy(item: &Projection<'_>) -> MoveOrCopy {
    MoveOrCopy {
        old_id: text(item, "oldId"),
        new_id: text(item, "newId"),
        conflict_policy: text(item, "conflictPolicy"),
    }
}

fn trash(item: &Projection<'_>) -> Trash {
    Trash { id: text(item, "id") }
}

fn search(item: &Projection<'_>) -> Search {
    let folder = Some(text(item, "currentFolder")).filter(|folder| !folder.is_empty());
    Search { query: text(item, "query"), folder }
}

fn task_control(item: &Projection<'_>) -> TaskControl {
    TaskControl { id: item.parameter("id").as_integer(), requested_state: text(item, "requestedState") }
}

/// A bound parameter's text. Empty if the parameter is not a string: no file has an empty name.
pub(crate) fn text(item: &Projection<'_>, name: &str) -> String {
    item.parameter(name).as_str().unwrap_or_default().to_owned()
}

/// The strings in a bound list.
fn texts(item: &Projection<'_>, name: &str) -> Vec<String> {
    let listed = item.parameter(name).elements().unwrap_or_default();
    listed.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use countersign_keys::call::CallTable;
    use countersign_keys::identity::ProviderId;

    use super::*;

    #[test]
    fn each_call_is_parsed_to_the_work_that_it_asks_for() {
        let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let check = |name: &str, body: &str, want: Call| {
            let items = Items::read(table.row(name).unwrap(), body.as_bytes()).unwrap();
            assert_eq!(Call::parse(name, &items).unwrap_or(Call::NotOffered), want, "{name} {body}");
        };
        let item = r#"{"items":[{"id":"/d/a"}]}"#;
        check("files.trash", item, Call::Files(FilesRequest::Trash(vec![Trash { id: "/d/a".to_owned() }])));
        check("files.emptyTrash", item, Call::Files(FilesRequest::EmptyTrash(vec![Trash { id: "/d/a".to_owned() }])));
        check("files.delete", item, Call::NotOffered);
        check("files.createDownload", item, Call::Issue(SessionKind::Download));
        check("files.createUpload", item, Call::Issue(SessionKind::Upload));
        check("jobs.openTerminalInFolder", r#"{"items":[{"folder":"/d"}]}"#, Call::Issue(SessionKind::Terminal));
        check("jobs.create", r#"{"items":[{"id":"7","specification":{"name":"n"}}]}"#, Call::Jobs(JobsCall::Create));
        check("jobs.terminate", item, Call::Jobs(JobsCall::Terminate));
        let about = r#"{"items":[{"job":{"id":"7"}}]}"#;
        check("jobs.extend", about, Call::Jobs(JobsCall::Extend));
        check("jobs.suspend", about, Call::Jobs(JobsCall::Suspend));
        check("jobs.unsuspend", about, Call::Jobs(JobsCall::Unsuspend));
        check("jobs.openInteractiveSession", about, Call::Issue(SessionKind::JobSession));
        check("jobs.follow", r#"{"type":"init","job":{"id":"7"}}"#, Call::Follow { id: "7".to_owned() });
        check("jobs.attachResource", r#"{"job":{"id":"7"},"resource":{}}"#, Call::Refused(NO_ATTACHING));
        check("jobs.detachResource", r#"{"job":{"id":"7"},"resource":{}}"#, Call::Refused(NO_ATTACHING));
        check("jobs.updateLabels", item, Call::NotOffered);
        check("ingresses.create", item, Call::Links(ResourceCall::Create));
        check("ingresses.delete", item, Call::Links(ResourceCall::Delete));
        check("ingresses.updateLabels", item, Call::Links(ResourceCall::UpdateLabels));
        check("licenses.create", item, Call::Licences(ResourceCall::Create));
        check("licenses.delete", item, Call::Licences(ResourceCall::Delete));
        check("licenses.updateLabels", item, Call::Licences(ResourceCall::UpdateLabels));
        check("networkips.create", item, Call::NotOffered);
        check("files.collections.delete", item, Call::Drives(DrivesCall::Delete));
        let renamed = r#"{"items":[{"id":"1","newTitle":"x"}]}"#;
        check("files.collections.rename", renamed, Call::Drives(DrivesCall::Rename));
        let keys = r#"{"username":"a","allKeys":[{"specification":{"key":"k1"}}]}"#;
        check("ssh.keyUploaded", keys, Call::InstallSshKeys { keys: vec!["k1".to_owned()] });
        let control = |id, state: &str| Call::ControlTask(TaskControl { id, requested_state: state.to_owned() });
        check("tasks.pauseOrCancel", r#"{"id":7,"requestedState":"RUNNING"}"#, control(Some(7), "RUNNING"));
        check("tasks.pauseOrCancel", r#"{"id":"7","requestedState":1}"#, control(None, ""));
        let search =
            |folder: Option<&str>| Call::Search(Search { query: "q".to_owned(), folder: folder.map(str::to_owned) });
        check("files.streamingSearch", r#"{"query":"q","currentFolder":"/d"}"#, search(Some("/d")));
        check("files.streamingSearch", r#"{"query":"q","currentFolder":""}"#, search(None));
    }
}
