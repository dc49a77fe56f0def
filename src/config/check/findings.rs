//! Collects the problems of a configuration, and resolves its paths.

use std::ops::Range as Span;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::Reader;
use crate::file::Typed;
use crate::problem::{ConfigError, Problem, Reason};
use crate::quantity::Range;
use crate::spans::Position;

/// Most problems listed: more than these mean the wrong file.
pub(super) const PROBLEMS_MAX: usize = 100;

/// The configuration's directory, and its reader.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) base: &'a Path,
    pub(super) reader: Reader,
}

impl Site<'_> {
    /// Resolves a path relative to the configuration's directory.
    pub(super) fn path(&self, typed: &str) -> PathBuf {
        self.base.join(typed)
    }
}

pub(super) struct Findings<'t> {
    pub(super) text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl Findings<'_> {
    pub(super) fn add(&mut self, key: &str, span: Option<Span<usize>>, reason: impl Into<Reason>) {
        if self.problems.len() < PROBLEMS_MAX {
            let place = span.map(|span| Position::of(self.text, span.start));
            self.problems.push(Problem { place, key: key.to_owned(), reason: reason.into() });
        }
    }

    /// Reports a missing key, unless a problem there was already reported.
    pub(super) fn missing(&mut self, key: &str, reason: Reason) {
        if !self.is_reported(key) {
            self.add(key, None, reason);
        }
    }

    /// Whether a problem of the key, or of a table that contains it, was reported.
    pub(super) fn is_reported(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| {
            !problem.key.is_empty()
                && key.strip_prefix(&problem.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    pub(super) fn required<T>(&mut self, key: &str, typed: Typed<T>, what: &'static str) -> Typed<T> {
        if typed.is_none() {
            self.missing(key, Reason::Missing(what));
        }
        typed
    }

    /// Reports the error of a conversion.
    pub(super) fn accept<T, E: Into<Reason>>(
        &mut self,
        key: &str,
        span: &Span<usize>,
        made: Result<T, E>,
    ) -> Option<T> {
        made.map_err(|reason| self.add(key, Some(span.clone()), reason)).ok()
    }

    pub(super) fn number(&mut self, key: &str, typed: Option<&Spanned<i64>>, range: Range) -> Option<i64> {
        let Range { min, max, default } = range;
        let Some(number) = typed else {
            return Some(default);
        };
        let value = *number.get_ref();
        let is_within = (min..=max).contains(&value);
        self.accept(key, &number.span(), is_within.then_some(value).ok_or(Reason::OutOfRange { min, max }))
    }

    /// In the order of the file; missing keys last.
    pub(super) fn into_error(mut self, path: &Path) -> ConfigError {
        self.problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        ConfigError::Content { file: path.to_owned(), problems: self.problems }
    }
}

/// The typed word, or the default.
pub(super) fn word<T: Copy>(typed: Option<&Spanned<T>>, otherwise: T) -> T {
    typed.map_or(otherwise, |word| *word.get_ref())
}
