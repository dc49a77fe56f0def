//! Landlock: which files, ports and processes are within reach at all.
//!
//! Linux 5.13 keeps the gateway from files. What later kernels add (truncation, devices, TCP,
//! abstract sockets, signals) is taken where it is there; the allow-list of system calls refuses
//! most of it anyway.

use std::fmt;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
    Scope,
};

use super::permitted::Permitted;

/// The newest version that was tried. What a later one adds is not asked for.
const TRIED: ABI = ABI::V7;

/// Why Landlock cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLandlock {
    /// The directory cannot be opened.
    #[error("the directory that stays open to it cannot be opened")]
    Directory(#[from] PathFdError),
    /// The kernel does not do it.
    #[error(
        "the kernel does not take the rules: Landlock needs Linux 5.13, with `landlock` in /sys/kernel/security/lsm"
    )]
    Rules(#[from] RulesetError),
    /// The kernel has none.
    #[error(
        "the kernel has no Landlock, or it is not switched on: it needs Linux 5.13, with `landlock` in /sys/kernel/security/lsm"
    )]
    Absent,
}

/// What came into force.
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

/// Puts the rules on this thread and all that it will start.
pub(super) fn restrict(permitted: &Permitted, is_required: bool) -> Result<InForce, NoLandlock> {
    let least = if is_required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let all = AccessFs::from_all(TRIED);
    // Made, written, and put back to its last whole line. Not read, and not removed.
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
