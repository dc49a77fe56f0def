//! One entry of `invocation`, `environment` or `sbatch`: Core's `InvocationParameter`.

use serde::Deserialize;

use crate::invocation::rejection::{
    InvocationRejection, at_most, check_text, check_word, is_variable, nullable, shorten,
};

/// Core writes every member of every kind.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Argument {
    #[serde(rename = "type")]
    pub(crate) kind: ArgumentKind,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) variable: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) word: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) variable_names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) prefix_global: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) suffix_global: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) prefix_variable: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) suffix_variable: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) is_prefix_variable_part_of_arg: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) is_suffix_variable_part_of_arg: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) variable_name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) flag: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) template: String,
}

/// `type`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArgumentKind {
    Word,
    Var,
    Env,
    BoolFlag,
    Jinja,
}

impl Argument {
    pub(super) fn check(&self) -> Result<(), InvocationRejection> {
        at_most("variables in one argument", self.variable_names.len())?;
        let fixes = [&self.prefix_global, &self.suffix_global, &self.prefix_variable, &self.suffix_variable];
        let words = [&self.word, &self.variable, &self.variable_name, &self.flag];
        for word in fixes.into_iter().chain(words).chain(&self.variable_names) {
            check_word("an argument", word)?;
        }
        if self.kind == ArgumentKind::Env && !is_variable(&self.variable) {
            let name = shorten(&self.variable);
            return Err(InvocationRejection::Name { what: "an environment variable", name });
        }
        check_text("a template", &self.template)
    }
}
