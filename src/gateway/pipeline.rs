//! The steps of each request on its way to an instance or to the server.
//!
//! `route` chooses the lane; `core`, `direct`, `session` and `public` are the lanes. Each calls the
//! shared steps in the order in which they happen: `verify`, `find_deposit`, `consume`, `forward`
//! (design, section 3).

pub(crate) mod budget;
mod consume;
mod core;
pub(crate) mod deposits;
mod direct;
pub(crate) mod fetch_metadata;
mod find_deposit;
pub(crate) mod forward;
mod health;
pub(crate) mod instance;
pub(crate) mod public;
mod route;
pub(crate) mod session;
pub(crate) mod signature_queue;
mod verify;
