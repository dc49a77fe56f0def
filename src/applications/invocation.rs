//! An application's program: Core's `invocation`, as typed values.
//!
//! Refuses a member that it does not know, since such a member could decide what runs. Everything
//! is bounded: the text, its depth, each count and each string. The digest covers the whole
//! invocation but the three members that Core changes for one and the same application.

mod argument;
mod parameter;
mod rejection;
mod tool;

use std::collections::BTreeMap;

use countersign_keys::canonical::canonical;
use countersign_keys::json::{INTEGER_MAX, Json};
use countersign_keys::jws::sha256;
use serde::Deserialize;

pub(crate) use crate::invocation::argument::{Argument, ArgumentKind};
pub(crate) use crate::invocation::parameter::{EnumOption, Parameter, ParameterKind, default_of};
pub use crate::invocation::rejection::{INVOCATION_MAX, InvocationRejection};
use crate::invocation::rejection::{at_most, check_word, is_variable, nullable};
pub(crate) use crate::invocation::rejection::{is_mark, shorten};
pub(crate) use crate::invocation::tool::{Tool, ToolDescription};

/// SHA-256 of an invocation's canonical form.
pub type Digest = [u8; 32];

/// Deepest nesting. UCloud's own has 6 levels.
const DEPTH_MAX: u8 = 12;

/// Longest explanation that is passed on from the parser, in bytes.
const EXPLANATION_MAX: usize = 300;

/// The members of `tool.tool` that Core changes without changing the application.
const UNSTABLE: [&str; 3] = ["owner", "createdAt", "modifiedAt"];

/// An application's invocation. Every member of it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    body: Body,
    /// Canonical, without the members that do not count.
    canonical: Vec<u8>,
    digest: Digest,
}

/// `invocation`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Body {
    pub(crate) tool: Tool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) invocation: Vec<Argument>,
    ucx: Option<serde_json::Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) parameters: Vec<Parameter>,
    #[serde(deserialize_with = "nullable")]
    output_file_globs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) application_type: ApplicationType,
    pub(crate) vnc: Option<Vnc>,
    web: Option<Web>,
    ssh: Option<Ssh>,
    inference: Option<Inference>,
    #[serde(deserialize_with = "nullable")]
    container: Container,
    #[serde(deserialize_with = "nullable")]
    pub(crate) environment: BTreeMap<String, Argument>,
    allow_additional_mounts: Option<bool>,
    allow_additional_peers: Option<bool>,
    allow_multi_node: Option<bool>,
    allow_public_ip: Option<bool>,
    allow_public_link: Option<bool>,
    job_audit_log_is_enabled: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    file_extensions: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    license_servers: Vec<String>,
    modules: Option<ModulesSection>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) sbatch: BTreeMap<String, Argument>,
}

/// `applicationType`: how users reach what runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum ApplicationType {
    #[default]
    Batch,
    Vnc,
    Web,
}

/// `vnc`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vnc {
    #[serde(deserialize_with = "nullable")]
    pub(crate) password: String,
    port: u16,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Web {
    port: u16,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Ssh {
    mode: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Inference {
    mode: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Container {
    change_working_directory: bool,
    run_as_root: bool,
    run_as_real_user: bool,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ModulesSection {
    #[serde(deserialize_with = "nullable")]
    mount_path: String,
    #[serde(deserialize_with = "nullable")]
    optional: Vec<String>,
}

impl Invocation {
    pub fn parse(text: &[u8]) -> Result<Self, InvocationRejection> {
        if text.len() > INVOCATION_MAX {
            return Err(InvocationRejection::TooLong);
        }
        let mut json = Json::parse(text, DEPTH_MAX).map_err(InvocationRejection::Json)?;
        if !is_exact(&json) {
            return Err(InvocationRejection::Number);
        }
        // The strict parser has refused what serde would let pass, such as a repeated member.
        let body: Body = serde_json::from_slice(text).map_err(|error| shape(&error))?;
        if !has_lists_in_place(&json) {
            return Err(InvocationRejection::Shape("a list stands where an object has to".to_owned()));
        }
        body.check()?;
        remove_unstable(&mut json);
        let canonical = canonical(&json);
        let digest = sha256(&[&canonical]);
        Ok(Self { body, canonical, digest })
    }

    /// SHA-256 of the canonical form, without `tool.tool.{owner,createdAt,modifiedAt}`.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The canonical form that the digest is of.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The same as indented lines, for people and for version control.
    pub fn indented(&self) -> String {
        let json = Json::parse(&self.canonical, DEPTH_MAX).unwrap_or(Json::Null);
        let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Whether it runs nothing but what a workflow parameter says: it has no program or template,
    /// no environment, no directives, no modules, and users reach it through no port.
    pub fn is_workflow_only(&self) -> bool {
        let Body { invocation, environment, sbatch, parameters, application_type, .. } = &self.body;
        let is_blank =
            |argument: &Argument| argument.kind == ArgumentKind::Jinja && argument.template.trim().is_empty();
        let has_workflow = parameters.iter().any(|parameter| parameter.kind == ParameterKind::Workflow);
        let is_native = self.unsupported().is_none();
        let modules = self.body.tool.description().map_or(0, |tool| tool.required_modules.len());
        let is_empty = matches!(invocation.as_slice(), []) || matches!(invocation.as_slice(), [only] if is_blank(only));
        let is_batch = *application_type == ApplicationType::Batch;
        is_empty && is_native && has_workflow && is_batch && modules == 0 && environment.is_empty() && sbatch.is_empty()
    }

    /// What it needs that no Slurm site has.
    pub(crate) fn unsupported(&self) -> Option<&'static str> {
        if self.body.ucx.is_some() {
            return Some("a UCX application");
        }
        if self.body.inference.is_some() {
            return Some("an inference application");
        }
        self.body.tool.description().and_then(ToolDescription::unsupported)
    }

    pub const fn application_type(&self) -> ApplicationType {
        self.body.application_type
    }

    /// The password with which its VNC server expects viewers.
    pub fn vnc_password(&self) -> Option<&str> {
        self.body.vnc.as_ref().map(|vnc| vnc.password.as_str()).filter(|password| !password.is_empty())
    }

    pub(crate) const fn body(&self) -> &Body {
        &self.body
    }
}

impl Body {
    fn check(&self) -> Result<(), InvocationRejection> {
        self.tool.check()?;
        for (what, length) in [
            ("arguments", self.invocation.len()),
            ("parameters", self.parameters.len()),
            ("environment variables", self.environment.len()),
            ("directives", self.sbatch.len()),
            ("output globs", self.output_file_globs.len()),
            ("file extensions", self.file_extensions.len()),
            ("licence servers", self.license_servers.len()),
        ] {
            at_most(what, length)?;
        }
        for argument in self.invocation.iter().chain(self.environment.values()).chain(self.sbatch.values()) {
            argument.check()?;
        }
        for (at, parameter) in self.parameters.iter().enumerate() {
            parameter.check()?;
            if self.parameters.iter().take(at).any(|other| other.name == parameter.name) {
                return Err(InvocationRejection::ParameterTwice(shorten(&parameter.name)));
            }
        }
        for name in self.environment.keys() {
            if !is_variable(name) {
                return Err(InvocationRejection::Name { what: "an environment variable", name: shorten(name) });
            }
        }
        let words = self.output_file_globs.iter().chain(&self.file_extensions).chain(&self.license_servers);
        for word in words.chain(self.sbatch.keys()) {
            check_word("a word", word)?;
        }
        if let Some(vnc) = &self.vnc {
            check_word("a VNC password", &vnc.password)?;
        }
        Ok(())
    }
}

/// The parser's own words, which name the member.
fn shape(error: &serde_json::Error) -> InvocationRejection {
    let words = error.to_string();
    let words = words.split_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let clean = words.chars().filter(|character| !character.is_control());
    let mut length = 0_usize;
    let cut = clean.take_while(|character| {
        length = length.saturating_add(character.len_utf8());
        length <= EXPLANATION_MAX
    });
    InvocationRejection::Shape(cut.collect())
}

/// The members that are lists.
const LISTS: [&str; 15] = [
    "invocation",
    "parameters",
    "outputFileGlobs",
    "fileExtensions",
    "licenseServers",
    "variableNames",
    "options",
    "tagged",
    "supportedModules",
    "dependsOn",
    "optional",
    "requiredModules",
    "authors",
    "supportedProviders",
    "applications",
];

/// Whether every list is a member that is one. serde would read a list as an object's members in
/// their order.
pub(crate) fn has_lists_in_place(value: &Json<'_>) -> bool {
    let Json::Object(members) = value else { return false };
    members.iter().all(|(name, value)| match (name.as_ref(), value) {
        // Any JSON.
        ("defaultValue" | "ucx", _) => true,
        ("environment" | "sbatch", Json::Object(named)) => named.iter().all(|(_, value)| has_lists_in_place(value)),
        (list, Json::Array(elements)) if LISTS.contains(&list) => elements.iter().all(|element| match element {
            Json::Array(_) => list == "dependsOn",
            Json::Object(_) => has_lists_in_place(element),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) => true,
        }),
        (_, Json::Array(_)) => false,
        (_, Json::Object(_)) => has_lists_in_place(value),
        (_, Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_)) => true,
    })
}

/// Whether both ends read every number the same way.
fn is_exact(value: &Json<'_>) -> bool {
    match value {
        Json::Float(number) => number.is_finite() && number.abs() <= 9_007_199_254_740_991.0,
        Json::Integer(number) => (-INTEGER_MAX..=INTEGER_MAX).contains(number),
        Json::Array(elements) => elements.iter().all(is_exact),
        Json::Object(members) => members.iter().all(|(_, value)| is_exact(value)),
        Json::Null | Json::Bool(_) | Json::String(_) => true,
    }
}

fn remove_unstable(invocation: &mut Json<'_>) {
    let tool = member_mut(invocation, "tool").and_then(|tool| member_mut(tool, "tool"));
    if let Some(Json::Object(members)) = tool {
        members.retain(|(name, _)| !UNSTABLE.contains(&name.as_ref()));
    }
}

fn member_mut<'j, 'a>(value: &'j mut Json<'a>, name: &str) -> Option<&'j mut Json<'a>> {
    let Json::Object(members) = value else { return None };
    members.iter_mut().find(|(member, _)| member == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
