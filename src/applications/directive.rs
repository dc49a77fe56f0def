//! The options of `sbatch` that an application may set.

/// An option of `sbatch` that an application may set.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Directive {
    Ntasks,
    NtasksPerNode,
    NtasksPerSocket,
    CpusPerTask,
    CpusPerGpu,
    GpusPerNode,
    GpusPerTask,
    GpuBind,
    Mem,
    MemPerCpu,
    MemPerGpu,
    Exclusive,
    Hint,
    ThreadsPerCore,
    Constraint,
    Distribution,
    Signal,
    Requeue,
    NoRequeue,
}

impl Directive {
    /// The name of the option, without `--`.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Ntasks => "ntasks",
            Self::NtasksPerNode => "ntasks-per-node",
            Self::NtasksPerSocket => "ntasks-per-socket",
            Self::CpusPerTask => "cpus-per-task",
            Self::CpusPerGpu => "cpus-per-gpu",
            Self::GpusPerNode => "gpus-per-node",
            Self::GpusPerTask => "gpus-per-task",
            Self::GpuBind => "gpu-bind",
            Self::Mem => "mem",
            Self::MemPerCpu => "mem-per-cpu",
            Self::MemPerGpu => "mem-per-gpu",
            Self::Exclusive => "exclusive",
            Self::Hint => "hint",
            Self::ThreadsPerCore => "threads-per-core",
            Self::Constraint => "constraint",
            Self::Distribution => "distribution",
            Self::Signal => "signal",
            Self::Requeue => "requeue",
            Self::NoRequeue => "no-requeue",
        }
    }

    /// Whether the option stands without a value.
    pub const fn is_bare(self) -> bool {
        matches!(self, Self::Exclusive | Self::Requeue | Self::NoRequeue)
    }
}
