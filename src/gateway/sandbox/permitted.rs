//! The sandbox's exceptions.

use std::path::PathBuf;

/// Files and ports that stay reachable.
#[derive(Clone, Debug)]
pub(crate) struct Permitted {
    /// The directory in which new files may be created and written. Existing files cannot be
    /// opened.
    pub(crate) new_files_in: PathBuf,
    /// The TCP ports to which connections may be made. If empty, no TCP socket can be created;
    /// inherited and accepted ones stay.
    pub(crate) ports: Vec<u16>,
}
