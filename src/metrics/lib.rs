//! Metrics of gateway and server: the list of families, counters, and the text format.
//!
//! A counter is an atomic number, so that counting takes no lock and no memory. Labels are words of
//! the program: no user, key, path or id can become one. What a process has counted is a
//! [`Snapshot`], which the server hands to the gateway; the gateway alone writes the text.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]
#![cfg_attr(test, allow(clippy::as_conversions, reason = "of small numbers that a test has chosen"))]

mod counter;
pub mod family;
mod histogram;
mod snapshot;
#[cfg(feature = "text")]
mod text;

pub use self::counter::{Counter, Held, Level};
pub use self::family::{FAMILIES, Family, Kind};
pub use self::histogram::{BOUNDS_S, Histogram};
pub use self::snapshot::{Measured, Sample, Snapshot, Value};
#[cfg(feature = "text")]
pub use self::text::{CONTENT_TYPE, write};
