//! The user's account and the user's own files: who may have an instance, pinned keys, and the key
//! that an instance shows.
//!
//! Opens every file by the rules of [`countersign_config::user_file`]. Never used by the gateway.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

pub mod accounts;
pub mod instance_key;
pub mod own_directory;
pub mod pin_file;
