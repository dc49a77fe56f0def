//! Requests of a template beside its output: directives, and ports that users may open.

use minijinja::{Error, ErrorKind};

/// Most directives and targets that one template sets.
pub(super) const CALLS_MAX: usize = 256;

/// A port of the job that users may open in the browser.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    pub rank: u32,
    pub kind: TargetKind,
    pub name: String,
    pub port: u16,
}

/// How users see a [`Target`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetKind {
    Web,
    Vnc,
}

/// What a template asked for beside its output.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Calls of `sbatch`, in their order.
    pub(crate) directives: Vec<(String, String)>,
    pub(crate) targets: Vec<Target>,
}

/// A failure of the template's own.
pub(super) fn refuse(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}
