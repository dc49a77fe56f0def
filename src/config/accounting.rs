//! `[accounting]`: whether and how often UCloud is told what users have used. Without this table it
//! is told nothing.

use std::time::Duration;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageReports {
    /// How often usage is looked up.
    pub every: Duration,
}
