//! Files on their way between the user's browser and this instance, over HTTP: what UCloud calls
//! download and chunked upload.

pub(crate) mod body;
mod download;
pub(crate) mod upload;

pub(crate) use self::download::download;
#[cfg(fuzzing)]
pub use self::download::fuzzing;
