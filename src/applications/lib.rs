//! Applications: what a user's job may run at this site, and the script that it becomes.
//!
//! Core says what an application is, and the user signs its name and version. So an application
//! starts only as an administrator approved it, or if all that it runs is a script that the user
//! signed ([`Startable`]). Rendering is deterministic: it has no clock, no randomness, and reads no
//! file.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod catalogue;
mod differences;
mod directive;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod invocation;
mod render;
mod shell;
mod template;
mod values;

pub use crate::catalogue::{Approved, Catalogue, Listed, NameRejection, NotApproved, Startable, WorkflowOnly};
pub use crate::differences::{Difference, contents, differences};
pub use crate::directive::{Directive, DirectiveRejection, Own};
pub use crate::invocation::{ApplicationType, Digest, INVOCATION_MAX, Invocation, InvocationRejection};
pub use crate::render::{RenderFailure, Rendered, Site, render};
pub use crate::template::{Target, TargetKind, TemplateFailure};
pub use crate::values::{ValueRejection, is_module};
