//! The bodies that Core writes, as captured from its own client.
//!
//! The Go Core writes members in a fixed order, writes every zero value, and has one member without
//! a JSON tag (`Browse`). The Kotlin Core wrote its default values. A provider must understand
//! both.

use serde::Serialize;
use serde_json::{Value, json};

/// Go's zero time in milliseconds since 1970, which Go writes for a `time.Time` that was never set.
pub const GO_ZERO_TIME_MS: i64 = -62_135_596_800_000;

/// A drive as Core adds it to requests about files (`resolvedCollection`).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drive {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    created_at: i64,
    owner: Owner,
    permissions: Option<Permissions>,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider_generated_id: String,
    specification: DriveSpecification,
    updates: Option<Vec<Value>>,
    status: DriveStatus,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    project: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Permissions {
    myself: Option<Vec<&'static str>>,
    others: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Product {
    id: String,
    category: String,
    provider: String,
}

#[derive(Clone, Debug, Default, Serialize)]
struct DriveSpecification {
    title: String,
    product: Product,
    labels: Option<Value>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct DriveStatus {
    preferred_drive: bool,
    resolved_support: Option<Value>,
    resolved_product: Option<Value>,
}

impl Drive {
    /// A drive with zero values only, as Go writes it.
    #[must_use]
    pub fn zero() -> Self {
        Self {
            id: String::new(),
            created_at: GO_ZERO_TIME_MS,
            owner: Owner::default(),
            permissions: None,
            provider_generated_id: String::new(),
            specification: DriveSpecification::default(),
            updates: None,
            status: DriveStatus::default(),
        }
    }

    /// A new drive: it has Core's number and no id of the provider yet.
    #[must_use]
    pub fn made(number: &str, title: &str, product: &str, username: &str, provider: &str) -> Self {
        let product = Product { id: product.to_owned(), category: product.to_owned(), provider: provider.to_owned() };
        Self {
            provider_generated_id: String::new(),
            specification: DriveSpecification { title: title.to_owned(), product, labels: None },
            ..Self::of(number, username, provider)
        }
    }

    /// The drive that contains `path`, as Core resolves it for `username`.
    #[must_use]
    pub fn of(path: &str, username: &str, provider: &str) -> Self {
        let id = path.split('/').find(|part| !part.is_empty()).unwrap_or_default().to_owned();
        let product = Product { id: "storage".into(), category: "storage".into(), provider: provider.to_owned() };
        Self {
            id: id.clone(),
            created_at: 1_700_000_000_000,
            owner: Owner { created_by: username.to_owned(), project: None },
            permissions: Some(Permissions { myself: Some(vec!["ADMIN", "READ", "EDIT"]), others: None }),
            provider_generated_id: id,
            specification: DriveSpecification { title: "Home".into(), product, labels: None },
            updates: Some(Vec::new()),
            status: DriveStatus::default(),
        }
    }
}

/// A bulk request: Go leaves out `items` when there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Bulk<T> {
    /// The items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
}

/// `{"username": …}`, the body of `connect`, `init` and `unlinked`.
#[derive(Clone, Debug, Serialize)]
pub struct Username<'a> {
    /// The UCloud username.
    pub username: &'a str,
}

/// One folder to make.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FolderItem {
    /// The path.
    pub id: String,
    /// The policy for an existing folder.
    pub conflict_policy: String,
    /// Added by Core.
    pub resolved_collection: Drive,
}

/// One file to move or copy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveItem {
    /// Added by Core.
    pub resolved_old_collection: Drive,
    /// Added by Core.
    pub resolved_new_collection: Drive,
    /// The old path.
    pub old_id: String,
    /// The new path.
    pub new_id: String,
    /// The policy for an existing file.
    pub conflict_policy: String,
}

/// One path: a file to put in the trash, a trash to empty, or a file to download.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathItem {
    /// The path.
    pub id: String,
    /// Added by Core.
    pub resolved_collection: Drive,
}

/// A listing; `flags.path` is the folder.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Browse {
    /// Folder and filters.
    pub flags: FileFlags,
    /// Omitted if 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub items_per_page: i64,
    /// The token of the next page.
    pub next: Option<String>,
    /// The column to sort by.
    pub sort_by: Option<String>,
    /// The direction.
    pub sort_direction: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Core's flags of a listing. Most of them are always null.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are UCloud's and say all there is")]
pub struct FileFlags {
    pub include_others: bool,
    pub include_updates: bool,
    pub include_support: bool,
    pub include_product: bool,
    pub filter_labels: Option<String>,
    pub filter_created_by: Option<String>,
    pub filter_created_after: Option<i64>,
    pub filter_created_before: Option<i64>,
    pub filter_provider: Option<String>,
    pub filter_product_id: Option<String>,
    pub filter_product_category: Option<String>,
    pub hide_product_id: Option<String>,
    pub hide_product_category: Option<String>,
    pub hide_provider: Option<String>,
    pub filter_provider_ids: Option<String>,
    pub filter_ids: Option<String>,
    pub sort_by: Option<String>,
    pub sort_direction: Option<String>,
    pub include_permissions: Option<bool>,
    pub include_timestamps: Option<bool>,
    pub include_sizes: Option<bool>,
    pub include_unix_info: Option<bool>,
    pub include_metadata: Option<bool>,
    pub filter_by_file_extension: Option<String>,
    pub path: Option<String>,
    pub filter_hidden_files: Option<bool>,
}

impl FileFlags {
    /// The flags with which the portal page lists `path`.
    #[must_use]
    pub fn listing(path: Option<&str>) -> Self {
        Self {
            include_timestamps: Some(true),
            include_sizes: Some(true),
            include_metadata: Some(true),
            path: path.map(str::to_owned),
            filter_hidden_files: Some(false),
            ..Self::default()
        }
    }
}

/// The Go Core's listing. The member without a JSON tag keeps its capital letter.
#[derive(Clone, Debug, Serialize)]
pub struct BrowseRequest {
    /// Added by Core.
    #[serde(rename = "resolvedCollection")]
    pub resolved_collection: Drive,
    /// The listing.
    #[serde(rename = "Browse")]
    pub browse: Browse,
}

/// The Go Core's retrieval of one file.
#[derive(Clone, Debug, Serialize)]
pub struct RetrieveRequest {
    /// Added by Core.
    #[serde(rename = "resolvedCollection")]
    pub resolved_collection: Drive,
    /// The file.
    pub retrieve: Retrieve,
}

/// The inner half of [`RetrieveRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct Retrieve {
    /// The details to return.
    pub flags: FileFlags,
    /// The path.
    pub id: String,
}

/// A user's SSH keys after a change: all keys that remain, or null if none remains.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyUpload {
    username: String,
    all_keys: Option<Vec<SshKey>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SshKey {
    id: String,
    owner: String,
    created_at: i64,
    fingerprint: String,
    specification: SshKeySpecification,
}

#[derive(Clone, Debug, Serialize)]
struct SshKeySpecification {
    title: String,
    key: String,
}

impl KeyUpload {
    /// Numbers `keys` in their order.
    #[must_use]
    pub fn of(username: &str, keys: &[String]) -> Self {
        let key = |(number, key): (usize, &String)| SshKey {
            id: number.to_string(),
            owner: username.to_owned(),
            created_at: 1_700_000_000_000,
            fingerprint: "SHA256:unchecked".to_owned(),
            specification: SshKeySpecification { title: format!("key {number}"), key: key.trim().to_owned() },
        };
        let keys: Vec<SshKey> = keys.iter().enumerate().map(key).collect();
        Self { username: username.to_owned(), all_keys: (!keys.is_empty()).then_some(keys) }
    }
}

/// A drive as the Kotlin Core wrote it: with default values and without Go's zero values.
#[must_use]
pub fn kotlin_drive(path: &str, username: &str, provider: &str) -> Value {
    let id = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
    json!({
        "id": id,
        "specification": {"title": "Home", "product": {"id": "storage", "category": "storage", "provider": provider}},
        "createdAt": 1_700_000_000_000_i64,
        "status": {"resolvedSupport": null, "resolvedProduct": null},
        "updates": [],
        "owner": {"createdBy": username, "project": null},
        "permissions": {"myself": ["ADMIN", "READ", "EDIT"], "others": []},
        "providerGeneratedId": id,
    })
}

/// The Kotlin Core's listing: `browse` in lower case, two more members for pagination.
#[must_use]
pub fn kotlin_browse(path: &str, username: &str, provider: &str) -> Value {
    json!({
        "resolvedCollection": kotlin_drive(path, username, provider),
        "browse": {
            "flags": FileFlags::listing(Some(path)),
            "itemsPerPage": 50, "next": null, "consistency": null, "itemsToSkip": null,
            "sortBy": null, "sortDirection": "ascending",
        },
    })
}
