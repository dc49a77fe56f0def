//! What several tests use: a whole centre and its parts.

pub(crate) mod centre;
pub(crate) mod desk;
pub(crate) mod machine;
pub(crate) mod program;
pub(crate) mod site;
pub(crate) mod stream;
pub(crate) mod transfer;
