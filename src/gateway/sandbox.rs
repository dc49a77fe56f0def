//! The gateway's sandbox, entered before it accepts the first connection. An attacker who takes the
//! gateway over gets the requests that pass through it, and next to nothing of the machine (P3).
//!
//! Three independent layers: no new privileges through programs; Landlock, which allows one
//! directory and the ports of instances ([`files`]); and an allow-list of system calls ([`calls`]).
//! They cover all threads, because they are applied before a second one starts, and cannot be
//! removed.

mod calls;
mod files;
mod filter;
#[cfg(debug_assertions)]
pub(crate) mod misbehaviour;
mod permitted;

use countersign_config::Sandbox;
use countersign_os::log::Chain;

pub(crate) use self::files::NoLandlock;
pub(crate) use self::filter::NoFilter;
pub(crate) use self::permitted::Permitted;

#[derive(Debug, thiserror::Error)]
pub enum SandboxFailure {
    #[error(
        "Landlock cannot restrict the gateway; gateway.sandbox = \"available\" runs without what this kernel lacks"
    )]
    Landlock(#[from] NoLandlock),
    #[error(
        "seccomp cannot filter the gateway's system calls; gateway.sandbox = \"available\" runs without what this kernel lacks"
    )]
    Filter(#[from] NoFilter),
    /// Another thread would stay outside.
    #[error("the gateway already has other threads, which would stay outside the sandbox")]
    Threads,
}

/// Enters the sandbox, and logs what is enforced.
///
/// # Errors
/// A required layer that cannot be enforced.
pub(crate) fn enter(sandbox: Sandbox, permitted: &Permitted) -> Result<(), SandboxFailure> {
    let (is_required, filter) = match sandbox {
        Sandbox::Off => {
            tracing::warn!("gateway.sandbox is off: a compromised gateway has all rights of its account");
            return Ok(());
        }
        Sandbox::Required => (true, filter::Otherwise::Refuse),
        Sandbox::Available => (false, filter::Otherwise::Refuse),
        Sandbox::Log => (true, filter::Otherwise::Log),
    };
    // Without /proc nothing else of this program would work.
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(SandboxFailure::Threads);
    }
    let landlock = match files::restrict(permitted, is_required) {
        Ok(landlock) => landlock.to_string(),
        Err(failure) if is_required => return Err(failure.into()),
        Err(failure) => missing("Landlock", &failure),
    };
    let calls = match filter::install(!permitted.ports.is_empty(), filter) {
        Ok(()) if filter == filter::Otherwise::Log => missing("the refusal of system calls", &filter::OnlyLogged),
        Ok(()) => "those on the list".to_owned(),
        Err(failure) if is_required => return Err(failure.into()),
        Err(failure) => missing("the filter of system calls", &failure),
    };
    tracing::info!(landlock, system_calls = calls, "entered sandbox");
    Ok(())
}

fn missing(what: &str, why: &(dyn std::error::Error + 'static)) -> String {
    tracing::warn!("the gateway runs without {what}: {}", Chain(why));
    "not in force".to_owned()
}
