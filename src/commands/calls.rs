//! `countersign calls`: prints the table of calls, and what a user's signature binds in each
//! (protocol, section 4).

use std::path::Path;

use countersign_keys::call::{CallTable, RowSpec, Sender, Transport};
use countersign_keys::identity::ProviderId;

use crate::arguments::Output;
use crate::commands::error::CommandError;
use crate::commands::terminal::{Width, show_json, show_table};
use crate::commands::text::remark;
use countersign_config::{Config, ConfigError};

/// Stands for the provider in paths if there is no configuration.
const ANY_PROVIDER: &str = "p";

pub(super) fn print(output: Output, config: &Path) -> Result<(), CommandError> {
    match Config::load_for_command(config) {
        Ok(config) => print_table(output, &config.served().calls),
        // The standard rows are the same everywhere, and readers want them before there is a
        // configuration.
        Err(ConfigError::File(reason)) if reason.is_absence() => {
            remark("There is no configuration: these are the rows that every provider has.");
            let provider = ProviderId::parse(ANY_PROVIDER)?;
            print_table(output, &CallTable::new(&provider, &[]).map_err(CommandError::Calls)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn print_table(output: Output, calls: &CallTable) -> Result<(), CommandError> {
    if output.json {
        return show_json(&calls.specs().collect::<Vec<_>>());
    }
    let rows: Vec<[String; 5]> = calls.specs().map(row).collect();
    show_table(["CALL", "CLASS", "FROM", "AT THE PROVIDER", "BINDS"], &rows, Width::Wide)
}

fn row(spec: &RowSpec) -> [String; 5] {
    let from = match spec.from {
        Sender::Core => "core",
        Sender::User => "user",
    };
    let method = match spec.transport {
        Transport::Http => spec.method.as_str(),
        Transport::WebSocket => "WS",
    };
    let bound: Vec<&str> = spec.bound.iter().map(|bound| bound.name.as_str()).collect();
    let bound = if bound.is_empty() { "-".to_owned() } else { bound.join(" ") };
    [spec.call.to_string(), spec.class_in_words().to_owned(), from.to_owned(), format!("{method} {}", spec.path), bound]
}
