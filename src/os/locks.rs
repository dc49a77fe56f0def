//! The mutex for shared state on which promises depend: the replay log, the key cache and the queue
//! of signatures.
//!
//! It is the standard library's. In tests it has a scheduling point, so that a scheduler can
//! systematically try the interleavings of threads. Outside such tests it is the plain lock there
//! too.

#[cfg(not(any(test, feature = "testing")))]
pub use std::sync::Mutex;

#[cfg(any(test, feature = "testing"))]
pub use scheduled::Mutex;

#[cfg(any(test, feature = "testing"))]
pub mod scheduled {
    //! The mutex for tests.

    use std::cell::Cell;
    use std::sync::{LockResult, MutexGuard, TryLockError};

    /// Whether a scheduler runs, and what it may interrupt.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Scheduled {
        No,
        /// Tasks of one thread, where they await.
        Tasks,
        /// Threads, at their locks too.
        Threads,
    }

    thread_local! {
        /// A scheduler runs all its threads on one system thread, with a stack each.
        static SCHEDULED: Cell<Scheduled> = const { Cell::new(Scheduled::No) };
    }

    /// Whether a scheduler runs.
    pub(crate) fn is_scheduled() -> bool {
        SCHEDULED.get() != Scheduled::No
    }

    /// A lock that asks the scheduler of threads, if there is one, before it is taken.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            if SCHEDULED.get() != Scheduled::Threads {
                return self.0.lock();
            }
            loop {
                shuttle::thread::yield_now();
                match self.0.try_lock() {
                    Ok(guard) => return Ok(guard),
                    Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
                    Err(TryLockError::WouldBlock) => {} // its holder was interrupted and has to run first
                }
            }
        }
    }

    /// Tries every interleaving of the threads that `test` starts, at their locks, channels and
    /// ends. Returns how many there were.
    pub fn in_every_order(test: impl Fn() + Send + Sync + 'static) -> usize {
        run(Scheduled::Threads, shuttle::scheduler::DfsScheduler::new(None, false), test)
    }

    /// Tries that many interleavings, drawn from one seed.
    pub fn in_orders(count: usize, test: impl Fn() + Send + Sync + 'static) -> usize {
        run(Scheduled::Threads, shuttle::scheduler::RandomScheduler::new_from_seed(1, count), test)
    }

    /// The same for tasks of one thread: none is interrupted between two awaits.
    pub fn in_orders_of_one_thread(count: usize, test: impl Fn() + Send + Sync + 'static) -> usize {
        run(Scheduled::Tasks, shuttle::scheduler::RandomScheduler::new_from_seed(1, count), test)
    }

    /// For each thread, in bytes. Unoptimised code needs much.
    const STACK: usize = 1024 * 1024;

    fn run(
        scheduled: Scheduled,
        scheduler: impl shuttle::scheduler::Scheduler + 'static,
        test: impl Fn() + Send + Sync + 'static,
    ) -> usize {
        let mut config = shuttle::Config::new();
        config.stack_size = STACK;
        SCHEDULED.set(scheduled);
        let orders = shuttle::Runner::new(scheduler, config).run(test);
        SCHEDULED.set(Scheduled::No);
        orders
    }
}
