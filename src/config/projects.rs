//! `[projects]`: whether the centre takes part in UCloud's projects, and how.

use std::path::PathBuf;

/// The table. Without it events of projects are not asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Projects {
    /// `None` if the site makes no groups of them.
    pub groups: Option<Groups>,
    pub removals: Removals,
}

/// The site's groups of projects. Neither names nor gids are Core's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Groups {
    /// Before a project's number: 1 to 16 lower-case letters, digits, `-` or `_`, beginning with a
    /// letter.
    pub prefix: String,
    /// The first gid and the last.
    pub gids: (u32, u32),
    /// The site's program and its arguments. It gets a group as JSON, and makes it so.
    pub command: (PathBuf, Vec<String>),
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
