//! Places in the file: line and column of a byte, and the dotted path of the key there.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Line and column, counted from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Position {
    pub(super) line: usize,
    column: usize,
}

impl Position {
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
        let column = before.get(line_start..).map_or(0, |line| line.chars().count());
        Self { line: before.matches('\n').count().saturating_add(1), column: column.saturating_add(1) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The dotted path of the key or value with exactly this span, such as `drives[1].path`.
pub(super) fn path_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if let Some(below) = path_below(value, span) {
            return Some(format!("{name}{below}"));
        }
        (key.span() == *span).then(|| name.to_string())
    })
}

fn path_below(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<String> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => path_of(table, span).map(|below| format!(".{below}")),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, element)| path_below(element, span).map(|below| format!("[{index}]{below}"))),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    };
    inner.or_else(|| (value.span() == *span).then(String::new))
}

/// Removes the value with exactly this span, so that the rest can be checked; `false` if there is
/// none.
pub(super) fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    if table.iter_mut().any(|(_key, value)| remove_below(value, span)) {
        return true;
    }
    let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    let Some(key) = found.map(|(key, _value)| key.clone()) else {
        return false;
    };
    table.remove(&key).is_some()
}

fn remove_below(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(array) => remove_element(array, span),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            false
        }
    }
}

fn remove_element(array: &mut DeArray<'_>, span: &Range<usize>) -> bool {
    if array.iter_mut().any(|element| remove_below(element, span)) {
        return true;
    }
    let kept: Vec<_> = array.iter().filter(|element| element.span() != *span).cloned().collect();
    let is_removed = kept.len() != array.len();
    *array = kept.into_iter().collect();
    is_removed
}
