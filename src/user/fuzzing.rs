//! What the fuzzer asks of an instance: each thing is where it is read.

pub use super::files::fuzzing as files;
pub use super::shell::fuzzing as shell;
pub use super::socket::fuzzing as socket;
pub use super::ssh_keys::fuzzing as ssh_keys;
pub use super::transfer::fuzzing as transfer;
pub use super::upload_v2::fuzzing as upload;
