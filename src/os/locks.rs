//! The mutex for shared state on which promises depend: the replay log and the key cache.
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

    thread_local! {
        /// A scheduler runs all its threads on one system thread, with a stack each.
        static IS_SCHEDULED: Cell<bool> = const { Cell::new(false) };
    }

    /// A lock that asks the scheduler, if there is one, before it is taken.
    #[derive(Debug)]
    pub struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            if !IS_SCHEDULED.get() {
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
        run(shuttle::scheduler::DfsScheduler::new(None, false), test)
    }

    /// Tries that many interleavings, drawn from one seed.
    pub fn in_orders(count: usize, test: impl Fn() + Send + Sync + 'static) -> usize {
        run(shuttle::scheduler::RandomScheduler::new_from_seed(1, count), test)
    }

    /// For each thread, in bytes. Unoptimised code needs much.
    const STACK: usize = 1024 * 1024;

    fn run(scheduler: impl shuttle::scheduler::Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) -> usize {
        let mut config = shuttle::Config::new();
        config.stack_size = STACK;
        IS_SCHEDULED.set(true);
        let orders = shuttle::Runner::new(scheduler, config).run(test);
        IS_SCHEDULED.set(false);
        orders
    }
}
