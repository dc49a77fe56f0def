//! The destination of an upload.

use crate::files::path::UcloudPath;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One file, whatever name the client lists.
    File(UcloudPath),
    /// Files beneath a folder, which is created if it is missing.
    Folder(UcloudPath),
}
