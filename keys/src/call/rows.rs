//! The standard rows: every call of a UCloud provider that a user can cause.
//!
//! The signature binds every member that decides *what happens*: paths, ids, conflict policies,
//! targets, scripts, parameters, resources. The members that decide how a reading is shown (paging,
//! order, what to include) are listed with those that Core adds.
//!
//! `tests/real_bodies.rs` checks every row that Core sends against a body of the real Core.

use crate::call::draft::{
    Draft, Request, body, by_item, by_provider, core_alone, found, items, message, query, row, unsignable,
    unsignable_socket,
};
use crate::call::user_side::{InProject, ListChange, Split, Subject, Unsignable};
use crate::call::{Class, Destination, How, Items, Kind, Method, RowSpec, names};

/// The members that Core repeats of a resource (job, drive, link, …) beside its specification.
const RESOURCE: [&str; 8] = [
    "/createdAt",
    "/owner",
    "/permissions",
    "/updates",
    "/status",
    "/providerGeneratedId",
    "/output",
    "/specification",
];

/// The members of a job's specification that Core keeps, beside those of every resource and the
/// values.
const JOB: [&str; 10] = [
    "/application/name",
    "/application/version",
    "/name",
    "/hostname",
    "/replicas",
    "/timeAllocation/hours",
    "/timeAllocation/minutes",
    "/timeAllocation/seconds",
    "/openedFile",
    "/sshEnabled",
];

/// The members that Core keeps of a value of a job's parameters or resources.
const VALUE: [&str; 14] = [
    "type",
    "path",
    "mountPath",
    "value",
    "hostname",
    "jobId",
    "id",
    "specification",
    "modules",
    "port",
    "tls",
    "server",
    "token",
    "tokenType",
];

/// All standard rows.
pub(super) fn standard() -> Vec<RowSpec> {
    let mut rows = files();
    rows.extend(drives());
    rows.extend(jobs());
    rows.extend(resources());
    rows.extend(others());
    rows.extend(own());
    rows
}

fn files() -> Vec<RowSpec> {
    vec![
        row(names::FILES_BROWSE, Method::Post, "files/browse", Items::Whole, Class::Read)
            .bind_at("path", &["/browse/flags/path", "/Browse/flags/path"], Kind::Plain)
            .adds(&["/resolvedCollection", "/browse", "/Browse"])
            .project("/resolvedCollection/owner/project")
            .asked(query("files/browse", by_item(Subject::Path, "/path"))),
        row(names::FILES_RETRIEVE, Method::Post, "files/retrieve", Items::Whole, Class::Read)
            .bind_at("id", &["/retrieve/id", "/Retrieve/id"], Kind::Plain)
            .adds(&["/resolvedCollection", "/retrieve", "/Retrieve"])
            .project("/resolvedCollection/owner/project")
            .asked(query("files/retrieve", by_item(Subject::Path, "/id"))),
        row(names::FILES_VISUALIZE, Method::Post, "files/visualize", Items::Whole, Class::Read)
            .bind("path", "/path")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project")
            .asked(body("files/visualize", by_item(Subject::Path, "/path"))),
        row(names::FILES_CREATE_FOLDER, Method::Post, "files/folder", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("id")
            .ask_if_it_replaces()
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project")
            .asked(items(Method::Post, "files/folder", by_provider(Subject::Path, "/id"))),
        row(names::FILES_MOVE, Method::Post, "files/move", Items::Bulk, Class::Write)
            .bind("oldId", "/oldId")
            .bind("newId", "/newId")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("oldId")
            .ask_at("newId")
            .ask_if_it_replaces()
            .adds(&["/resolvedOldCollection", "/resolvedNewCollection"])
            .project("/resolvedNewCollection/owner/project")
            .asked(moved("files/move")),
        row(names::FILES_COPY, Method::Post, "files/copy", Items::Bulk, Class::Write)
            .bind("oldId", "/oldId")
            .bind("newId", "/newId")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("newId")
            .ask_if_it_replaces()
            .adds(&["/resolvedOldCollection", "/resolvedNewCollection"])
            .project("/resolvedNewCollection/owner/project")
            .asked(moved("files/copy")),
        row(names::FILES_TRASH, Method::Post, "files/trash", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project")
            .asked(items(Method::Post, "files/trash", by_provider(Subject::Path, "/id"))),
        row(names::FILES_EMPTY_TRASH, Method::Post, "files/emptyTrash", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project")
            .asked(items(Method::Post, "files/emptyTrash", by_provider(Subject::Path, "/id"))),
        row(names::FILES_CREATE_UPLOAD, Method::Post, "files/upload", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind_tree("type", "/type")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("id")
            .ask_if_it_replaces()
            .adds(&["/resolvedCollection", "/supportedProtocols"])
            .project("/resolvedCollection/owner/project")
            .asked(items(Method::Post, "files/upload", by_provider(Subject::Path, "/id"))),
        row(names::FILES_CREATE_DOWNLOAD, Method::Post, "files/download", Items::Bulk, Class::Read)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project")
            .asked(items(Method::Post, "files/download", by_provider(Subject::Path, "/id"))),
        row(names::FILES_DELETE, Method::Delete, "files", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project")
            .asked(items(Method::Delete, "files", by_provider(Subject::Path, "/id"))),
        // One call makes three requests, at two centres. Each has some of these members; `Start`
        // has only members that the user cannot know.
        row(names::FILES_TRANSFER, Method::Post, "files/transfer", Items::Whole, Class::Write)
            .bind_tree("type", "/type")
            .bind_tree("sourcePath", "/sourcePath")
            .bind_tree("destinationPath", "/destinationPath")
            .bind_tree("sourceProvider", "/sourceProvider")
            .bind_tree("destinationProvider", "/destinationProvider")
            .bind_tree("session", "/session")
            .bind_tree("selectedProtocol", "/selectedProtocol")
            .bind_tree("protocolParameters", "/protocolParameters")
            .ask_at("destinationPath")
            .adds(&[
                "/sourceDrive",
                "/destinationDrive",
                "/sourceCollection",
                "/destinationCollection",
                "/supportedProtocols",
            ])
            .unsigned(unsignable("files/transfer", Unsignable::Transfer)),
        row(names::FILES_STREAMING_SEARCH, Method::Get, "files", Items::Whole, Class::Read)
            .over_websocket()
            .bind("query", "/query")
            .changed("", How::Trimmed)
            .bind_tree("currentFolder", "/currentFolder")
            .adds(&["/owner", "/flags", "/category"])
            .project("/owner/project")
            .asked(message("files", names::FILES_STREAMING_SEARCH, by_item(Subject::Path, "/currentFolder"))),
    ]
}

fn drives() -> Vec<RowSpec> {
    let path = "files/collections";
    vec![
        row(names::FILES_COLLECTIONS_CREATE, Method::Post, path, Items::Bulk, Class::Write)
            .bind_tree("specification", "/specification")
            .changed("/title", How::Trimmed)
            .changed("/labels", How::Names)
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project")
            .asked(create(path).keeps(["/title"])),
        row(names::FILES_COLLECTIONS_DELETE, Method::Delete, path, Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project")
            .asked(items(Method::Delete, path, by_item(Subject::Drive, "/id"))),
        row(names::FILES_COLLECTIONS_RENAME, Method::Post, "files/collections/rename", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind("newTitle", "/newTitle")
            .changed("", How::Trimmed)
            .asked(items(Method::Post, "files/collections/rename", by_item(Subject::Drive, "/id"))),
        acl(names::FILES_COLLECTIONS_UPDATE_ACL, path),
        labels(names::FILES_COLLECTIONS_UPDATE_LABELS, path, Subject::Drive),
    ]
}

fn jobs() -> Vec<RowSpec> {
    vec![
        // Dropped members: `ucMetricSampleRate`, which Core adds; `readOnly`, Core's permission on
        // the drive; `allowDuplicateJob`, which Core decides; `restartOnExit`, which Core does not
        // keep. None of them is the user's statement, and an instance receives none.
        //
        // `script` is in no request of Core: the intent carries it.
        job(row(names::JOBS_CREATE, Method::Post, "jobs", Items::Bulk, Class::Danger))
            .optional(names::SCRIPT, "/script")
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project")
            .asked_with(
                &["specification"],
                create("jobs")
                    .keeps(JOB)
                    .keeps(each_value("/parameters/*").iter().map(String::as_str))
                    .keeps(each_value("/resources/*").iter().map(String::as_str)),
            )
            .or(unsignable_socket("hpc/apps/ucx/connect", Unsignable::Ucx))
            .or(unsignable_socket("hpc/apps/ucx/connectJob", Unsignable::Ucx)),
        row(names::JOBS_TERMINATE, Method::Post, "jobs/terminate", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project")
            .asked(items(Method::Post, "jobs/terminate", by_provider(Subject::Job, "/id"))),
        row(names::JOBS_EXTEND, Method::Post, "jobs/extend", Items::Bulk, Class::Write)
            .bind("jobId", "/job/id")
            .bind_tree("requestedTime", "/requestedTime")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(
                items(Method::Post, "jobs/extend", by_provider(Subject::Job, "/jobId"))
                    .take("requestedTime", "/requestedTime")
                    .keeps(["/hours", "/minutes", "/seconds"]),
            ),
        row(names::JOBS_SUSPEND, Method::Post, "jobs/suspend", Items::Bulk, Class::Write)
            .bind("id", "/job/id")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(items(Method::Post, "jobs/suspend", by_provider(Subject::Job, "/id"))),
        row(names::JOBS_UNSUSPEND, Method::Post, "jobs/unsuspend", Items::Bulk, Class::Danger)
            .bind("id", "/job/id")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(items(Method::Post, "jobs/unsuspend", by_provider(Subject::Job, "/id"))),
        row(names::JOBS_OPEN_INTERACTIVE_SESSION, Method::Post, "jobs/interactiveSession", Items::Bulk, Class::Danger)
            .bind("id", "/job/id")
            .bind("rank", "/rank")
            .bind("sessionType", "/sessionType")
            .bind_tree("target", "/target")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(items(Method::Post, "jobs/interactiveSession", by_provider(Subject::Job, "/id"))),
        row(names::JOBS_OPEN_TERMINAL_IN_FOLDER, Method::Post, "jobs/openTerminalInFolder", Items::Bulk, Class::Danger)
            .bind("folder", "/folder")
            .asked(items(Method::Post, "jobs/openTerminalInFolder", by_provider(Subject::Path, "/folder"))),
        row(names::JOBS_FOLLOW, Method::Get, "jobs", Items::Whole, Class::Read)
            .at("/ucloud/jobs.provider.{p}/websocket")
            .over_websocket()
            .bind("id", "/job/id")
            .adds(&["/job", "/type", "/streamId"])
            .project("/job/owner/project")
            .asked(message("jobs", names::JOBS_FOLLOW, by_item(Subject::Job, "/id"))),
        row(names::JOBS_ATTACH_RESOURCE, Method::Post, "jobs/attachResource", Items::Whole, Class::Danger)
            .bind("jobId", "/job/id")
            .bind_tree("resource", "/resource")
            .changed_value("")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(
                body("jobs/attachResource", by_item(Subject::Job, "/jobId"))
                    .take("resource", "/resource")
                    .keeps(each_value("").iter().map(String::as_str)),
            ),
        row(names::JOBS_DETACH_RESOURCE, Method::Post, "jobs/detachResource", Items::Whole, Class::Write)
            .bind("jobId", "/job/id")
            .bind_tree("resource", "/resource")
            .changed_value("")
            .adds(&["/job"])
            .project("/job/owner/project")
            .asked(
                body("jobs/detachResource", by_item(Subject::Job, "/jobId"))
                    .take("resource", "/resource")
                    .keeps(each_value("").iter().map(String::as_str)),
            ),
        acl(names::JOBS_UPDATE_ACL, "jobs"),
        labels(names::JOBS_UPDATE_LABELS, "jobs", Subject::Job),
    ]
}

/// Public links, public addresses, licences, private networks and shares, which differ only in
/// their names.
fn resources() -> Vec<RowSpec> {
    let mut rows = Vec::new();
    let kinds: [(&str, &[&str]); 5] = [
        ("ingresses", &["/domain"]),
        ("networkips", &["/firewall/openPorts/*/start", "/firewall/openPorts/*/end", "/firewall/openPorts/*/protocol"]),
        ("licenses", &[]),
        ("private-networks", &["/name", "/subdomain"]),
        ("shares", &["/sharedWith", "/sourceFilePath", "/permissions"]),
    ];
    for (path, members) in kinds {
        let create = row(&format!("{path}.create"), Method::Post, path, Items::Bulk, Class::Danger)
            .bind_tree("specification", "/specification");
        let create = match path {
            "ingresses" => create.changed("/domain", How::Lowered),
            "private-networks" => create
                .changed("/name", How::Trimmed)
                .changed("/subdomain", How::Trimmed)
                .changed("/subdomain", How::Lowered),
            _ => create,
        };
        // Core keeps no labels for a share.
        let create = match path {
            "shares" => create.changed("/labels", How::Dropped),
            _ => create.changed("/labels", How::Names),
        };
        let mut made = create
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project")
            .asked(self::create(path).keeps(members.iter().copied()));
        if path == "shares" {
            made = made.or(unsignable("shares/links/accept", Unsignable::ShareLink));
        }
        rows.push(made);
        let delete = row(&format!("{path}.delete"), Method::Delete, path, Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project");
        if path == "shares" {
            // Core removes its own record, and tells no provider.
            rows.push(delete.unsigned(core_alone(Method::Delete, path)));
        } else {
            rows.push(delete.asked(items(Method::Delete, path, by_item(Subject::Resource, "/id"))));
            rows.push(acl(&format!("{path}.updateAcl"), path));
            rows.push(labels(&format!("{path}.updateLabels"), path, Subject::Resource));
        }
    }
    rows.push(
        row(names::NETWORKIPS_UPDATE_FIREWALL, Method::Post, "networkips/firewall", Items::Bulk, Class::Danger)
            .bind("id", "/networkIp/id")
            .bind_tree("firewall", "/firewall")
            .adds(&["/networkIp"])
            .project("/networkIp/owner/project")
            .asked(
                items(Method::Post, "networkips/firewall", by_provider(Subject::Resource, "/id"))
                    .take("firewall", "/firewall")
                    .keeps(["/openPorts/*/start", "/openPorts/*/end", "/openPorts/*/protocol"]),
            ),
    );
    rows
}

fn others() -> Vec<RowSpec> {
    vec![
        // UCloud sends the whole list after each change. The user signs the keys as a set.
        row(names::SSH_KEY_UPLOADED, Method::Post, "ssh/keyUploaded", Items::Whole, Class::Danger)
            .bind_at("keys", &["/allKeys/*/specification/key"], Kind::Set)
            .changed("/*", How::Trimmed)
            .adds(&["/allKeys"])
            .username("/username")
            .asked(changed_keys(Method::Post, "/key", ListChange::Add))
            .or_asked(changed_keys(Method::Delete, "/id", ListChange::Remove("/id".to_owned()))),
        row(names::TASKS_PAUSE_OR_CANCEL, Method::Post, "tasks/pauseOrCancel", Items::Whole, Class::Write)
            .bind("id", "/id")
            .bind("requestedState", "/requestedState")
            .asked(body("tasks/pauseOrCancel", by_item(Subject::Task, "/id"))),
        row(names::TOKENS_CREATE, Method::Post, "tokens", Items::Whole, Class::Danger)
            .bind_tree("specification", "/specification")
            .changed("/title", How::Trimmed)
            .changed("/description", How::Trimmed)
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project")
            .asked(body("tokens", by_item(Subject::Provider, "/provider")).take("specification", "").keeps([
                "/title",
                "/description",
                "/provider",
                "/requestedPermissions/*/name",
                "/requestedPermissions/*/action",
                "/expiresAt",
            ])),
        row(names::TOKENS_REVOKE, Method::Post, "tokens/revoke", Items::Whole, Class::Write)
            .bind("id", "/id")
            .asked(body("tokens/revoke", by_item(Subject::Token, "/id"))),
        syncthing("retrieve", Class::Read),
        syncthing("update", Class::Danger),
        syncthing("reset", Class::Danger),
        syncthing("restart", Class::Write),
    ]
}

/// The direct calls at the provider's origin, without Core.
fn own() -> Vec<RowSpec> {
    use Destination::{Instance, Server};
    vec![
        direct_row(names::DRIVES_LIST, "drives/list", Class::Read).direct(Instance),
        job(direct_row(names::JOBS_PREVIEW, "jobs/preview", Class::Read)).direct(Instance),
        direct_row(names::KEYS_LIST, "keys/list", Class::Read).direct(Instance),
        // The signing key vouches for another key, which proves possession in `proof`.
        direct_row(names::KEYS_RENEW, "keys/renew", Class::Danger)
            .bind_tree("jwk", "/jwk")
            .bind("alg", "/alg")
            .bind("name", "/name")
            .bind("proof", "/proof")
            .direct(Instance),
        direct_row(names::KEYS_REMOVE, "keys/remove", Class::Danger).bind("kid", "/kid").direct(Instance),
        direct_row(names::PASSKEYS_LIST, "passkeys/list", Class::Read).direct(Server),
        direct_row(names::PASSKEYS_BEGIN, "passkeys/begin", Class::Danger).bind("name", "/name").direct(Server),
        direct_row(names::PASSKEYS_FINISH, "passkeys/finish", Class::Danger)
            .bind_tree("credential", "/credential")
            .direct(Server),
        direct_row(names::PASSKEYS_REMOVE, "passkeys/remove", Class::Danger).bind("id", "/id").direct(Server),
        proof_row(names::SESSION_OPEN, "session/open").optional("enc", "/enc").direct(Destination::Session),
        proof_row(names::SESSION_CONTINUE, "session/continue").direct(Destination::Session),
    ]
}

/// Binds a job's specification, as Core passes it on.
fn job(draft: Draft) -> Draft {
    draft
        .bind_tree("specification", "/specification")
        .changed("/allowDuplicateJob", How::Dropped)
        .changed("/restartOnExit", How::Dropped)
        .changed("/name", How::Trimmed)
        .changed("/labels", How::Names)
        .changed("/parameters/ucMetricSampleRate", How::Dropped)
        .changed_value("/parameters/*")
        .changed_value("/resources/*")
}

/// The proof that comes with a one-time token. The user signed what the token allows before it was
/// made. The proof shows that the user redeems it, and for which bytes.
fn proof_row(call: &str, path: &str) -> Draft {
    direct_row(call, path, Class::Write)
        .bind("token", "/token")
        .bind("offset", "/offset")
        .bind("size", "/size")
        .bind("total", "/total")
        .bind("digest", "/digest")
}

fn direct_row(call: &str, path: &str, class: Class) -> Draft {
    row(call, Method::Post, path, Items::Whole, class)
}

/// The Go Core changes access lists without telling the provider. The row is for other Cores.
fn acl(call: &str, path: &str) -> RowSpec {
    row(call, Method::Post, &format!("{path}/updateAcl"), Items::Bulk, Class::Danger)
        .bind("id", "/resource/id")
        .bind_tree("added", "/added")
        .bind_tree("deleted", "/deleted")
        .adds(&["/resource"])
        .project("/resource/owner/project")
        .unsigned(core_alone(Method::Post, &format!("{path}/updateAcl")))
}

/// Core sends the resource in its new state. Not a tree, because a label with an empty text is
/// still a label.
fn labels(call: &str, path: &str, kind: Subject) -> RowSpec {
    row(call, Method::Post, &format!("{path}/onUpdatedLabels"), Items::Bulk, Class::Write)
        .bind("id", "/id")
        .bind("labels", "/specification/labels")
        .changed("", How::Names)
        .adds(&RESOURCE)
        .project("/owner/project")
        .asked(items(Method::Post, &format!("{path}/updateLabels"), by_item(kind, "/id")))
}

/// Core sends these without a project.
fn syncthing(operation: &str, class: Class) -> RowSpec {
    let path = format!("iapps/syncthing/{operation}");
    let provider = by_item(Subject::Provider, "/provider");
    let draft = row(&format!("iapps.syncthing.{operation}"), Method::Post, &path, Items::Whole, class)
        .bind("productId", "/productId")
        .bind_tree("config", "/config")
        .bind_tree("expectedETag", "/expectedETag")
        .adds(&["/principal"])
        .project("/principal/project");
    match operation {
        "retrieve" => draft.asked_with(&["productId"], query(&path, provider).project(InProject::None)),
        "update" => draft.asked(body(&path, provider).project(InProject::None).take("config", "/config").keeps([
            "/folders/*/ucloudPath",
            "/folders/*/path",
            "/folders/*/id",
            "/devices/*/deviceId",
            "/devices/*/label",
        ])),
        _ => draft.asked_with(&["productId"], body(&path, provider).project(InProject::None)),
    }
}

/// The creation of resources of this kind: each item is a specification. A signature binds the
/// members that Core keeps of it.
fn create(path: &str) -> Request {
    items(Method::Post, path, by_item(Subject::Provider, "/product/provider")).take("specification", "").keeps([
        "/product/id",
        "/product/category",
        "/product/provider",
        "/labels",
    ])
}

/// A move or a copy. Core refuses one between two providers; the owner of the destination is shown.
fn moved(path: &str) -> Request {
    items(Method::Post, path, by_provider(Subject::Path, "/oldId"))
        .project(InProject::Owner(found(Subject::Path, "/newId")))
}

/// A change of the user's SSH keys, after which Core sends all of them to every provider.
fn changed_keys(method: Method, from: &str, change: ListChange) -> Request {
    items(method, "ssh", Split::Every).take("keys", from).changes_list("ssh/browse", "/specification/key", change)
}

/// The members of a value of a job's parameters or resources.
fn each_value(at: &str) -> Vec<String> {
    VALUE.iter().map(|member| format!("{at}/{member}")).collect()
}
