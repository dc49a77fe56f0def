//! The options of `sbatch` that an application may set, and their values.
//!
//! An allow-list. Each value has its own syntax, and each number is bounded by the product that the
//! user pays for. Refuses every other option by its name: those that choose files, accounts,
//! environment or mail are decided by the instance alone.

use countersign_config::Machine;

use crate::invocation::shorten;

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

/// What the instance sets by itself, and leaves out if a directive replaces it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Own {
    CpusPerTask,
    Memory,
    GpusPerTask,
}

/// Why a directive is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DirectiveRejection {
    #[error("an application cannot set the option {0:?} of sbatch")]
    NotAllowed(String),
    #[error("a workflow cannot set the option {0:?} of sbatch, since it takes more than the machine that was chosen")]
    NotForWorkflows(&'static str),
    #[error("the option {option} of sbatch cannot be {value:?}")]
    Value { option: &'static str, value: String },
    #[error("the option {option} of sbatch is {value}, and the machine that was chosen allows {max} at most")]
    TooMuch { option: &'static str, value: u64, max: u64 },
    #[error("the application asks for {0} than the machine that was chosen has")]
    Together(&'static str),
}

/// Every directive, for a search by name.
const ALL: [Directive; 19] = [
    Directive::Ntasks,
    Directive::NtasksPerNode,
    Directive::NtasksPerSocket,
    Directive::CpusPerTask,
    Directive::CpusPerGpu,
    Directive::GpusPerNode,
    Directive::GpusPerTask,
    Directive::GpuBind,
    Directive::Mem,
    Directive::MemPerCpu,
    Directive::MemPerGpu,
    Directive::Exclusive,
    Directive::Hint,
    Directive::ThreadsPerCore,
    Directive::Constraint,
    Directive::Distribution,
    Directive::Signal,
    Directive::Requeue,
    Directive::NoRequeue,
];

/// Longest value, in bytes.
const VALUE_MAX: usize = 128;

/// Megabytes of a gigabyte, as `sbatch` gets the product's memory.
const MB_OF_GB: u64 = 1000;

/// Signals that a job may ask for by name.
const SIGNALS: [&str; 8] = ["HUP", "INT", "TERM", "USR1", "USR2", "CONT", "STOP", "TSTP"];

/// Most seconds before the end at which Slurm sends a signal.
const SIGNAL_S_MAX: u64 = 65_535;

/// The machines of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machines<'m> {
    pub(crate) machine: &'m Machine,
    pub(crate) nodes: u64,
}

/// Who asks for a directive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asker {
    /// An application that an administrator approved.
    Approved,
    /// A workflow, which is a user's.
    Workflow,
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

    /// The instance's own option that this one takes the place of.
    pub const fn replaces(self) -> Option<Own> {
        match self {
            Self::CpusPerTask | Self::CpusPerGpu => Some(Own::CpusPerTask),
            Self::Mem | Self::MemPerCpu | Self::MemPerGpu => Some(Own::Memory),
            Self::GpusPerTask | Self::GpusPerNode => Some(Own::GpusPerTask),
            Self::Ntasks
            | Self::NtasksPerNode
            | Self::NtasksPerSocket
            | Self::GpuBind
            | Self::Exclusive
            | Self::Hint
            | Self::ThreadsPerCore
            | Self::Constraint
            | Self::Distribution
            | Self::Signal
            | Self::Requeue
            | Self::NoRequeue => None,
        }
    }

    pub(crate) fn parse(name: &str, asker: Asker) -> Result<Self, DirectiveRejection> {
        let known = ALL.into_iter().find(|directive| directive.option() == name);
        match known {
            None => Err(DirectiveRejection::NotAllowed(shorten(name))),
            // Slurm counts every processor of the node, whatever the product has.
            Some(Self::Exclusive) if asker == Asker::Workflow => {
                Err(DirectiveRejection::NotForWorkflows(Self::Exclusive.option()))
            }
            Some(directive) => Ok(directive),
        }
    }

    /// The value in its one spelling; empty for an option without a value.
    pub(crate) fn value(self, typed: &str, machines: Machines<'_>) -> Result<String, DirectiveRejection> {
        let wrong = || DirectiveRejection::Value { option: self.option(), value: shorten(typed) };
        if typed.len() > VALUE_MAX || !typed.is_ascii() || typed.chars().any(char::is_control) {
            return Err(wrong());
        }
        let Machines { machine, nodes } = machines;
        let (cpu, gpu) = (count(machine.cpu), count(machine.gpu));
        let memory_mb = count(machine.memory_gb).saturating_mul(MB_OF_GB);
        match self {
            Self::Ntasks => self.number(typed, cpu.saturating_mul(nodes)),
            Self::NtasksPerNode | Self::NtasksPerSocket | Self::CpusPerTask => self.number(typed, cpu),
            Self::CpusPerGpu => self.number(typed, cpu.checked_div(gpu).unwrap_or(0)),
            Self::GpusPerNode | Self::GpusPerTask => self.number(typed, gpu),
            Self::Mem => self.memory(typed, memory_mb),
            Self::MemPerCpu => self.memory(typed, memory_mb.checked_div(cpu).unwrap_or(0)),
            Self::MemPerGpu => self.memory(typed, memory_mb.checked_div(gpu).unwrap_or(0)),
            Self::ThreadsPerCore => self.number(typed, 8),
            Self::Exclusive | Self::Requeue | Self::NoRequeue => match typed {
                "" | "true" => Ok(String::new()),
                _ => Err(wrong()),
            },
            Self::Hint => {
                let is_hint = matches!(typed, "compute_bound" | "memory_bound" | "multithread" | "nomultithread");
                is_hint.then(|| typed.to_owned()).ok_or_else(wrong)
            }
            Self::GpuBind => is_gpu_bind(typed).then(|| typed.to_owned()).ok_or_else(wrong),
            Self::Constraint => {
                // The site's own constraint is added with `&`: so nothing here may mean "or".
                typed.split('&').all(is_feature).then(|| typed.to_owned()).ok_or_else(wrong)
            }
            Self::Distribution => is_distribution(typed).then(|| typed.to_owned()).ok_or_else(wrong),
            Self::Signal => is_signal(typed).then(|| typed.to_owned()).ok_or_else(wrong),
        }
    }

    fn number(self, typed: &str, max: u64) -> Result<String, DirectiveRejection> {
        let option = self.option();
        let Some(value) = digits(typed).filter(|value| *value > 0) else {
            return Err(DirectiveRejection::Value { option, value: shorten(typed) });
        };
        if value > max {
            return Err(DirectiveRejection::TooMuch { option, value, max });
        }
        Ok(value.to_string())
    }

    /// In megabytes. Slurm reads 0 as all of the node's memory.
    fn memory(self, typed: &str, max: u64) -> Result<String, DirectiveRejection> {
        let option = self.option();
        let wrong = || DirectiveRejection::Value { option, value: shorten(typed) };
        let units = [("M", 1), ("G", 1024), ("T", 1024 * 1024)];
        let with_unit = units.into_iter().find_map(|(unit, mb)| typed.strip_suffix(unit).map(|number| (number, mb)));
        let (number, unit_mb) = with_unit.unwrap_or((typed, 1));
        let value = digits(number).and_then(|number| number.checked_mul(unit_mb)).filter(|value| *value > 0);
        let value = value.ok_or_else(wrong)?;
        if value > max {
            return Err(DirectiveRejection::TooMuch { option, value, max });
        }
        Ok(format!("{value}M"))
    }
}

/// A number of a product; a negative one is none.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Only digits, and few of them: Slurm reads "0x10", "+1" and " 1" in its own ways.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn is_feature(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.bytes().all(is_plain) && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn is_gpu_bind(typed: &str) -> bool {
    let bind = typed.strip_prefix("verbose,").unwrap_or(typed);
    let of_number = |prefix| bind.strip_prefix(prefix).and_then(digits).is_some();
    matches!(bind, "none" | "closest") || of_number("single:") || of_number("per_task:")
}

fn is_distribution(typed: &str) -> bool {
    let (levels, pack) = typed.split_once(',').map_or((typed, None), |(levels, pack)| (levels, Some(pack)));
    let is_level = |level: &str| {
        matches!(level, "*" | "block" | "cyclic" | "fcyclic") || level.strip_prefix("plane=").and_then(digits).is_some()
    };
    levels.split(':').count() <= 3 && levels.split(':').all(is_level) && matches!(pack, None | Some("Pack" | "NoPack"))
}

fn is_signal(typed: &str) -> bool {
    let rest = typed.strip_prefix("B:").or_else(|| typed.strip_prefix("R:")).unwrap_or(typed);
    let (signal, seconds) = rest.split_once('@').map_or((rest, None), |(signal, seconds)| (signal, Some(seconds)));
    let is_known = SIGNALS.contains(&signal) || digits(signal).is_some_and(|number| (1..=64).contains(&number));
    is_known && seconds.is_none_or(|seconds| digits(seconds).is_some_and(|seconds| seconds <= SIGNAL_S_MAX))
}

/// The directives of one job: each at most once, in the order of their names here. Adds what
/// several tasks on a node need to fit into the machine.
#[derive(Debug, Default)]
pub(crate) struct Directives(std::collections::BTreeMap<Directive, String>);

impl Directives {
    /// The later one counts.
    pub(crate) fn set(
        &mut self,
        name: &str,
        typed: &str,
        asker: Asker,
        machines: Machines<'_>,
    ) -> Result<(), DirectiveRejection> {
        let directive = Directive::parse(name, asker)?;
        let value = directive.value(typed, machines)?;
        self.0.insert(directive, value);
        Ok(())
    }

    fn number(&self, directive: Directive) -> Option<u64> {
        self.0.get(&directive).and_then(|value| digits(value))
    }

    pub(crate) fn finish(mut self, machines: Machines<'_>) -> Result<Vec<(Directive, String)>, DirectiveRejection> {
        let Machines { machine, nodes } = machines;
        let (cpu, gpu) = (count(machine.cpu), count(machine.gpu));
        let spread = |tasks: u64| tasks.div_ceil(nodes.max(1));
        let tasks = self.number(Directive::NtasksPerNode).or_else(|| self.number(Directive::Ntasks).map(spread));
        if let (Some(total), Some(on_each)) = (self.number(Directive::Ntasks), self.number(Directive::NtasksPerNode))
            && total > on_each.saturating_mul(nodes)
        {
            return Err(DirectiveRejection::Together("more tasks"));
        }
        if let Some(tasks) = tasks.filter(|tasks| *tasks > 1) {
            if !self.0.keys().any(|directive| directive.replaces() == Some(Own::CpusPerTask)) {
                let each = cpu.checked_div(tasks).unwrap_or(1).max(1);
                self.0.insert(Directive::CpusPerTask, each.to_string());
            }
            if gpu > 0 && !self.0.keys().any(|directive| directive.replaces() == Some(Own::GpusPerTask)) {
                self.0.insert(Directive::GpusPerNode, gpu.to_string());
            }
        }
        let tasks = tasks.unwrap_or(1);
        if self.number(Directive::CpusPerTask).is_some_and(|each| each.saturating_mul(tasks) > cpu) {
            return Err(DirectiveRejection::Together("more processors"));
        }
        if self.number(Directive::GpusPerTask).is_some_and(|each| each.saturating_mul(tasks) > gpu) {
            return Err(DirectiveRejection::Together("more GPUs"));
        }
        let memory = [Directive::Mem, Directive::MemPerCpu, Directive::MemPerGpu];
        if memory.into_iter().filter(|directive| self.0.contains_key(directive)).count() > 1 {
            return Err(DirectiveRejection::Together("memory in more ways"));
        }
        Ok(self.0.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
