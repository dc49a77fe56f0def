//! The user's drives: which folder each one is, UCloud's numbers for them, and those that the user
//! makes.

pub(crate) mod ids;
pub(crate) mod table;
pub(crate) mod user_made;
