//! HTTP transfers between the user's browser and this instance: UCloud's download and chunked
//! upload.

pub(crate) mod body;
mod download;
pub(crate) mod upload;

pub(crate) use self::download::download;
#[cfg(fuzzing)]
pub use self::download::fuzzing;
