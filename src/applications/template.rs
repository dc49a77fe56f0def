//! Runs templates: minijinja without a loader, with limits, and with values as words of the shell.
//!
//! A template is an administrator's or the user's own. It gets the values of the job and what the
//! site knows, and nothing else: no file, program, clock or random number, and no other template.
//! In a script each value becomes one quoted word ([`crate::shell::place`]); `safe`, which would
//! switch that off, does not exist.

mod asked;
mod functions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, UndefinedBehavior};

use crate::invocation::is_mark;
use crate::shell::{MARK_END, MARK_START, Unplaceable, place};
pub(crate) use crate::template::asked::Asked;
use crate::template::asked::refuse;
pub use crate::template::asked::{Target, TargetKind};
use crate::values::Value;

/// The work of one template: an instruction takes one unit, and so do 64 bytes. Templates of UCloud
/// take a few thousand.
const FUEL: u64 = 200_000;

/// Nesting of loops and macros.
const RECURSION_MAX: usize = 64;

/// Longest output, in bytes. Slurm's own limit for a script is 4 MB.
pub(crate) const OUTPUT_MAX: usize = 1024 * 1024;

/// Most values in one script.
const VALUES_MAX: usize = 100_000;

/// Longest message of the template engine that is passed on, in bytes.
const MESSAGE_MAX: usize = 300;

/// Filters and functions of the engine that templates do not have: `safe` switches off quoting, and
/// `debug` and `pprint` print the engine's own state.
const REMOVED_FILTERS: [&str; 2] = ["safe", "pprint"];
const REMOVED_FUNCTIONS: [&str; 1] = ["debug"];

/// Why a template made nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateFailure {
    /// It is wrong, or asks for what there is not.
    #[error("the template: {0}")]
    Template(String),
    #[error("the template takes too much time or memory")]
    TooMuch,
    #[error("the template makes more than {OUTPUT_MAX} bytes")]
    TooLong,
    #[error("the template has control characters")]
    Control,
    #[error(
        "the template uses {0}, which this provider does not offer: write the commands, such as \"module load\", into \
         the template"
    )]
    Macro(String),
    #[error(transparent)]
    Unplaceable(#[from] Unplaceable),
}

/// What a template is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    /// A script: values become words.
    Script,
    /// The text of one argument, which is quoted as a whole afterwards.
    Argument,
}

/// What templates know: the values by name, and `ucloud`.
pub(crate) struct Context<'c> {
    pub(crate) values: &'c BTreeMap<String, Value>,
    pub(crate) ucloud: minijinja::Value,
}

/// The values that a script has marks for.
type Marked = Arc<Mutex<Vec<String>>>;

/// Runs a template that makes a script.
pub(crate) fn script(template: &str, context: &Context<'_>) -> Result<(String, Asked), TemplateFailure> {
    let marked = Marked::default();
    let asked = Arc::new(Mutex::new(Asked::default()));
    let mut environment = environment(Purpose::Script, &marked);
    functions::add_for_scripts(&mut environment, &asked);
    let output = run(&environment, template, context)?;
    drop(environment);
    let values = std::mem::take(&mut *marked.lock().unwrap_or_else(PoisonError::into_inner));
    let asked = std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
    let placed = place(&output, &values)?;
    if placed.len() > OUTPUT_MAX {
        return Err(TemplateFailure::TooLong);
    }
    Ok((placed, asked))
}

/// Runs a template that makes the text of one argument.
pub(crate) fn argument(template: &str, context: &Context<'_>) -> Result<String, TemplateFailure> {
    let environment = environment(Purpose::Argument, &Marked::default());
    run(&environment, template, context)
}

fn run(environment: &Environment<'_>, template: &str, context: &Context<'_>) -> Result<String, TemplateFailure> {
    if template.chars().any(is_mark) {
        return Err(TemplateFailure::Control);
    }
    // The site has no commands of its own there, and the user's modules are loaded already.
    let template = template.replace("{- systemLoad -}", "").replace("{- systemUnload -}", "");
    let template = template.as_str();
    if let Some(name) = macro_of_ucloud(template) {
        return Err(TemplateFailure::Macro(name));
    }
    let values = context.values.iter().map(|(name, value)| (name.as_str(), in_template(value)));
    let variables: BTreeMap<&str, minijinja::Value> = values.chain([("ucloud", context.ucloud.clone())]).collect();
    let output = environment.render_str(template, minijinja::Value::from_pairs(variables)).map_err(failure)?;
    if output.len() > OUTPUT_MAX { Err(TemplateFailure::TooLong) } else { Ok(output) }
}

fn in_template(value: &Value) -> minijinja::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean { truth, .. } => (*truth).into(),
        Value::Choice { name, .. } => name.as_str().into(),
    }
}

fn environment(purpose: Purpose, marked: &Marked) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    // A variable without a value may be tested, and not printed: `rm -r {{ folder }}/x` with no
    // folder is no command that anyone meant.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // Macros and blocks then return text that is not quoted a second time.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("shell".into()));
    REMOVED_FILTERS.into_iter().for_each(|filter| environment.remove_filter(filter));
    REMOVED_FUNCTIONS.into_iter().for_each(|function| environment.remove_global(function));
    let marked = Arc::clone(marked);
    environment.set_formatter(move |out, _, value| match purpose {
        Purpose::Script => write_word(out, &marked, value),
        Purpose::Argument => write_plain(out, value),
    });
    environment.add_filter("flag", functions::flag);
    environment.add_filter("option", functions::option);
    environment.add_function("ternary", functions::ternary);
    environment
}

/// Writes a mark for the value. Text that is made of formatted values stays as it is.
fn write_word(out: &mut Output<'_>, marked: &Marked, value: &minijinja::Value) -> Result<(), Error> {
    if value.is_safe() {
        return write(out, value.as_str().unwrap_or_default());
    }
    if value.is_none() {
        return Ok(());
    }
    if value.kind() != ValueKind::Seq {
        return write_mark(out, marked, text_of(value)?);
    }
    // One word for each element.
    for (at, element) in value.try_iter()?.enumerate() {
        if at > 0 {
            write(out, " ")?;
        }
        write_mark(out, marked, text_of(&element)?)?;
    }
    Ok(())
}

fn write_mark(out: &mut Output<'_>, marked: &Marked, value: String) -> Result<(), Error> {
    let mut marked = marked.lock().unwrap_or_else(PoisonError::into_inner);
    if marked.len() >= VALUES_MAX {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    let number = marked.len();
    marked.push(value);
    write(out, &format!("{MARK_START}{number}{MARK_END}"))
}

fn write_plain(out: &mut Output<'_>, value: &minijinja::Value) -> Result<(), Error> {
    if value.is_none() { Ok(()) } else { write(out, &text_of(value)?) }
}

fn write(out: &mut Output<'_>, text: &str) -> Result<(), Error> {
    out.write_str(text).map_err(Error::from)
}

/// The text of a plain value. Refuses maps and functions, and text with marks in it, which a
/// template has taken apart.
fn text_of(value: &minijinja::Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(refuse("a variable has no value"));
    }
    if !matches!(value.kind(), ValueKind::String | ValueKind::Number | ValueKind::Bool) {
        return Err(refuse("only texts, numbers, truth values and lists of them have a text"));
    }
    let text = value.to_string();
    if text.chars().any(is_mark) {
        return Err(refuse("a text has control characters, or was made of quoted words"));
    }
    Ok(text)
}

fn failure(error: Error) -> TemplateFailure {
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateFailure::TooMuch;
    }
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let clean: String = message.chars().filter(|character| !character.is_control()).take(MESSAGE_MAX).collect();
    TemplateFailure::Template(format!("{clean}{line}"))
}

/// A macro of UCloud's own, `{- name -}`. It is not part of the language of templates, and the
/// shell would read it as a command.
fn macro_of_ucloud(template: &str) -> Option<String> {
    let mut rest = template;
    while let Some(at) = rest.find("{- ") {
        let is_expression = rest.get(..at).is_some_and(|before| before.ends_with('{'));
        let after = rest.get(at.saturating_add(3)..).unwrap_or_default();
        let line = after.lines().next().unwrap_or_default();
        if !is_expression && let Some((name, _)) = line.split_once(" -}") {
            return Some(format!("{{- {} -}}", name.chars().take(64).collect::<String>()));
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests;
