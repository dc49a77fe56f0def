//! What is still permitted inside the sandbox.

use std::path::PathBuf;

/// The files and ports that stay within reach.
#[derive(Clone, Debug)]
pub(crate) struct Permitted {
    /// The directory in which new files may be made, and written. No file that is there already can
    /// be opened.
    pub(crate) new_files_in: PathBuf,
    /// The TCP ports that may be connected to. Without any there is no TCP socket but those that
    /// were inherited or accepted.
    pub(crate) ports: Vec<u16>,
}
