//! The lock behind what several threads share and promises hang on: the replay log and the
//! directory of keys.
//!
//! It is the standard library's. In tests it is the same one behind a point at which a scheduler
//! may let another thread go first, so that the orders in which threads can come to a lock are
//! tried by plan and not by luck. Outside of such a test it is the plain lock there too.

#[cfg(not(test))]
pub(crate) use std::sync::Mutex;

#[cfg(test)]
pub(crate) use scheduled::Mutex;

#[cfg(test)]
pub(crate) mod scheduled {
    //! The lock as tests have it.

    use std::cell::Cell;
    use std::sync::{LockResult, MutexGuard, TryLockError};

    thread_local! {
        /// A scheduler runs all its threads on one of the system's, each with a stack of its own.
        static IS_SCHEDULED: Cell<bool> = const { Cell::new(false) };
    }

    /// A lock whose every taking is a decision of the scheduler, where there is one.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            if !IS_SCHEDULED.get() {
                return self.0.lock();
            }
            loop {
                shuttle::thread::yield_now();
                match self.0.try_lock() {
                    Ok(guard) => return Ok(guard),
                    Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
                    Err(TryLockError::WouldBlock) => {} // whoever has it was interrupted: they go on first
                }
            }
        }
    }

    /// Tries every order in which the threads that `test` starts can come to their locks, channels
    /// and ends; how many there were.
    pub(crate) fn in_every_order(test: impl Fn() + Send + Sync + 'static) -> usize {
        run(shuttle::scheduler::DfsScheduler::new(None, false), test)
    }

    /// Tries as many orders as that, each drawn from one seed.
    pub(crate) fn in_orders(count: usize, test: impl Fn() + Send + Sync + 'static) -> usize {
        run(shuttle::scheduler::RandomScheduler::new_from_seed(1, count), test)
    }

    /// For each thread, in bytes: what is compiled without optimisation takes much.
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
