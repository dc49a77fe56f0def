//! The command line of `countersign projects`.

use clap::{Args, Subcommand};

use super::output::Output;

/// `countersign projects`
#[derive(Debug, Subcommand)]
pub(crate) enum Projects {
    /// List the projects that UCloud has described.
    #[command(after_help = "Example:\n  sudo countersign projects list --json")]
    List(Output),
    /// List the members about whom something waits: who are new, have a higher role, or have left.
    ///
    /// Names, roles and titles are UCloud's word. Ask the project's leader before you approve.
    #[command(after_help = "Example:\n  sudo countersign projects pending")]
    Pending(ProjectsPending),
    /// List the members of a project.
    #[command(after_help = "Example:\n  sudo countersign projects show 0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20")]
    Show(ProjectsShow),
    /// Approve what waits about members: admit them, raise their role, or remove them.
    #[command(after_help = "Example:\n  \
        sudo countersign projects approve 0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20 'Alice#1234'")]
    Approve(ProjectsDecide),
    /// Leave members as they are, until UCloud names another role.
    #[command(after_help = "Example:\n  \
        sudo countersign projects reject 0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20 'Mallory#1'")]
    Reject(ProjectsDecide),
}

/// `countersign projects pending`
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ProjectsPending {
    /// Also members who are not connected to an account here.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign projects show`
#[derive(Args, Debug)]
pub(crate) struct ProjectsShow {
    /// UCloud's id of the project.
    #[arg(value_name = "PROJECT")]
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign projects approve` and `reject`
#[derive(Args, Debug)]
pub(crate) struct ProjectsDecide {
    /// UCloud's id of the project.
    #[arg(value_name = "PROJECT")]
    pub(crate) project: String,
    /// Names at UCloud.
    #[arg(value_name = "USERNAME", required = true)]
    pub(crate) usernames: Vec<String>,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
}
