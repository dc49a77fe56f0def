//! Time, descriptors, locks, limits and logs, and how a daemon starts and ends.
//!
//! Shared by all processes. Knows nothing of users, requests or configuration.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

pub mod boot;
pub mod clock;
pub mod daemon;
pub mod descriptors;
pub mod exit_code;
pub mod limits;
pub mod lingering_stream;
pub mod locked_file;
pub mod locks;
pub mod log;
pub mod program;
pub mod quoted;
pub mod service_manager;
pub mod tasks;

/// The version, with the commit if the build names it (`deploy/release`). A build script that asked
/// git would rebuild everything after each commit.
pub const VERSION: &str = match option_env!("COUNTERSIGN_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
