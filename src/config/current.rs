//! Values that change while the program runs, and the texts that they come from. Clones share them.

use std::sync::{Arc, PoisonError, RwLock};

#[derive(Debug)]
pub(super) struct Current<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// The text of the start.
    started: String,
    /// Locked for a look or an exchange, never across an await.
    now: RwLock<InForce<T>>,
}

#[derive(Debug)]
struct InForce<T> {
    values: Arc<T>,
    /// The text that was read last.
    file: Arc<str>,
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub(super) fn new(values: T, started: &str) -> Self {
        let now = RwLock::new(InForce { values: Arc::new(values), file: started.into() });
        Self(Arc::new(Shared { started: started.to_owned(), now }))
    }

    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.now.read().unwrap_or_else(PoisonError::into_inner).values)
    }

    pub(super) fn set(&self, values: Arc<T>, file: &str) {
        *self.0.now.write().unwrap_or_else(PoisonError::into_inner) = InForce { values, file: file.into() };
    }

    /// The text of the start.
    pub(super) fn started(&self) -> &str {
        &self.0.started
    }

    /// The text that was read last.
    pub(super) fn file(&self) -> Arc<str> {
        Arc::clone(&self.0.now.read().unwrap_or_else(PoisonError::into_inner).file)
    }
}
