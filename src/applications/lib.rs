//! Applications: what a user's job may run at this site, and the script that it becomes.
//!
//! Core says what an application is, and the user signs its name and version. So an application
//! starts only as an administrator approved it, or if all that it runs is a script that the user
//! signed ([`Startable`]). Rendering is deterministic: it has no clock, no randomness, and reads no
//! file.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod catalogue;
mod directive;
mod invocation;
mod render;

pub use crate::catalogue::{Approved, Catalogue, NotApproved, Startable, WorkflowOnly};
pub use crate::directive::Directive;
pub use crate::invocation::{Digest, Invocation, InvocationRejection};
pub use crate::render::{RenderFailure, Rendered, Site, render};
