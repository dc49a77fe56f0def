//! A parameter that an application, or a workflow that the user signed, declares: Core's
//! `ApplicationParameter`.

use serde::Deserialize;

use crate::invocation::rejection::{InvocationRejection, at_most, check_text, check_word, nullable, shorten};

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameter {
    #[serde(rename = "type")]
    pub(crate) kind: ParameterKind,
    pub(crate) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) optional: bool,
    #[serde(default)]
    pub(crate) default_value: serde_json::Value,
    #[serde(default, deserialize_with = "nullable")]
    title: String,
    #[serde(default, deserialize_with = "nullable")]
    description: String,
    #[serde(default)]
    pub(crate) min: Option<f64>,
    #[serde(default)]
    pub(crate) max: Option<f64>,
    #[serde(default)]
    step: Option<f64>,
    #[serde(default, deserialize_with = "nullable")]
    unit_name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) true_value: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) false_value: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) options: Vec<EnumOption>,
    #[serde(default, deserialize_with = "nullable")]
    tagged: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    supported_modules: Vec<Module>,
}

/// `type`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParameterKind {
    InputFile,
    InputDirectory,
    Text,
    #[serde(rename = "textarea")]
    TextArea,
    Integer,
    Boolean,
    Enumeration,
    FloatingPoint,
    Peer,
    LicenseServer,
    Ingress,
    NetworkIp,
    Workflow,
    Readme,
    Modules,
    PrivateNetwork,
}

/// One of `options`: users choose the name, the program gets the value.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnumOption {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Module {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    description: String,
    #[serde(deserialize_with = "nullable")]
    short_description: String,
    #[serde(deserialize_with = "nullable")]
    depends_on: Vec<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    documentation_url: String,
}

impl Parameter {
    pub(crate) fn check(&self) -> Result<(), InvocationRejection> {
        if self.name.is_empty() || self.name.len() > 128 || self.name.chars().any(char::is_control) {
            return Err(InvocationRejection::Name { what: "a parameter", name: shorten(&self.name) });
        }
        at_most("options of one parameter", self.options.len())?;
        at_most("tags of one parameter", self.tagged.len())?;
        at_most("modules of one parameter", self.supported_modules.len())?;
        for option in &self.options {
            check_word("an option", &option.name)?;
            check_word("an option", &option.value)?;
        }
        for word in [&self.unit_name, &self.true_value, &self.false_value].into_iter().chain(&self.tagged) {
            check_word("a word of a parameter", word)?;
        }
        check_text("a title", &self.title)?;
        check_text("a description", &self.description)
    }

    /// Whether a job has to have a value of it.
    pub(crate) fn is_mandatory(&self) -> bool {
        !self.optional && default_of(self).is_none() && self.kind != ParameterKind::Readme
    }
}

/// The default, if there is one. Core writes it bare, or as `{"value": …}`.
pub(crate) fn default_of(parameter: &Parameter) -> Option<&serde_json::Value> {
    let default = &parameter.default_value;
    let value = if default.is_object() { default.get("value")? } else { default };
    (!value.is_null()).then_some(value)
}
