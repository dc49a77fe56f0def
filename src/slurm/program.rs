//! The names of Slurm's programs.

/// Slurm's programs that are run, and no others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Program {
    Sbatch,
    Squeue,
    Sacct,
    Scancel,
    Srun,
    Scontrol,
    Sinfo,
    Sacctmgr,
}

impl Program {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sbatch => "sbatch",
            Self::Squeue => "squeue",
            Self::Sacct => "sacct",
            Self::Scancel => "scancel",
            Self::Srun => "srun",
            Self::Scontrol => "scontrol",
            Self::Sinfo => "sinfo",
            Self::Sacctmgr => "sacctmgr",
        }
    }
}
