//! The commands: `connect`, `keys`, `audit`, `state`, `apps`, `usage`, `projects`, `status`,
//! `calls`, `check-config`, `completions`, `man`.
//!
//! A command does one thing and reports it on standard output. Failures go to standard error, with
//! an exit code for each kind. No command prints a secret. None does its work as root (P10) but
//! `apps approve`, whose file is root's.

mod account;
mod administrator;
mod apps;
mod audit;
mod calls;
mod check_config;
mod connect;
mod error;
mod instance_key;
mod keys;
mod manual;
mod offer;
mod privilege;
mod projects;
mod server_line;
mod state;
mod status;
mod terminal;
mod text;
mod usage;
mod used_intents;

use std::path::Path;
use std::process::ExitCode;

use crate::arguments::{Apps, Audit, CheckConfig, Completions, Connect, Keys, Man, Output, Projects, State};
use countersign_os::exit_code::Exit;
use countersign_os::log::Chain;
use countersign_os::quoted::escaped;

#[derive(Debug)]
pub(crate) enum Command {
    /// `connect`
    Connect(Connect),
    /// `keys`
    Keys(Keys),
    /// `audit`
    Audit(Audit),
    /// `state`
    State(State),
    /// `apps`
    Apps(Apps),
    /// `usage`
    Usage(Output),
    /// `projects`
    Projects(Projects),
    /// `status`
    Status(Output),
    /// `calls`
    Calls(Output),
    /// `completions`
    Completions(Completions),
    /// `man`
    Man(Man),
    /// `check-config`
    CheckConfig(CheckConfig),
}

/// Runs a command to its end.
pub(crate) fn run(command: Command, config: &Path) -> ExitCode {
    let outcome = match command {
        Command::Connect(Connect::Approve(arguments)) => connect::approve(arguments, config),
        Command::Connect(Connect::Start(arguments)) => connect::start(arguments, config),
        Command::Connect(Connect::List(arguments)) => connect::list(&arguments, config),
        Command::Connect(Connect::Remove(arguments)) => connect::remove(arguments, config),
        Command::Keys(Keys::List(arguments)) => keys::list(arguments, config),
        Command::Keys(Keys::Add(arguments)) => keys::add(arguments, config),
        Command::Keys(Keys::Revoke(arguments)) => keys::revoke(arguments, config),
        Command::Audit(Audit::Verify(arguments)) => audit::verify(arguments, config),
        Command::Audit(Audit::Show(arguments)) => audit::show(arguments, config),
        Command::Audit(Audit::Prove(arguments)) => audit::prove(arguments, config),
        Command::Audit(Audit::Key(arguments)) => audit::key(arguments, config),
        Command::State(State::Accept(arguments)) => state::accept(&arguments, config),
        Command::Apps(Apps::Pending(output)) => apps::pending(output, config),
        Command::Apps(Apps::Show(arguments)) => apps::show_one(&arguments, config),
        Command::Apps(Apps::Diff(arguments)) => apps::diff(&arguments, config),
        Command::Apps(Apps::Approve(arguments)) => apps::approve(&arguments, config),
        Command::Apps(Apps::Reject(arguments)) => apps::reject(&arguments, config),
        Command::Apps(Apps::List(output)) => apps::list(output, config),
        Command::Usage(output) => usage::list(output, config),
        Command::Projects(Projects::List(output)) => projects::list(output, config),
        Command::Projects(Projects::Pending(arguments)) => projects::pending(arguments, config),
        Command::Projects(Projects::Show(arguments)) => projects::show_one(&arguments, config),
        Command::Projects(Projects::Approve(arguments)) => projects::approve(&arguments, config),
        Command::Projects(Projects::Reject(arguments)) => projects::reject(&arguments, config),
        Command::Status(output) => status::print(output, config),
        Command::Calls(output) => calls::print(output, config),
        Command::Completions(arguments) => manual::completions(arguments.shell),
        Command::Man(arguments) => manual::pages(&arguments.directory),
        Command::CheckConfig(arguments) => check_config::print(&arguments, config),
    };
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(error) if error.is_broken_pipe() => error.exit().into(),
        Err(error) => {
            // It may contain text from outside, quoted or not.
            let text = Chain(&error).to_string();
            let lines: Vec<String> = text.lines().map(escaped).collect();
            text::remark(&format!("countersign: {}", lines.join("\n")));
            error.exit().into()
        }
    }
}
