//! The standard rows: every call of a UCloud provider that a user can cause.
//!
//! The signature binds every member that decides *what happens*: paths, ids, conflict policies,
//! targets, scripts, parameters, resources. The members that decide how a reading is shown (paging,
//! order, what to include) are listed with those that Core adds.
//!
//! `tests/real_bodies.rs` checks every row that Core sends against a body of the real Core.

use crate::call::{
    AskRule, BoundSpec, ChangeSpec, Class, Condition, Destination, How, Items, Kind, Method, RowSpec, Sender,
    Transport, names,
};
use crate::identity::CallName;

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
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_RETRIEVE, Method::Post, "files/retrieve", Items::Whole, Class::Read)
            .bind_at("id", &["/retrieve/id", "/Retrieve/id"], Kind::Plain)
            .adds(&["/resolvedCollection", "/retrieve", "/Retrieve"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_VISUALIZE, Method::Post, "files/visualize", Items::Whole, Class::Read)
            .bind("path", "/path")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_CREATE_FOLDER, Method::Post, "files/folder", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("id")
            .ask_if_it_replaces()
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_MOVE, Method::Post, "files/move", Items::Bulk, Class::Write)
            .bind("oldId", "/oldId")
            .bind("newId", "/newId")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("oldId")
            .ask_at("newId")
            .ask_if_it_replaces()
            .adds(&["/resolvedOldCollection", "/resolvedNewCollection"])
            .project("/resolvedNewCollection/owner/project"),
        row(names::FILES_COPY, Method::Post, "files/copy", Items::Bulk, Class::Write)
            .bind("oldId", "/oldId")
            .bind("newId", "/newId")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("newId")
            .ask_if_it_replaces()
            .adds(&["/resolvedOldCollection", "/resolvedNewCollection"])
            .project("/resolvedNewCollection/owner/project"),
        row(names::FILES_TRASH, Method::Post, "files/trash", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_EMPTY_TRASH, Method::Post, "files/emptyTrash", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_CREATE_UPLOAD, Method::Post, "files/upload", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind_tree("type", "/type")
            .bind_tree("conflictPolicy", "/conflictPolicy")
            .ask_at("id")
            .ask_if_it_replaces()
            .adds(&["/resolvedCollection", "/supportedProtocols"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_CREATE_DOWNLOAD, Method::Post, "files/download", Items::Bulk, Class::Read)
            .bind("id", "/id")
            .adds(&["/resolvedCollection"])
            .project("/resolvedCollection/owner/project"),
        row(names::FILES_DELETE, Method::Delete, "files", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project"),
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
            ]),
        row(names::FILES_STREAMING_SEARCH, Method::Get, "files", Items::Whole, Class::Read)
            .over_websocket()
            .bind("query", "/query")
            .changed("", How::Trimmed)
            .bind_tree("currentFolder", "/currentFolder")
            .adds(&["/owner", "/flags", "/category"])
            .project("/owner/project"),
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
            .project("/owner/project"),
        row(names::FILES_COLLECTIONS_DELETE, Method::Delete, path, Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project"),
        row(names::FILES_COLLECTIONS_RENAME, Method::Post, "files/collections/rename", Items::Bulk, Class::Write)
            .bind("id", "/id")
            .bind("newTitle", "/newTitle")
            .changed("", How::Trimmed),
        acl(names::FILES_COLLECTIONS_UPDATE_ACL, "files/collections/updateAcl"),
        labels(names::FILES_COLLECTIONS_UPDATE_LABELS, "files/collections/onUpdatedLabels"),
    ]
}

fn jobs() -> Vec<RowSpec> {
    vec![
        // Dropped members: `ucMetricSampleRate`, which Core adds; `readOnly`, Core's permission on
        // the drive; `allowDuplicateJob`, which Core decides; `restartOnExit`, which Core does not
        // keep. None of them is the user's statement, and an instance receives none.
        row(names::JOBS_CREATE, Method::Post, "jobs", Items::Bulk, Class::Danger)
            .bind_tree("specification", "/specification")
            .changed("/allowDuplicateJob", How::Dropped)
            .changed("/restartOnExit", How::Dropped)
            .changed("/name", How::Trimmed)
            .changed("/labels", How::Names)
            .changed("/parameters/ucMetricSampleRate", How::Dropped)
            .changed_value("/parameters/*")
            .changed_value("/resources/*")
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project"),
        row(names::JOBS_TERMINATE, Method::Post, "jobs/terminate", Items::Bulk, Class::Danger)
            .bind("id", "/id")
            .adds(&RESOURCE)
            .project("/owner/project"),
        row(names::JOBS_EXTEND, Method::Post, "jobs/extend", Items::Bulk, Class::Write)
            .bind("jobId", "/job/id")
            .bind_tree("requestedTime", "/requestedTime")
            .adds(&["/job"])
            .project("/job/owner/project"),
        row(names::JOBS_SUSPEND, Method::Post, "jobs/suspend", Items::Bulk, Class::Write)
            .bind("id", "/job/id")
            .adds(&["/job"])
            .project("/job/owner/project"),
        row(names::JOBS_UNSUSPEND, Method::Post, "jobs/unsuspend", Items::Bulk, Class::Danger)
            .bind("id", "/job/id")
            .adds(&["/job"])
            .project("/job/owner/project"),
        row(names::JOBS_OPEN_INTERACTIVE_SESSION, Method::Post, "jobs/interactiveSession", Items::Bulk, Class::Danger)
            .bind("id", "/job/id")
            .bind("rank", "/rank")
            .bind("sessionType", "/sessionType")
            .bind_tree("target", "/target")
            .adds(&["/job"])
            .project("/job/owner/project"),
        row(names::JOBS_OPEN_TERMINAL_IN_FOLDER, Method::Post, "jobs/openTerminalInFolder", Items::Bulk, Class::Danger)
            .bind("folder", "/folder"),
        row(names::JOBS_FOLLOW, Method::Get, "jobs", Items::Whole, Class::Read)
            .at("/ucloud/jobs.provider.{p}/websocket")
            .over_websocket()
            .bind("id", "/job/id")
            .adds(&["/job", "/type", "/streamId"])
            .project("/job/owner/project"),
        row(names::JOBS_ATTACH_RESOURCE, Method::Post, "jobs/attachResource", Items::Whole, Class::Danger)
            .bind("jobId", "/job/id")
            .bind_tree("resource", "/resource")
            .changed_value("")
            .adds(&["/job"])
            .project("/job/owner/project"),
        row(names::JOBS_DETACH_RESOURCE, Method::Post, "jobs/detachResource", Items::Whole, Class::Write)
            .bind("jobId", "/job/id")
            .bind_tree("resource", "/resource")
            .changed_value("")
            .adds(&["/job"])
            .project("/job/owner/project"),
        acl(names::JOBS_UPDATE_ACL, "jobs/updateAcl"),
        labels(names::JOBS_UPDATE_LABELS, "jobs/onUpdatedLabels"),
    ]
}

/// Public links, public addresses, licences, private networks and shares, which differ only in
/// their names.
fn resources() -> Vec<RowSpec> {
    let mut rows = Vec::new();
    for path in ["ingresses", "networkips", "licenses", "private-networks", "shares"] {
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
        rows.push(create.adds(&RESOURCE).adds(&["/id"]).project("/owner/project"));
        rows.push(
            row(&format!("{path}.delete"), Method::Delete, path, Items::Bulk, Class::Danger)
                .bind("id", "/id")
                .adds(&RESOURCE)
                .project("/owner/project"),
        );
        if path != "shares" {
            rows.push(acl(&format!("{path}.updateAcl"), &format!("{path}/updateAcl")));
            rows.push(labels(&format!("{path}.updateLabels"), &format!("{path}/onUpdatedLabels")));
        }
    }
    rows.push(
        row(names::NETWORKIPS_UPDATE_FIREWALL, Method::Post, "networkips/firewall", Items::Bulk, Class::Danger)
            .bind("id", "/networkIp/id")
            .bind_tree("firewall", "/firewall")
            .adds(&["/networkIp"])
            .project("/networkIp/owner/project"),
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
            .username("/username"),
        row(names::TASKS_PAUSE_OR_CANCEL, Method::Post, "tasks/pauseOrCancel", Items::Whole, Class::Write)
            .bind("id", "/id")
            .bind("requestedState", "/requestedState"),
        row(names::TOKENS_CREATE, Method::Post, "tokens", Items::Whole, Class::Danger)
            .bind_tree("specification", "/specification")
            .changed("/title", How::Trimmed)
            .changed("/description", How::Trimmed)
            .adds(&RESOURCE)
            .adds(&["/id"])
            .project("/owner/project"),
        row(names::TOKENS_REVOKE, Method::Post, "tokens/revoke", Items::Whole, Class::Write).bind("id", "/id"),
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
        direct_row(names::DRIVES_LIST, "drives/list", Class::Read, Instance),
        direct_row(names::KEYS_LIST, "keys/list", Class::Read, Instance),
        // The signing key vouches for another key, which proves possession in `proof`.
        direct_row(names::KEYS_RENEW, "keys/renew", Class::Danger, Instance)
            .bind_tree("jwk", "/jwk")
            .bind("alg", "/alg")
            .bind("name", "/name")
            .bind("proof", "/proof"),
        direct_row(names::KEYS_REMOVE, "keys/remove", Class::Danger, Instance).bind("kid", "/kid"),
        direct_row(names::PASSKEYS_LIST, "passkeys/list", Class::Read, Server),
        direct_row(names::PASSKEYS_BEGIN, "passkeys/begin", Class::Danger, Server).bind("name", "/name"),
        direct_row(names::PASSKEYS_FINISH, "passkeys/finish", Class::Danger, Server)
            .bind_tree("credential", "/credential"),
        direct_row(names::PASSKEYS_REMOVE, "passkeys/remove", Class::Danger, Server).bind("id", "/id"),
        proof_row(names::SESSION_OPEN, "session/open"),
        proof_row(names::SESSION_CONTINUE, "session/continue"),
    ]
}

/// The proof that comes with a one-time token. The user signed what the token allows before it was
/// made. The proof shows that the user redeems it, and for which bytes.
fn proof_row(call: &str, path: &str) -> RowSpec {
    direct_row(call, path, Class::Write, Destination::Session)
        .bind("token", "/token")
        .bind("offset", "/offset")
        .bind("size", "/size")
        .bind("total", "/total")
        .bind("digest", "/digest")
}

fn direct_row(call: &str, path: &str, class: Class, to: Destination) -> RowSpec {
    RowSpec { from: Sender::User, to: Some(to), ..row(call, Method::Post, path, Items::Whole, class) }
}

fn acl(call: &str, path: &str) -> RowSpec {
    row(call, Method::Post, path, Items::Bulk, Class::Danger)
        .bind("id", "/resource/id")
        .bind_tree("added", "/added")
        .bind_tree("deleted", "/deleted")
        .adds(&["/resource"])
        .project("/resource/owner/project")
}

/// Core sends the resource in its new state. Not a tree, because a label with an empty text is
/// still a label.
fn labels(call: &str, path: &str) -> RowSpec {
    row(call, Method::Post, path, Items::Bulk, Class::Write)
        .bind("id", "/id")
        .bind("labels", "/specification/labels")
        .changed("", How::Names)
        .adds(&RESOURCE)
        .project("/owner/project")
}

fn syncthing(operation: &str, class: Class) -> RowSpec {
    row(
        &format!("iapps.syncthing.{operation}"),
        Method::Post,
        &format!("iapps/syncthing/{operation}"),
        Items::Whole,
        class,
    )
    .bind("productId", "/productId")
    .bind_tree("config", "/config")
    .bind_tree("expectedETag", "/expectedETag")
    .adds(&["/principal"])
    .project("/principal/project")
}

fn row(call: &str, method: Method, path: &str, items: Items, class: Class) -> RowSpec {
    RowSpec {
        call: call_name(call),
        method,
        path: format!("/ucloud/{{p}}/{path}"),
        from: Sender::Core,
        to: None,
        transport: Transport::Http,
        items,
        bound: Vec::new(),
        adds: Vec::new(),
        project: None,
        username: None,
        class,
        ask_if: Vec::new(),
        words: None,
    }
}

/// The names above are constants, and a test parses each of them.
#[allow(clippy::expect_used, reason = "a constant of this file, not input")]
fn call_name(name: &str) -> CallName {
    CallName::parse(name).expect("a standard call's name is well-formed")
}

impl RowSpec {
    fn bind(self, name: &str, at: &str) -> Self {
        self.bind_at(name, &[at], Kind::Plain)
    }

    fn bind_tree(self, name: &str, at: &str) -> Self {
        self.bind_at(name, &[at], Kind::Tree)
    }

    fn bind_at(mut self, name: &str, at: &[&str], kind: Kind) -> Self {
        let at = at.iter().map(|&pointer| pointer.to_owned()).collect();
        self.bound.push(BoundSpec { name: name.to_owned(), at, kind, changes: Vec::new() });
        self
    }

    /// Adds a change that Core makes to the last bound parameter.
    fn changed(mut self, at: &str, how: How) -> Self {
        if let Some(bound) = self.bound.last_mut() {
            bound.changes.push(ChangeSpec { at: at.to_owned(), how });
        }
        self
    }

    /// The changes for a value of a job's parameters or resources.
    fn changed_value(self, at: &str) -> Self {
        self.changed(&format!("{at}/readOnly"), How::Dropped)
            .changed(&format!("{at}/hostname"), How::Trimmed)
            .changed(&format!("{at}/server"), How::Trimmed)
            .changed(&format!("{at}/token"), How::Trimmed)
            .changed(&format!("{at}/tokenType"), How::Trimmed)
    }

    fn adds(mut self, pointers: &[&str]) -> Self {
        // A bound place is not added.
        let is_bound = |pointer: &&&str| !self.bound.iter().any(|bound| bound.at.iter().any(|at| at == **pointer));
        let added: Vec<String> = pointers.iter().filter(is_bound).map(|&pointer| pointer.to_owned()).collect();
        self.adds.extend(added);
        self
    }

    fn project(mut self, pointer: &str) -> Self {
        self.project = Some(pointer.to_owned());
        self
    }

    /// An item is dangerous if this path is hidden, or if programs start from it.
    fn ask_at(self, path: &str) -> Self {
        self.ask(path, Condition::Hidden).ask(path, Condition::Startup)
    }

    /// An item is dangerous if it replaces an existing file or folder.
    fn ask_if_it_replaces(self) -> Self {
        self.ask("conflictPolicy", Condition::Replaces)
    }

    fn ask(mut self, parameter: &str, when: Condition) -> Self {
        self.ask_if.push(AskRule { parameter: parameter.to_owned(), when });
        self
    }

    fn username(mut self, pointer: &str) -> Self {
        self.username = Some(pointer.to_owned());
        self
    }

    fn over_websocket(mut self) -> Self {
        self.transport = Transport::WebSocket;
        self
    }

    fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }
}
