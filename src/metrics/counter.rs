//! Numbers that count: one atomic each, in the order of nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn add_one(&self) {
        self.add(1);
    }

    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Counts one until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    pub fn level(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a [`Level`] counts.
#[derive(Debug)]
pub struct Held<'l>(&'l Level);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_what_is_held_counts_until_it_is_dropped() {
        let level = Level::default();
        let (one, other) = (level.hold(), level.hold());
        assert_eq!(level.level(), 2);
        drop(one);
        assert_eq!(level.level(), 1);
        drop(other);
        assert_eq!(level.level(), 0);
    }
}
