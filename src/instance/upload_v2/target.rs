//! Where an upload goes.

use crate::files::path::UcloudPath;

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One file, whatever the client calls it.
    File(UcloudPath),
    /// Files beneath a folder, which is made if there is none.
    Folder(UcloudPath),
}
