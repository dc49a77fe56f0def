//! Entry points of the fuzz targets for the instance.

pub use super::downloads::fuzzing as downloads;
pub use super::files::fuzzing as files;
pub use super::ssh_keys::fuzzing as ssh_keys;
pub use super::terminal::fuzzing as terminal;
pub use super::uploads::websocket::fuzzing as upload;
pub use super::websocket::fuzzing as websocket;
