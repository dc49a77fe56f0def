//! A user's calls about files, drives and jobs: as the user signs it, and as Core sends it to the
//! provider.
//!
//! The signed form follows section 3 of the protocol, read independently of the product.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Fault;
use crate::core::bodies::{
    Browse, BrowseRequest, Bulk, Drive, FileFlags, FolderItem, KeyUpload, MoveItem, PathItem, Retrieve,
    RetrieveRequest, kotlin_browse, kotlin_drive,
};
use crate::core::{Flavour, JobDeed, ResourceDeed, applications, rewriting};
use crate::signer::Projection;

/// One call of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Lists a folder.
    Browse(String),
    /// Retrieves one file.
    Retrieve(String),
    /// Makes folders.
    CreateFolder(Vec<String>),
    /// Moves files: from, to.
    Move(Vec<(String, String)>),
    /// Copies files: from, to.
    Copy(Vec<(String, String)>),
    /// Puts files in the trash.
    Trash(Vec<String>),
    /// Empties a trash folder.
    EmptyTrash(Vec<String>),
    /// Creates a drive with a title and a product. Core has assigned its number.
    CreateDrive {
        /// The title.
        title: String,
        /// The name of the product and of its category.
        product: String,
        /// The provider.
        provider: String,
        /// Core's number of the drive.
        number: String,
    },
    /// Removes drives, by their numbers.
    DeleteDrives(Vec<String>),
    /// Changes a drive's title: number, title.
    RenameDrive(String, String),
    /// Requests a download of a file.
    Download(String),
    /// Uploads a file or the files of a folder: destination, content, policy for an existing name.
    Upload(String, Brings, String),
    /// Opens a terminal in a folder.
    Terminal(String),
    /// Changes the SSH keys in UCloud: all keys after the change.
    UploadKeys(Vec<String>),
    /// Starts a job with the specification that the user asked for. Core has assigned its number.
    StartJob {
        /// Core's number of the job.
        number: String,
        /// The specification that the user asked for.
        specification: Value,
        /// The digest of the script that the user saw, if the user signs it. Core knows nothing of
        /// it.
        script: Option<String>,
    },
    /// A call about a job that exists.
    Job(JobDeed),
    /// A call about a public link or a licence.
    Resource(ResourceDeed),
    /// Changes a drive's labels: number, all labels after the change.
    RelabelDrive(String, Value),
    /// Sets a task's requested state: `CANCELLED`, `SUSPENDED` or `RUNNING`.
    PauseOrCancel(i64, String),
}

/// The content of an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Brings {
    /// One file.
    File,
    /// Files of a folder.
    Folder,
}

impl Brings {
    const fn as_str(self) -> &'static str {
        match self {
            Self::File => "FILE",
            Self::Folder => "FOLDER",
        }
    }
}

/// The upload protocols that today's frontend offers.
const PROTOCOLS: [&str; 2] = ["CHUNKED", "WEBSOCKET"];

/// The portal page's policy for an existing name.
const CONFLICT_POLICY: &str = "RENAME";

impl Deed {
    /// [`Deed::Browse`].
    #[must_use]
    pub fn browse(path: &str) -> Self {
        Self::Browse(path.to_owned())
    }

    /// [`Deed::Retrieve`].
    #[must_use]
    pub fn retrieve(path: &str) -> Self {
        Self::Retrieve(path.to_owned())
    }

    /// [`Deed::CreateFolder`] of one folder.
    #[must_use]
    pub fn create_folder(path: &str) -> Self {
        Self::CreateFolder(vec![path.to_owned()])
    }

    /// [`Deed::Move`] of one file.
    #[must_use]
    pub fn move_(from: &str, to: &str) -> Self {
        Self::Move(vec![(from.to_owned(), to.to_owned())])
    }

    /// [`Deed::Copy`] of one file.
    #[must_use]
    pub fn copy(from: &str, to: &str) -> Self {
        Self::Copy(vec![(from.to_owned(), to.to_owned())])
    }

    /// [`Deed::Trash`] of one file.
    #[must_use]
    pub fn trash(path: &str) -> Self {
        Self::Trash(vec![path.to_owned()])
    }

    /// [`Deed::Upload`] of one file.
    #[must_use]
    pub fn upload(path: &str, policy: &str) -> Self {
        Self::Upload(path.to_owned(), Brings::File, policy.to_owned())
    }

    /// The name of the call that the user signs.
    #[must_use]
    pub fn call(&self) -> &'static str {
        match self {
            Self::Browse(_) => "files.browse",
            Self::Retrieve(_) => "files.retrieve",
            Self::CreateFolder(_) => "files.createFolder",
            Self::Move(_) => "files.move",
            Self::Copy(_) => "files.copy",
            Self::Trash(_) => "files.trash",
            Self::EmptyTrash(_) => "files.emptyTrash",
            Self::CreateDrive { .. } => "files.collections.create",
            Self::DeleteDrives(_) => "files.collections.delete",
            Self::RenameDrive(..) => "files.collections.rename",
            Self::Download(_) => "files.createDownload",
            Self::Upload(..) => "files.createUpload",
            Self::Terminal(_) => "jobs.openTerminalInFolder",
            Self::UploadKeys(_) => "ssh.keyUploaded",
            Self::StartJob { .. } => "jobs.create",
            Self::Job(deed) => deed.call(),
            Self::Resource(deed) => deed.call(),
            Self::RelabelDrive(..) => "files.collections.updateLabels",
            Self::PauseOrCancel(..) => "tasks.pauseOrCancel",
        }
    }

    /// The path after `/ucloud/{provider}/`, for example `files/browse`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Browse(_) => "files/browse",
            Self::Retrieve(_) => "files/retrieve",
            Self::CreateFolder(_) => "files/folder",
            Self::Move(_) => "files/move",
            Self::Copy(_) => "files/copy",
            Self::Trash(_) => "files/trash",
            Self::EmptyTrash(_) => "files/emptyTrash",
            Self::CreateDrive { .. } | Self::DeleteDrives(_) => "files/collections",
            Self::RenameDrive(..) => "files/collections/rename",
            Self::Download(_) => "files/download",
            Self::Upload(..) => "files/upload",
            Self::Terminal(_) => "jobs/openTerminalInFolder",
            Self::UploadKeys(_) => "ssh/keyUploaded",
            Self::StartJob { .. } => "jobs",
            Self::Job(deed) => deed.operation(),
            Self::Resource(deed) => deed.operation(),
            Self::RelabelDrive(..) => "files/collections/onUpdatedLabels",
            Self::PauseOrCancel(..) => "tasks/pauseOrCancel",
        }
    }

    /// The method of Core's request to the provider.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        let deletes = matches!(self, Self::DeleteDrives(_) | Self::Resource(ResourceDeed::Delete(..)));
        if deletes { "DELETE" } else { "POST" }
    }

    /// The bound parameters of every item, as the user's browser signs them.
    #[must_use]
    pub fn projections(&self) -> Vec<Projection> {
        match self {
            Self::Browse(path) => vec![Projection::new([("path", json!(path))])],
            Self::Retrieve(path) => vec![Projection::new([("id", json!(path))])],
            Self::CreateFolder(paths) => paths
                .iter()
                .map(|path| Projection::new([("id", json!(path)), ("conflictPolicy", json!(CONFLICT_POLICY))]))
                .collect(),
            Self::Move(pairs) | Self::Copy(pairs) => pairs
                .iter()
                .map(|(from, to)| {
                    Projection::new([
                        ("oldId", json!(from)),
                        ("newId", json!(to)),
                        ("conflictPolicy", json!(CONFLICT_POLICY)),
                    ])
                })
                .collect(),
            Self::Trash(paths) | Self::EmptyTrash(paths) => {
                paths.iter().map(|path| Projection::new([("id", json!(path))])).collect()
            }
            Self::CreateDrive { title, product, provider, .. } => {
                // An empty title is dropped from the tree, as Go's zero values are.
                let product = json!({"id": product, "category": product, "provider": provider});
                let specification = match title.trim() {
                    "" => json!({"product": product}),
                    title => json!({"title": title, "product": product}),
                };
                vec![Projection::new([("specification", specification)])]
            }
            Self::StartJob { specification, script, .. } => {
                let mut item = Projection::new([("specification", rewriting::signed_job(specification))]);
                item.0.extend(script.iter().map(|digest| ("script".to_owned(), json!(digest))));
                vec![item]
            }
            Self::Job(deed) => vec![deed.projection()],
            Self::Resource(deed) => vec![deed.projection()],
            Self::RelabelDrive(number, labels) => {
                vec![Projection::new([("id", json!(number)), ("labels", rewriting::labels(Some(labels)))])]
            }
            Self::DeleteDrives(numbers) => {
                numbers.iter().map(|number| Projection::new([("id", json!(number))])).collect()
            }
            Self::RenameDrive(number, title) => {
                vec![Projection::new([("id", json!(number)), ("newTitle", json!(title.trim()))])]
            }
            Self::Download(path) => vec![Projection::new([("id", json!(path))])],
            Self::Upload(path, brings, policy) => vec![Projection::new([
                ("id", json!(path)),
                ("type", json!(brings.as_str())),
                ("conflictPolicy", json!(policy)),
            ])],
            Self::Terminal(folder) => vec![Projection::new([("folder", json!(folder))])],
            Self::PauseOrCancel(id, state) => {
                vec![Projection::new([("id", json!(id)), ("requestedState", json!(state))])]
            }
            // The keys are a set: signer and provider sort them in the same order.
            Self::UploadKeys(keys) => {
                let mut keys: Vec<String> = keys.iter().map(|key| key.trim().to_owned()).collect();
                keys.sort_by_key(|key| key.encode_utf16().collect::<Vec<_>>());
                vec![Projection::new([("keys", json!(keys))])]
            }
        }
    }

    /// The body of Core's request to the provider.
    ///
    /// # Errors
    /// [`Fault::Json`] if the body cannot be written.
    pub fn body(&self, username: &str, provider: &str, flavour: Flavour) -> Result<Bytes, Fault> {
        let bytes = match flavour {
            Flavour::Core2 => self.go_body(username, provider)?,
            Flavour::Core1 => serde_json::to_vec(&self.kotlin_body(username, provider))?,
        };
        Ok(bytes.into())
    }

    fn go_body(&self, username: &str, provider: &str) -> Result<Vec<u8>, Fault> {
        let drive = |path: &str| Drive::of(path, username, provider);
        Ok(match self {
            Self::Browse(path) => serde_json::to_vec(&BrowseRequest {
                resolved_collection: drive(path),
                browse: Browse { flags: FileFlags::listing(Some(path)), items_per_page: PAGE, ..Browse::default() },
            }),
            Self::Retrieve(path) => serde_json::to_vec(&RetrieveRequest {
                resolved_collection: drive(path),
                retrieve: Retrieve { flags: FileFlags::listing(None), id: path.clone() },
            }),
            Self::CreateFolder(paths) => serde_json::to_vec(&Bulk {
                items: paths
                    .iter()
                    .map(|path| FolderItem {
                        id: path.clone(),
                        conflict_policy: CONFLICT_POLICY.to_owned(),
                        resolved_collection: drive(path),
                    })
                    .collect(),
            }),
            Self::Move(pairs) | Self::Copy(pairs) => serde_json::to_vec(&Bulk {
                items: pairs
                    .iter()
                    .map(|(from, to)| MoveItem {
                        resolved_old_collection: drive(from),
                        resolved_new_collection: drive(to),
                        old_id: from.clone(),
                        new_id: to.clone(),
                        conflict_policy: CONFLICT_POLICY.to_owned(),
                    })
                    .collect(),
            }),
            Self::Trash(paths) | Self::EmptyTrash(paths) => serde_json::to_vec(&Bulk {
                items: paths
                    .iter()
                    .map(|path| PathItem { id: path.clone(), resolved_collection: drive(path) })
                    .collect(),
            }),
            Self::UploadKeys(keys) => serde_json::to_vec(&KeyUpload::of(username, keys)),
            Self::PauseOrCancel(id, state) => serde_json::to_vec(&json!({"id": id, "requestedState": state})),
            Self::CreateDrive { title, product, number, .. } => serde_json::to_vec(&Bulk {
                items: vec![Drive::made(number, title.trim(), product, username, provider)],
            }),
            Self::DeleteDrives(numbers) => {
                serde_json::to_vec(&Bulk { items: numbers.iter().map(|number| drive(number)).collect() })
            }
            Self::Download(path) => serde_json::to_vec(&Bulk {
                items: vec![PathItem { id: path.clone(), resolved_collection: drive(path) }],
            }),
            Self::Upload(..)
            | Self::Terminal(_)
            | Self::RenameDrive(..)
            | Self::StartJob { .. }
            | Self::Job(_)
            | Self::Resource(_)
            | Self::RelabelDrive(..) => serde_json::to_vec(&self.kotlin_body(username, provider)),
        }?)
    }

    fn kotlin_body(&self, username: &str, provider: &str) -> Value {
        let drive = |path: &str| kotlin_drive(path, username, provider);
        let bulk = |items: Vec<Value>| json!({"items": items});
        match self {
            Self::Browse(path) => kotlin_browse(path, username, provider),
            Self::Retrieve(path) => json!({
                "resolvedCollection": drive(path),
                "retrieve": {"flags": FileFlags::listing(None), "id": path},
            }),
            Self::CreateFolder(paths) => bulk(
                paths
                    .iter()
                    .map(|path| {
                        json!({"resolvedCollection": drive(path), "id": path, "conflictPolicy": CONFLICT_POLICY})
                    })
                    .collect(),
            ),
            Self::Move(pairs) | Self::Copy(pairs) => bulk(
                pairs
                    .iter()
                    .map(|(from, to)| {
                        json!({
                            "resolvedOldCollection": drive(from), "resolvedNewCollection": drive(to),
                            "oldId": from, "newId": to, "conflictPolicy": CONFLICT_POLICY,
                        })
                    })
                    .collect(),
            ),
            Self::Trash(paths) | Self::EmptyTrash(paths) => {
                bulk(paths.iter().map(|path| json!({"resolvedCollection": drive(path), "id": path})).collect())
            }
            // Only the Go Core: the Kotlin Core had no labels, and its jobs are not imitated here.
            Self::StartJob { number, specification, .. } => bulk(vec![job(number, specification, username)]),
            Self::Job(deed) => deed.body(username),
            Self::Resource(deed) => deed.body(username),
            Self::RelabelDrive(number, labels) => {
                let mut resource = json!(Drive::of(number, username, provider));
                if let Some(specification) = resource.get_mut("specification").and_then(Value::as_object_mut) {
                    specification.insert("labels".to_owned(), rewriting::labels(Some(labels)));
                }
                bulk(vec![resource])
            }
            Self::CreateDrive { title, product, number, .. } => {
                bulk(vec![json!(Drive::made(number, title, product, username, provider))])
            }
            Self::DeleteDrives(numbers) => bulk(numbers.iter().map(|number| json!(drive(number))).collect()),
            Self::RenameDrive(number, title) => bulk(vec![json!({"id": number, "newTitle": title.trim()})]),
            Self::Download(path) => bulk(vec![json!({"resolvedCollection": drive(path), "id": path})]),
            Self::Upload(path, brings, policy) => bulk(vec![json!({
                "id": path, "type": brings.as_str(), "supportedProtocols": PROTOCOLS, "conflictPolicy": policy,
                "resolvedCollection": drive(path),
            })]),
            Self::Terminal(folder) => bulk(vec![json!({"folder": folder})]),
            Self::UploadKeys(keys) => json!(KeyUpload::of(username, keys)),
            Self::PauseOrCancel(id, state) => json!({"id": id, "requestedState": state}),
        }
    }
}

/// A job as the Go Core sends it. The user may change files on every drive.
fn job(number: &str, specification: &Value, username: &str) -> Value {
    let application = |member: &str| {
        let member = specification.get("application").and_then(|application| application.get(member));
        member.and_then(Value::as_str).unwrap_or_default()
    };
    json!({
        "id": number, "createdAt": 1_700_000_000_000_i64, "owner": {"createdBy": username, "project": null},
        "permissions": {"myself": ["ADMIN", "READ", "EDIT"], "others": null}, "updates": [],
        "specification": rewriting::job(specification, |_| true),
        "status": {
            "state": "IN_QUEUE", "jobParametersJson": null, "startedAt": null, "expiresAt": null,
            "resolvedApplication": applications::resolved(application("name"), application("version")),
            "resolvedProduct": null, "resolvedSupport": null, "allowRestart": false,
        },
        "output": {"outputFolder": null},
    })
}

/// The portal page's page size.
const PAGE: i64 = 50;
