//! What the fuzzer's targets reach (`fuzz/`): whatever the three processes read that somebody else
//! wrote.
//!
//! Built with `--cfg fuzzing` alone, so that the product has none of it. A function there stands
//! beside what it feeds, takes what a stranger could have written, and panics where something does
//! not hold that must.

pub use crate::audit::fuzzing as audit;
pub use crate::config::fuzzing as config;
pub use crate::gateway::fuzzing as gateway;
pub use crate::ipc::fuzzing as ipc;
pub use crate::user::fuzzing as user;
