//! `[projects]`: whether the centre takes part in UCloud's projects, and how.

/// The table. Without it events of projects are not asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Projects {
    pub removals: Removals,
}

/// How many confirmed members are removed on Core's word within an hour. Further removals wait for
/// an administrator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Removals {
    /// Of one project.
    pub each_hour: usize,
    /// Of all projects.
    pub all_hour: usize,
}
