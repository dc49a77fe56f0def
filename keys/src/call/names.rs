//! The names of the calls: the table has a row for each, and every comparison uses them, so that a
//! misspelt name does not compile. Rows that differ only in their resource have no constant.
#![allow(missing_docs, reason = "the constant says what the name is")]

pub const FILES_BROWSE: &str = "files.browse";
pub const FILES_RETRIEVE: &str = "files.retrieve";
pub const FILES_VISUALIZE: &str = "files.visualize";
pub const FILES_CREATE_FOLDER: &str = "files.createFolder";
pub const FILES_MOVE: &str = "files.move";
pub const FILES_COPY: &str = "files.copy";
pub const FILES_TRASH: &str = "files.trash";
pub const FILES_EMPTY_TRASH: &str = "files.emptyTrash";
pub const FILES_CREATE_UPLOAD: &str = "files.createUpload";
pub const FILES_CREATE_DOWNLOAD: &str = "files.createDownload";
pub const FILES_DELETE: &str = "files.delete";
pub const FILES_TRANSFER: &str = "files.transfer";
pub const FILES_STREAMING_SEARCH: &str = "files.streamingSearch";
pub const FILES_COLLECTIONS_CREATE: &str = "files.collections.create";
pub const FILES_COLLECTIONS_DELETE: &str = "files.collections.delete";
pub const FILES_COLLECTIONS_RENAME: &str = "files.collections.rename";
pub const FILES_COLLECTIONS_UPDATE_ACL: &str = "files.collections.updateAcl";
pub const FILES_COLLECTIONS_UPDATE_LABELS: &str = "files.collections.updateLabels";

pub const JOBS_CREATE: &str = "jobs.create";
/// The bound parameter of `jobs.create` that the intent carries, and the name of the claim.
pub const SCRIPT: &str = "script";

pub const JOBS_PREVIEW: &str = "jobs.preview";
pub const JOBS_TERMINATE: &str = "jobs.terminate";
pub const JOBS_EXTEND: &str = "jobs.extend";
pub const JOBS_SUSPEND: &str = "jobs.suspend";
pub const JOBS_UNSUSPEND: &str = "jobs.unsuspend";
pub const JOBS_OPEN_INTERACTIVE_SESSION: &str = "jobs.openInteractiveSession";
pub const JOBS_OPEN_TERMINAL_IN_FOLDER: &str = "jobs.openTerminalInFolder";
pub const JOBS_FOLLOW: &str = "jobs.follow";
pub const JOBS_ATTACH_RESOURCE: &str = "jobs.attachResource";
pub const JOBS_DETACH_RESOURCE: &str = "jobs.detachResource";
pub const JOBS_UPDATE_ACL: &str = "jobs.updateAcl";
pub const JOBS_UPDATE_LABELS: &str = "jobs.updateLabels";

pub const INGRESSES_CREATE: &str = "ingresses.create";
pub const INGRESSES_DELETE: &str = "ingresses.delete";
pub const INGRESSES_UPDATE_LABELS: &str = "ingresses.updateLabels";

pub const LICENSES_CREATE: &str = "licenses.create";
pub const LICENSES_DELETE: &str = "licenses.delete";
pub const LICENSES_UPDATE_LABELS: &str = "licenses.updateLabels";

pub const NETWORKIPS_UPDATE_FIREWALL: &str = "networkips.updateFirewall";

pub const SSH_KEY_UPLOADED: &str = "ssh.keyUploaded";

pub const TASKS_PAUSE_OR_CANCEL: &str = "tasks.pauseOrCancel";

pub const TOKENS_CREATE: &str = "tokens.create";
pub const TOKENS_REVOKE: &str = "tokens.revoke";

pub const DRIVES_LIST: &str = "drives.list";

pub const KEYS_LIST: &str = "keys.list";
pub const KEYS_RENEW: &str = "keys.renew";
pub const KEYS_REMOVE: &str = "keys.remove";

pub const PASSKEYS_LIST: &str = "passkeys.list";
pub const PASSKEYS_BEGIN: &str = "passkeys.begin";
pub const PASSKEYS_FINISH: &str = "passkeys.finish";
pub const PASSKEYS_REMOVE: &str = "passkeys.remove";

/// In the intent of a session's first request (protocol, section 7).
pub const SESSION_OPEN: &str = "session.open";
/// In the intent of each later request of a session.
pub const SESSION_CONTINUE: &str = "session.continue";

/// In the intent with which a browser tries its new key. The call has no row, so the intent can do
/// nothing else.
pub const CONNECT_PROBE: &str = "connect.probe";
