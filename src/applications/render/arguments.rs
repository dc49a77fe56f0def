//! One entry of an invocation as words of the shell.
//!
//! Each word is quoted by itself. A variable of the environment is the only thing that the shell
//! expands, and it stays within its word.

use crate::invocation::{Argument, ArgumentKind, is_mark, shorten};
use crate::shell::quoted;
use crate::template::{self, Context, TemplateFailure};
use crate::values::Value;

/// Why an entry makes no words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ArgumentRejection {
    #[error("the application uses the parameter {0:?} as a flag, and it is not true or false")]
    NotBoolean(String),
    #[error("a directive of the application uses an environment variable, which has no value before the job starts")]
    Variable,
    #[error("an argument of the application has control characters")]
    Control,
    #[error(transparent)]
    Template(#[from] TemplateFailure),
}

/// A part of a word.
enum Piece {
    Text(String),
    /// A variable of the environment.
    Variable(String),
}

/// The words of an entry, quoted.
pub(super) fn arguments(argument: &Argument, context: &Context<'_>) -> Result<Vec<String>, ArgumentRejection> {
    Ok(pieces(argument, context)?.iter().map(written).collect())
}

/// The words of an entry, joined by spaces to the value of one variable, quoted.
pub(super) fn exported(argument: &Argument, context: &Context<'_>) -> Result<String, ArgumentRejection> {
    let words = pieces(argument, context)?;
    let mut value = String::new();
    for (at, piece) in words.iter().enumerate() {
        if at > 0 {
            value.push_str("' '");
        }
        value.push_str(&written(piece));
    }
    if value.is_empty() { Ok("''".to_owned()) } else { Ok(value) }
}

/// The words of an entry, joined by spaces, as plain text; `None` if there is none.
pub(super) fn joined(argument: &Argument, context: &Context<'_>) -> Result<Option<String>, ArgumentRejection> {
    let mut words = Vec::new();
    for piece in pieces(argument, context)? {
        match piece {
            Piece::Text(text) => words.push(text),
            Piece::Variable(_) => return Err(ArgumentRejection::Variable),
        }
    }
    let joined = words.join(" ").trim().to_owned();
    // A bare option has an empty word; an option whose parameter is absent has no word.
    Ok((!words.is_empty()).then_some(joined))
}

fn written(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => quoted(text),
        Piece::Variable(name) => format!("\"${{{name}}}\""),
    }
}

fn pieces(argument: &Argument, context: &Context<'_>) -> Result<Vec<Piece>, ArgumentRejection> {
    let pieces = match argument.kind {
        ArgumentKind::Word => vec![Piece::Text(argument.word.clone())],
        ArgumentKind::Env => vec![Piece::Variable(argument.variable.clone())],
        ArgumentKind::Var => values(argument, context),
        ArgumentKind::BoolFlag => match context.values.get(&argument.variable_name) {
            None | Some(Value::Boolean { truth: false, .. }) => Vec::new(),
            Some(Value::Boolean { truth: true, .. }) => vec![Piece::Text(argument.flag.trim().to_owned())],
            Some(Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Choice { .. }) => {
                return Err(ArgumentRejection::NotBoolean(shorten(&argument.variable_name)));
            }
        },
        ArgumentKind::Jinja => vec![Piece::Text(template::argument(&argument.template, context)?)],
    };
    let is_plain = |piece: &Piece| !matches!(piece, Piece::Text(text) if text.chars().any(is_mark));
    if pieces.iter().all(is_plain) { Ok(pieces) } else { Err(ArgumentRejection::Control) }
}

/// The values of the named parameters that are present, with what belongs before and after them.
/// Nothing at all if none is present.
fn values(argument: &Argument, context: &Context<'_>) -> Vec<Piece> {
    let given: Vec<&Value> = argument.variable_names.iter().filter_map(|name| context.values.get(name)).collect();
    if given.is_empty() {
        return Vec::new();
    }
    let (before, after) = (argument.prefix_variable.trim(), argument.suffix_variable.trim());
    let mut words = Vec::new();
    let apart = |words: &mut Vec<Piece>, word: &str| {
        if !word.is_empty() {
            words.push(Piece::Text(word.to_owned()));
        }
    };
    apart(&mut words, argument.prefix_global.trim());
    for value in given {
        let mut word = String::new();
        if argument.is_prefix_variable_part_of_arg {
            word.push_str(before);
        } else {
            apart(&mut words, before);
        }
        word.push_str(&value.argument());
        if argument.is_suffix_variable_part_of_arg {
            word.push_str(after);
            words.push(Piece::Text(word));
        } else {
            words.push(Piece::Text(word));
            apart(&mut words, after);
        }
    }
    apart(&mut words, argument.suffix_global.trim());
    words
}
