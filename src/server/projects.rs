//! Projects: whom Core lists, and whom the centre admits (protocol, section 13).
//!
//! Core's events propose members and remove them. A proposed member has no power until an
//! administrator confirms it, so a taken-over Core gives no account another's files.

pub(crate) mod decisions;
pub(crate) mod groups;
pub(crate) mod listing;
pub(crate) mod membership;
pub(crate) mod rules;
pub(crate) mod table;
#[cfg(test)]
mod tests;
