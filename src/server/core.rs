//! Calls to UCloud's Core, and the calls that Core makes of the server.

pub(crate) mod client;
pub(crate) mod drive_registration;
pub(crate) mod drives;
pub(crate) mod outbox;
pub(crate) mod product_registration;
pub(crate) mod products;
pub(crate) mod schedule;
pub(crate) mod service_calls;
pub(crate) mod task_table;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
