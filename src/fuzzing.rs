//! Entry points of the fuzz targets (`fuzz/`): every parser of input from other processes and
//! people.
//!
//! Compiled only with `--cfg fuzzing`, so the product does not contain it. Each function is beside
//! the code that it tests, takes untrusted input, and panics if an invariant is broken.

pub use crate::audit::fuzzing as audit;
pub use crate::config::fuzzing as config;
pub use crate::gateway::fuzzing as gateway;
pub use crate::instance::fuzzing as instance;
pub use crate::ipc::fuzzing as ipc;
