//! Landlock: restricts the reachable files, ports and processes.
//!
//! Linux 5.13 restricts files. Later kernels add truncation, devices, TCP, abstract sockets and
//! signals, which are used where available. The allow-list of system calls refuses most of these
//! anyway.

use std::fmt;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
    Scope,
};

use super::permitted::Permitted;

/// The newest version that was tested. Later additions are not requested.
const TRIED: ABI = ABI::V7;

/// Why Landlock cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub enum NoLandlock {
    #[error("cannot open the directory for new files")]
    Directory(#[from] PathFdError),
    /// The kernel refuses the rules.
    #[error("the kernel refuses the rules: Landlock needs Linux 5.13, with `landlock` in /sys/kernel/security/lsm")]
    Rules(#[from] RulesetError),
    /// The kernel has no Landlock.
    #[error(
        "the kernel has no Landlock, or it is disabled: it needs Linux 5.13, with `landlock` in /sys/kernel/security/lsm"
    )]
    Absent,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InForce {
    version: ABI,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files")?;
        if self.version >= ABI::V4 {
            f.write_str(", TCP ports")?;
        }
        if self.version >= ABI::V6 {
            f.write_str(", abstract sockets, signals")?;
        }
        Ok(())
    }
}

/// Applies the rules to this thread and all threads that it starts.
pub(super) fn restrict(permitted: &Permitted, is_required: bool) -> Result<InForce, NoLandlock> {
    let least = if is_required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let all = AccessFs::from_all(TRIED);
    // Created, written, and cut back to the last complete line. Not read, and not removed.
    let new_files: BitFlags<AccessFs> = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate;
    let rules = Ruleset::default()
        .set_compatibility(least)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(&permitted.new_files_in)?, new_files))?
        .add_rules(
            permitted.ports.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp))),
        )?;
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(NoLandlock::Absent),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(InForce { version: effective_abi }),
        (_, _) => Err(NoLandlock::Absent),
    }
}
