//! The functions and filters that UCloud's templates have beside the engine's own.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::template::asked::{Asked, CALLS_MAX, Target, TargetKind, refuse};

/// Longest name of a target, in bytes.
const TARGET_NAME_MAX: usize = 64;

/// `sbatch`, `srun` and `dynamicInterface`, which only scripts have.
pub(super) fn add_for_scripts(environment: &mut Environment<'static>, asked: &Arc<Mutex<Asked>>) {
    let of_directives = Arc::clone(asked);
    environment.add_function("sbatch", move |name: String, values: Rest<Value>| {
        let value = match values.as_slice() {
            [] => String::new(),
            [value] => value.to_string(),
            _ => return Err(Error::from(ErrorKind::TooManyArguments)),
        };
        let mut asked = of_directives.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.directives.len() >= CALLS_MAX {
            return Err(refuse("sbatch() is called too often"));
        }
        asked.directives.push((name, value));
        Ok(nothing())
    });
    environment.add_function("srun", || Value::from_safe_string("srun ".to_owned()));
    let of_targets = Arc::clone(asked);
    environment.add_function("dynamicInterface", move |rank: u32, kind: String, name: String, port: u16| {
        let mut asked = of_targets.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.targets.len() >= CALLS_MAX {
            return Err(refuse("dynamicInterface() is called too often"));
        }
        asked.targets.push(target(rank, &kind, name, port)?);
        Ok(nothing())
    });
}

fn target(rank: u32, kind: &str, name: String, port: u16) -> Result<Target, Error> {
    let kind = match kind {
        "WEB" => TargetKind::Web,
        "VNC" => TargetKind::Vnc,
        _ => return Err(refuse("dynamicInterface() is for \"WEB\" or \"VNC\"")),
    };
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, ' ' | '.' | '_' | '-');
    if name.is_empty() || name.len() > TARGET_NAME_MAX || !name.chars().all(is_plain) {
        return Err(refuse("the name in dynamicInterface() is 1 to 64 letters, digits, spaces, '.', '_' or '-'"));
    }
    if port == 0 {
        return Err(refuse("dynamicInterface() needs a port"));
    }
    Ok(Target { rank, kind, name, port })
}

/// Text that adds nothing.
fn nothing() -> Value {
    Value::from_safe_string(String::new())
}

/// `ternary(condition, a, b)`
pub(super) fn ternary(condition: &Value, one: Value, other: Value) -> Value {
    if condition.is_true() { one } else { other }
}

/// `value | flag("--on"[, "--off"])`
pub(super) fn flag(value: &Value, on: String, off: Option<String>) -> Value {
    let chosen = if value.is_true() { on } else { off.unwrap_or_default() };
    if chosen.is_empty() { nothing() } else { Value::from(chosen) }
}

/// `value | option("--name"[, space])`: the option with the value as a word of its own, or in the
/// same word if the option ends with `=`. Nothing without a value.
pub(super) fn option(state: &mut State, value: &Value, name: String, space: Option<bool>) -> Result<Value, Error> {
    if value.is_undefined() || value.is_none() {
        return Ok(nothing());
    }
    let is_apart = space.unwrap_or(!name.ends_with('='));
    if !is_apart {
        return Ok(Value::from(format!("{name}{value}")));
    }
    let name = state.format(Value::from(name))?;
    let value = state.format(value.clone())?;
    Ok(Value::from_safe_string(format!("{name} {value}")))
}
