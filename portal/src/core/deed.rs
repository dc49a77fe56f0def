//! What a user does with files: the same deed as the user says it (and signs it) and as Core tells
//! the provider.
//!
//! The signed side is the protocol, section 3, read independently of the product.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Fault;
use crate::core::bodies::{
    Browse, BrowseRequest, Bulk, Drive, FileFlags, FolderItem, KeyUpload, MoveItem, PathItem, Retrieve,
    RetrieveRequest, kotlin_browse, kotlin_drive,
};
use crate::core::{Flavour, rewriting};
use crate::signer::Projection;

/// One thing that a user does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Lists a folder.
    Browse(String),
    /// Looks at one file.
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
    /// Makes a drive with this title, of that product; Core has given it this number.
    CreateDrive {
        /// The title.
        title: String,
        /// The product's name, which is its category's too.
        product: String,
        /// The provider.
        provider: String,
        /// Core's number of it.
        number: String,
    },
    /// Removes drives, by their numbers.
    DeleteDrives(Vec<String>),
    /// Gives a drive another title: its number, and the title.
    RenameDrive(String, String),
    /// Asks for a file's content.
    Download(String),
    /// Brings a file, or a folder's files: where to, and what happens if there is something of that
    /// name.
    Upload(String, Brings, String),
    /// Opens a terminal in a folder.
    Terminal(String),
    /// Changes the SSH keys that UCloud knows of: all that there are afterwards.
    UploadKeys(Vec<String>),
    /// Starts a job of this specification, as the user asks for it; Core has given it this number.
    StartJob {
        /// Core's number of it.
        number: String,
        /// What the user asks.
        specification: Value,
    },
    /// Gives a drive these labels: its number, and all labels that it is to have.
    RelabelDrive(String, Value),
    /// Says to a task what it is to do: `CANCELLED`, `SUSPENDED` or `RUNNING`.
    PauseOrCancel(i64, String),
}

/// What an upload brings.
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

/// What the frontend of today says that it speaks.
const PROTOCOLS: [&str; 2] = ["CHUNKED", "WEBSOCKET"];

/// What the portal page chooses when a name is taken.
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

    /// [`Deed::CreateFolder`] of one.
    #[must_use]
    pub fn create_folder(path: &str) -> Self {
        Self::CreateFolder(vec![path.to_owned()])
    }

    /// [`Deed::Move`] of one.
    #[must_use]
    pub fn move_(from: &str, to: &str) -> Self {
        Self::Move(vec![(from.to_owned(), to.to_owned())])
    }

    /// [`Deed::Copy`] of one.
    #[must_use]
    pub fn copy(from: &str, to: &str) -> Self {
        Self::Copy(vec![(from.to_owned(), to.to_owned())])
    }

    /// [`Deed::Trash`] of one.
    #[must_use]
    pub fn trash(path: &str) -> Self {
        Self::Trash(vec![path.to_owned()])
    }

    /// [`Deed::Upload`] of a file.
    #[must_use]
    pub fn upload(path: &str, policy: &str) -> Self {
        Self::Upload(path.to_owned(), Brings::File, policy.to_owned())
    }

    /// The call's name on the user's side, as it is signed.
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
            Self::RelabelDrive(..) => "files.collections.updateLabels",
            Self::PauseOrCancel(..) => "tasks.pauseOrCancel",
        }
    }

    /// The last part of the provider's path: `files/…`, say.
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
            Self::RelabelDrive(..) => "files/collections/onUpdatedLabels",
            Self::PauseOrCancel(..) => "tasks/pauseOrCancel",
        }
    }

    /// The method with which Core tells the provider.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        if matches!(self, Self::DeleteDrives(_)) { "DELETE" } else { "POST" }
    }

    /// The bound parameters of every item, as the user's browser takes them from what the user
    /// does.
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
                // What the page leaves out is dropped from the tree, as Go's zero values are.
                let product = json!({"id": product, "category": product, "provider": provider});
                let specification = match title.trim() {
                    "" => json!({"product": product}),
                    title => json!({"title": title, "product": product}),
                };
                vec![Projection::new([("specification", specification)])]
            }
            Self::StartJob { specification, .. } => {
                vec![Projection::new([("specification", rewriting::signed_job(specification))])]
            }
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
            // A set: in the one order that both sides put it in.
            Self::UploadKeys(keys) => {
                let mut keys: Vec<String> = keys.iter().map(|key| key.trim().to_owned()).collect();
                keys.sort_by_key(|key| key.encode_utf16().collect::<Vec<_>>());
                vec![Projection::new([("keys", json!(keys))])]
            }
        }
    }

    /// The body with which Core tells the provider.
    ///
    /// # Errors
    /// [`Fault::Json`] where it cannot be written.
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
            // The Go Core's own: the Kotlin Core had no labels, and its jobs are not stood in for.
            Self::StartJob { number, specification } => bulk(vec![job(number, specification, username)]),
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

/// A job as the Go Core sends it: the user may change files on every drive.
fn job(number: &str, specification: &Value, username: &str) -> Value {
    json!({
        "id": number, "createdAt": 1_700_000_000_000_i64, "owner": {"createdBy": username, "project": null},
        "permissions": {"myself": ["ADMIN", "READ", "EDIT"], "others": null}, "updates": [],
        "specification": rewriting::job(specification, |_| true),
        "status": {
            "state": "IN_QUEUE", "jobParametersJson": null, "startedAt": null, "expiresAt": null,
            "resolvedApplication": null, "resolvedProduct": null, "resolvedSupport": null, "allowRestart": false,
        },
        "output": {"outputFolder": null},
    })
}

/// The portal page's page size.
const PAGE: i64 = 50;
