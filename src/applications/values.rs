//! The values that the user signed, checked against the parameters that the application declares.
//!
//! Defaults, options and the words for true and false come from the approved text, or from a
//! workflow that the user signed, and never from Core. Refuses a value without a declaration, and
//! what has no meaning at a Slurm site.

use std::collections::BTreeMap;

use countersign_config::MODULES_PARAMETER;
use countersign_keys::json::Json;

use crate::invocation::{EnumOption, Parameter, ParameterKind, default_of, has_lists_in_place, is_mark, shorten};

/// Most values of a job.
const VALUES_MAX: usize = 512;

/// Longest text of a value, in bytes. The whole script has a limit of its own.
const VALUE_MAX: usize = 64 * 1024;

/// Core adds this parameter to every job: how often a container reports its use.
const SAMPLE_RATE: &str = "ucMetricSampleRate";

/// Before the names of parameters that the provider itself declares (Slurm account, modules). The
/// instance reads those; only modules reach the script.
const OF_PROVIDER: &str = "_injected_";

/// The largest integer that a double holds exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Why a value is refused. The name is the parameter's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueRejection {
    #[error("the job has more than {VALUES_MAX} parameters")]
    TooMany,
    #[error("the application has no parameter {0:?}")]
    Unknown(String),
    #[error("the parameter {0:?} has no value, and needs one")]
    Missing(String),
    #[error("the parameter {name:?} has a value of the type {given:?}, and needs {wanted}")]
    Type { name: String, given: String, wanted: &'static str },
    #[error("the parameter {0:?} is not in the form of its type")]
    Shape(String),
    #[error("the parameter {0:?} has a line break or a control character, which it cannot have")]
    Control(String),
    #[error("the parameter {0:?} is too long")]
    TooLong(String),
    #[error("the parameter {0:?} is smaller than the application allows")]
    TooSmall(String),
    #[error("the parameter {0:?} is larger than the application allows")]
    TooLarge(String),
    #[error("the parameter {name:?} cannot be {given:?}: it is none of its options")]
    Option { name: String, given: String },
    #[error("the parameter {name:?} has {what}, which jobs at this computing centre do not have")]
    NoMeaning { name: String, what: &'static str },
    #[error("the parameter {name:?} names the licence {id:?}, which this computing centre does not have")]
    Licence { name: String, id: String },
    #[error("the parameter {name:?}: {why}")]
    Path { name: String, why: String },
    #[error("the job has two workflows")]
    TwoWorkflows,
    #[error("the workflow {0}")]
    Workflow(&'static str),
}

/// A value, as programs and templates get it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean {
        truth: bool,
        argument: String,
    },
    /// Templates see the option's name, programs get its value.
    Choice {
        name: String,
        argument: String,
    },
}

/// Where values come from beside the signature.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'s> {
    pub(crate) local_path: &'s dyn Fn(&str) -> Result<String, String>,
    pub(crate) licence: &'s dyn Fn(&str) -> Option<String>,
}

/// The values of one job, by the names of their parameters.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) named: BTreeMap<String, Value>,
    /// Modules that the user chose.
    pub(crate) modules: Vec<String>,
}

impl Value {
    /// As an argument of a program.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean { argument, .. } | Self::Choice { argument, .. } => argument.clone(),
        }
    }
}

/// A workflow that the user signed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workflow {
    /// The template.
    pub(crate) job: String,
    pub(crate) inputs: Vec<Parameter>,
}

/// The value without members that Go may write or leave out: the signature does not tell them
/// apart, so nothing may depend on them (protocol, section 3).
pub(crate) fn without_zeros<'a>(value: &Json<'a>) -> Json<'a> {
    match value {
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), without_zeros(value)))
                .filter(|(_, value)| !value.is_zero())
                .collect(),
        ),
        Json::Array(elements) => Json::Array(elements.iter().map(without_zeros).collect()),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) => value.clone(),
    }
}

/// The one workflow among the values, if there is one. `given` is without zeros.
pub(crate) fn workflow(given: &[(std::borrow::Cow<'_, str>, Json<'_>)]) -> Result<Option<Workflow>, ValueRejection> {
    let mut workflows = given.iter().filter(|(_, value)| kind_of(value) == "workflow");
    let Some((_, value)) = workflows.next() else { return Ok(None) };
    if workflows.next().is_some() {
        return Err(ValueRejection::TwoWorkflows);
    }
    let empty = Json::Object(Vec::new());
    let specification = value.member("specification").unwrap_or(&empty);
    let text = |name| specification.member(name).map_or(Some(""), Json::as_str);
    let language = text("language").ok_or(ValueRejection::Workflow("has no language"))?;
    if !matches!(language, "" | "JINJA2") {
        return Err(ValueRejection::Workflow("is in another language than JINJA2"));
    }
    if specification.member("init").is_some() {
        return Err(ValueRejection::Workflow("has a script that runs before the job, which Slurm has no place for"));
    }
    let job = text("job").filter(|job| !job.chars().any(is_mark));
    let job = job.ok_or(ValueRejection::Workflow("is no text, or has control characters"))?.to_owned();
    let inputs = specification.member("inputs").map_or(Some(&[][..]), Json::elements);
    let inputs = inputs.ok_or(ValueRejection::Workflow("has no list of inputs"))?;
    if inputs.len() > VALUES_MAX {
        return Err(ValueRejection::TooMany);
    }
    let read = |input: &Json<'_>| {
        if !has_lists_in_place(input) {
            return None;
        }
        let input: Parameter = serde_json::to_value(input).ok().and_then(|input| serde_json::from_value(input).ok())?;
        input.check().is_ok().then_some(input)
    };
    let inputs: Option<Vec<Parameter>> = inputs.iter().map(read).collect();
    let inputs = inputs.ok_or(ValueRejection::Workflow("has an input that is not in the form of one"))?;
    Ok(Some(Workflow { job, inputs }))
}

/// Reads every value. `given` is without zeros.
pub(crate) fn read(
    given: &[(std::borrow::Cow<'_, str>, Json<'_>)],
    declared: &[&Parameter],
    sources: Sources<'_>,
) -> Result<Values, ValueRejection> {
    if given.len() > VALUES_MAX {
        return Err(ValueRejection::TooMany);
    }
    let mut values = Values::default();
    for (name, value) in given {
        if name == SAMPLE_RATE || (name.starts_with(OF_PROVIDER) && name != MODULES_PARAMETER) {
            continue;
        }
        if kind_of(value) == "modules" {
            let is_declared = declared.iter().any(|one| one.name == *name && one.kind == ParameterKind::Modules);
            if name != MODULES_PARAMETER && !is_declared {
                return Err(ValueRejection::Unknown(shorten(name)));
            }
            values.modules.extend(modules(name, value)?);
            continue;
        }
        let parameter = declared.iter().find(|parameter| parameter.name == *name);
        let parameter = parameter.ok_or_else(|| ValueRejection::Unknown(shorten(name)))?;
        if let Some(value) = one(parameter, value, sources)? {
            values.named.insert(parameter.name.clone(), value);
        }
    }
    for parameter in declared {
        if given.iter().any(|(name, _)| *name == parameter.name) {
            continue;
        }
        if let Some(default) = default(parameter)? {
            values.named.insert(parameter.name.clone(), default);
        } else if parameter.is_mandatory() {
            return Err(ValueRejection::Missing(parameter.name.clone()));
        }
    }
    Ok(values)
}

fn kind_of<'j>(value: &'j Json<'_>) -> &'j str {
    value.member("type").and_then(Json::as_str).unwrap_or_default()
}

fn modules(name: &str, value: &Json<'_>) -> Result<Vec<String>, ValueRejection> {
    let shape = || ValueRejection::Shape(shorten(name));
    let Some(listed) = value.member("modules") else { return Ok(Vec::new()) };
    let listed = listed.elements().ok_or_else(shape)?;
    if listed.len() > VALUES_MAX {
        return Err(ValueRejection::TooMany);
    }
    let one =
        |module: &Json<'_>| module.as_str().filter(|module| is_module(module)).map(str::to_owned).ok_or_else(shape);
    listed.iter().map(one).collect()
}

/// The name of a module, such as `GROMACS/2024.1-foss-2023b`. It is never an option of `module`.
#[must_use]
pub fn is_module(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'/');
    (1..=128).contains(&name.len())
        && name.bytes().all(is_plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// One value; `None` if nothing of it reaches the script.
fn one(parameter: &Parameter, value: &Json<'_>, sources: Sources<'_>) -> Result<Option<Value>, ValueRejection> {
    let name = || parameter.name.clone();
    let wants = |kind: &str, wanted: &'static str| {
        if kind_of(value) == kind {
            return Ok(());
        }
        Err(ValueRejection::Type { name: name(), given: shorten(kind_of(value)), wanted })
    };
    let no_meaning = |what| Err(ValueRejection::NoMeaning { name: name(), what });
    match parameter.kind {
        ParameterKind::Text | ParameterKind::TextArea | ParameterKind::Enumeration => {
            wants("text", "a text")?;
            let text = value.member("value").map_or(Some(""), Json::as_str);
            text_value(parameter, text.ok_or_else(|| ValueRejection::Shape(name()))?).map(Some)
        }
        ParameterKind::Integer => {
            wants("integer", "a whole number")?;
            let number = value.member("value").map_or(Some(0), Json::as_integer);
            integer(parameter, number.ok_or_else(|| ValueRejection::Shape(name()))?).map(Some)
        }
        ParameterKind::FloatingPoint => {
            wants("floating_point", "a number")?;
            let number = match value.member("value") {
                None => Some(0.0),
                Some(Json::Float(number)) => Some(*number),
                Some(Json::Integer(number)) => serde_json::Number::from(*number).as_f64(),
                Some(_) => None,
            };
            float(parameter, number.ok_or_else(|| ValueRejection::Shape(name()))?).map(Some)
        }
        ParameterKind::Boolean => {
            wants("boolean", "true or false")?;
            let truth = value.member("value").map_or(Some(false), Json::as_bool);
            Ok(Some(boolean(parameter, truth.ok_or_else(|| ValueRejection::Shape(name()))?)))
        }
        ParameterKind::InputFile | ParameterKind::InputDirectory => {
            wants("file", "a file or folder")?;
            if value.member("mountPath").is_some() {
                return no_meaning("a place in a container");
            }
            let path = value.member("path").and_then(Json::as_str);
            let path = path.ok_or_else(|| ValueRejection::Shape(name()))?;
            let local = (sources.local_path)(path).map_err(|why| ValueRejection::Path { name: name(), why })?;
            if !local.starts_with('/') || local.contains('\0') {
                return Err(ValueRejection::Shape(name()));
            }
            // A path may have any other character: it is the user's own file. Those that this crate
            // marks with are refused.
            no_marks(parameter, &local)?;
            Ok(Some(Value::Text(local)))
        }
        ParameterKind::LicenseServer => {
            wants("license_server", "a licence")?;
            let id = value.member("id").and_then(Json::as_str).unwrap_or_default();
            let unknown = || ValueRejection::Licence { name: name(), id: shorten(id) };
            let text = (sources.licence)(id).ok_or_else(unknown)?;
            no_marks(parameter, &text)?;
            Ok(Some(Value::Text(text)))
        }
        ParameterKind::Workflow => wants("workflow", "a workflow").map(|()| None),
        ParameterKind::Modules => wants("modules", "a list of modules").map(|()| None),
        ParameterKind::Peer => no_meaning("a connection to another job"),
        ParameterKind::NetworkIp => no_meaning("a public address"),
        ParameterKind::PrivateNetwork => no_meaning("a private network"),
        // The link is the gateway's matter; the program does not need its id.
        ParameterKind::Ingress => {
            wants("ingress", "a public link")?;
            let id = value.member("id").and_then(Json::as_str).unwrap_or_default();
            text_value(parameter, id).map(Some)
        }
        ParameterKind::Readme => Err(ValueRejection::Unknown(name())),
    }
}

fn no_marks(parameter: &Parameter, text: &str) -> Result<(), ValueRejection> {
    if text.len() > VALUE_MAX {
        return Err(ValueRejection::TooLong(parameter.name.clone()));
    }
    if text.chars().any(is_mark) {
        return Err(ValueRejection::Control(parameter.name.clone()));
    }
    Ok(())
}

fn text_value(parameter: &Parameter, text: &str) -> Result<Value, ValueRejection> {
    no_marks(parameter, text)?;
    if parameter.kind != ParameterKind::TextArea && text.chars().any(char::is_control) {
        return Err(ValueRejection::Control(parameter.name.clone()));
    }
    if parameter.kind != ParameterKind::Enumeration {
        return Ok(Value::Text(text.to_owned()));
    }
    let option = parameter.options.iter().find(|option| option.name == text);
    let unknown = || ValueRejection::Option { name: parameter.name.clone(), given: shorten(text) };
    let EnumOption { name, value } = option.ok_or_else(unknown)?;
    Ok(Value::Choice { name: name.clone(), argument: value.clone() })
}

fn integer(parameter: &Parameter, number: i64) -> Result<Value, ValueRejection> {
    let exact = serde_json::Number::from(number).as_f64().filter(|exact| exact.abs() <= WHOLE_MAX);
    within(parameter, exact.ok_or_else(|| ValueRejection::Shape(parameter.name.clone()))?)?;
    Ok(Value::Integer(number))
}

fn float(parameter: &Parameter, number: f64) -> Result<Value, ValueRejection> {
    if !number.is_finite() {
        return Err(ValueRejection::Shape(parameter.name.clone()));
    }
    within(parameter, number)?;
    Ok(Value::Float(number))
}

fn within(parameter: &Parameter, number: f64) -> Result<(), ValueRejection> {
    if parameter.min.is_some_and(|min| number < min) {
        return Err(ValueRejection::TooSmall(parameter.name.clone()));
    }
    if parameter.max.is_some_and(|max| number > max) {
        return Err(ValueRejection::TooLarge(parameter.name.clone()));
    }
    Ok(())
}

fn boolean(parameter: &Parameter, truth: bool) -> Value {
    let (written, plain) = if truth { (&parameter.true_value, "true") } else { (&parameter.false_value, "false") };
    let argument = if written.is_empty() { plain } else { written };
    Value::Boolean { truth, argument: argument.to_owned() }
}

/// The declared default, checked as a value would be.
fn default(parameter: &Parameter) -> Result<Option<Value>, ValueRejection> {
    let Some(default) = default_of(parameter) else { return Ok(None) };
    let shape = || ValueRejection::Shape(parameter.name.clone());
    match parameter.kind {
        ParameterKind::Text | ParameterKind::TextArea | ParameterKind::Enumeration => {
            text_value(parameter, default.as_str().ok_or_else(shape)?).map(Some)
        }
        ParameterKind::Integer => integer(parameter, default.as_i64().ok_or_else(shape)?).map(Some),
        ParameterKind::FloatingPoint => float(parameter, default.as_f64().ok_or_else(shape)?).map(Some),
        ParameterKind::Boolean => Ok(Some(boolean(parameter, default.as_bool().ok_or_else(shape)?))),
        // Core has no default of these either.
        ParameterKind::InputFile
        | ParameterKind::InputDirectory
        | ParameterKind::Peer
        | ParameterKind::LicenseServer
        | ParameterKind::Ingress
        | ParameterKind::NetworkIp
        | ParameterKind::Workflow
        | ParameterKind::Readme
        | ParameterKind::Modules
        | ParameterKind::PrivateNetwork => Ok(None),
    }
}
