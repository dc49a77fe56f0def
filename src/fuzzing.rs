//! Entry points of the fuzz targets (`fuzz/`): every parser of input from other processes and
//! people.
//!
//! Compiled only with `--cfg fuzzing`, so the product does not contain it. Each function is beside
//! the code that it tests, takes untrusted input, and panics if an invariant is broken.

pub use countersign_applications::fuzzing as applications;
pub use countersign_audit::fuzzing as audit;
pub use countersign_config::fuzzing as config;
pub use countersign_gateway::fuzzing as gateway;
pub use countersign_instance::fuzzing as instance;
pub use countersign_ipc::fuzzing as ipc;
