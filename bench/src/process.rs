//! The cost of a process and its children, in CPU time and resident memory, and the cores on which
//! they may run.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::error::BenchError;

/// A process and all its descendants, in no particular order.
pub(crate) fn tree(root: Pid) -> Result<Vec<Pid>, BenchError> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next = next.saturating_add(1);
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).map_err(BenchError::io("threads of a proxy"))?;
        for task in tasks {
            let task = task.map_err(BenchError::io("threads of a proxy"))?;
            // A thread that has ended meanwhile has no children.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|word| word.parse().ok()).map(Pid::from_raw));
        }
    }
    Ok(found)
}

/// The arguments of a process's command line.
pub(crate) fn arguments(process: Pid) -> Result<Vec<String>, BenchError> {
    let line = fs::read(format!("/proc/{process}/cmdline")).map_err(BenchError::io("command line of a process"))?;
    Ok(line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// User and system time of these processes, all threads and ended threads included, in nanoseconds
/// rather than `/proc`'s hundredths.
pub(crate) fn cpu_time(processes: &[Pid]) -> Result<Duration, BenchError> {
    let mut total = Duration::ZERO;
    for process in processes {
        let clock = clock_getcpuclockid(*process).map_err(BenchError::system("CPU clock of a proxy"))?;
        let spent = clock.now().map_err(BenchError::system("CPU clock of a proxy"))?;
        total = total.saturating_add(Duration::from(spent));
    }
    Ok(total)
}

/// The kernel's share of the time of these processes, between 0 and 1. `/proc` counts in
/// hundredths of a second, and may have counted none.
pub(crate) fn system_share(before: Ticks, after: Ticks) -> f64 {
    let [user, system] = [after.user.saturating_sub(before.user), after.system.saturating_sub(before.system)]
        .map(|ticks| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)));
    system / (user + system).max(1.0)
}

/// Time of processes in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ticks {
    user: u64,
    system: u64,
}

/// User and system time of these processes so far.
pub(crate) fn ticks(processes: &[Pid]) -> Result<Ticks, BenchError> {
    let mut total = Ticks::default();
    for process in processes {
        let stat = told(*process, "stat")?;
        // The name may hold spaces. After it come the state and ten numbers, then both times
        // (proc_pid_stat(5)).
        let numbers = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
        let mut numbers = numbers.map_while(|number| number.parse::<u64>().ok());
        let (Some(user), Some(system)) = (numbers.next(), numbers.next()) else {
            return Err(BenchError::Empty("a process without times"));
        };
        total.user = total.user.saturating_add(user);
        total.system = total.system.saturating_add(system);
    }
    Ok(total)
}

/// The runtime of the load, in the calling thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BenchError::io("the load's runtime"))
}

/// Raises the limit of open descriptors, which children inherit, to the most that is allowed. Root
/// may also raise what is allowed, to what is wanted. Returns the limit.
pub(crate) fn raise_descriptors(wanted: usize) -> Result<usize, BenchError> {
    let failed = || BenchError::system("the limit of open files");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed())?;
    let more = hard.max(u64::try_from(wanted).unwrap_or(u64::MAX));
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, more, more).is_ok() { more } else { hard };
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).map_err(failed())?;
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Resident memory of these processes, in bytes. A shared page is counted for each. Cheap enough to
/// be read continuously.
pub(crate) fn resident_bytes(processes: &[Pid]) -> Result<u64, BenchError> {
    let mut total: u64 = 0;
    for process in processes {
        total = total.saturating_add(bytes_of(&told(*process, "status")?, "VmRSS:")?);
    }
    Ok(total)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// All resident pages, shared ones included.
    pub(crate) resident_bytes: u64,
    /// A page that `n` processes share is counted as an `n`th: the kernel's proportional set size.
    pub(crate) proportional_bytes: u64,
    /// Neither of a file nor shared: the cost of each further process of this kind.
    pub(crate) own_bytes: u64,
}

/// Reads the memory of a process.
pub(crate) fn taken(process: Pid) -> Result<Taken, BenchError> {
    let rollup = told(process, "smaps_rollup")?;
    Ok(Taken {
        resident_bytes: bytes_of(&rollup, "Rss:")?,
        proportional_bytes: bytes_of(&rollup, "Pss:")?,
        own_bytes: bytes_of(&rollup, "Anonymous:")?,
    })
}

fn told(process: Pid, file: &str) -> Result<String, BenchError> {
    fs::read_to_string(format!("/proc/{process}/{file}")).map_err(BenchError::io("memory of a process"))
}

/// The figure on the line of that name, which the kernel gives in KiB.
fn bytes_of(text: &str, name: &str) -> Result<u64, BenchError> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    kib.map(|kib| kib.saturating_mul(1024)).ok_or(BenchError::Empty("a process without resident memory"))
}

/// The cores of the proxies, and the core of load and upstream, so that neither takes the other's
/// time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cores {
    /// The first so many are the proxies', and the next is the load's.
    Apart(usize),
    /// There are too few.
    Shared,
}

impl Cores {
    /// For proxies with so many threads. Has to be called before anything is pinned.
    pub(crate) fn of(threads: usize) -> Self {
        let enough = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > threads);
        if enough { Self::Apart(threads) } else { Self::Shared }
    }

    /// Pins the calling thread, and every thread and process that it starts from here on, to the
    /// proxies' cores.
    pub(crate) fn pin_to_proxies(self) -> Result<(), BenchError> {
        match self {
            Self::Apart(threads) => pin(0..threads),
            Self::Shared => Ok(()),
        }
    }

    /// The same for the load's core.
    pub(crate) fn pin_to_load(self) -> Result<(), BenchError> {
        match self {
            Self::Apart(threads) => pin(threads..threads.saturating_add(1)),
            Self::Shared => Ok(()),
        }
    }
}

fn pin(cores: Range<usize>) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core).map_err(BenchError::system("naming a core"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(BenchError::system("pinning to a core"))
}
