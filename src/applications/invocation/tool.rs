//! The tool of an application: its backend, its modules and what loads it.

use serde::Deserialize;

use crate::invocation::rejection::{InvocationRejection, at_most, check_text, check_word, nullable};

/// `tool`, which has the tool itself in it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tool {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    tool: Option<ToolItself>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ToolItself {
    #[serde(deserialize_with = "nullable")]
    owner: String,
    #[serde(deserialize_with = "nullable")]
    created_at: i64,
    #[serde(deserialize_with = "nullable")]
    modified_at: i64,
    #[serde(deserialize_with = "nullable")]
    description: ToolDescription,
}

/// `tool.tool.description`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct ToolDescription {
    #[serde(deserialize_with = "nullable")]
    info: NameAndVersion,
    #[serde(deserialize_with = "nullable")]
    default_number_of_nodes: i64,
    #[serde(deserialize_with = "nullable")]
    default_time_allocation: Duration,
    #[serde(deserialize_with = "nullable")]
    pub(crate) required_modules: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    authors: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    title: String,
    #[serde(deserialize_with = "nullable")]
    description: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) backend: Backend,
    #[serde(deserialize_with = "nullable")]
    license: String,
    #[serde(deserialize_with = "nullable")]
    image: String,
    #[serde(deserialize_with = "nullable")]
    container: String,
    #[serde(deserialize_with = "nullable")]
    supported_providers: Vec<String>,
    pub(crate) load_instructions: Option<LoadInstructions>,
}

/// `backend`: what runs the tool.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Backend {
    #[default]
    Native,
    Docker,
    Singularity,
    VirtualMachine,
    Ucx,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NameAndVersion {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) version: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Duration {
    hours: i64,
    minutes: i64,
    seconds: i64,
}

/// What a template's `{- applicationLoad -}` loads.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadInstructions {
    #[serde(rename = "type", deserialize_with = "nullable")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) applications: Vec<NameAndVersion>,
}

impl Tool {
    pub(crate) fn description(&self) -> Option<&ToolDescription> {
        self.tool.as_ref().map(|tool| &tool.description)
    }

    pub(super) fn check(&self) -> Result<(), InvocationRejection> {
        check_word("the tool's name", &self.name)?;
        check_word("the tool's version", &self.version)?;
        let Some(tool) = self.description() else { return Ok(()) };
        at_most("required modules", tool.required_modules.len())?;
        at_most("authors", tool.authors.len())?;
        at_most("supported providers", tool.supported_providers.len())?;
        let NameAndVersion { name, version } = &tool.info;
        let loads = tool.load_instructions.iter().flat_map(|load| &load.applications);
        let loads = loads.flat_map(|NameAndVersion { name, version }| [name, version]);
        let words = [name, version, &tool.license, &tool.image, &tool.container];
        let lists = tool.required_modules.iter().chain(&tool.authors).chain(&tool.supported_providers);
        for word in words.into_iter().chain(lists).chain(loads) {
            check_word("a word of the tool", word)?;
        }
        check_text("the tool's title", &tool.title)?;
        check_text("the tool's description", &tool.description)
    }
}

impl ToolDescription {
    pub(super) const fn unsupported(&self) -> Option<&'static str> {
        match self.backend {
            Backend::Native => None,
            Backend::Docker => Some("a container (DOCKER)"),
            Backend::Singularity => Some("a container (SINGULARITY)"),
            Backend::VirtualMachine => Some("a virtual machine"),
            Backend::Ucx => Some("a UCX application"),
        }
    }
}
