//! Countersign: parses arguments, selects a mode, and returns its exit code.
//!
//! Closes the process to others before it reads anything (V71). The three daemons refuse to run as
//! root (P10); each command decides for itself.
//!
//! A library so that the binary and the fuzz targets can both link it. The targets use a module of
//! their own.

mod arguments;
mod commands;
#[cfg(fuzzing)]
pub mod fuzzing;
mod processes;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Gateway, Mode, Relay, User};
use crate::commands::Command;
use countersign_os::daemon::Untraceable;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let closed = match Untraceable::begin() {
        Ok(closed) => closed,
        Err(failure) => return processes::cannot_begin(&failure),
    };
    let Arguments { config, mode } = Arguments::parse();
    // A command that gives up root changes its directory, where relative paths begin.
    let config = std::path::absolute(&config).unwrap_or(config);
    match mode {
        Mode::Server => processes::server(&closed, &config),
        Mode::Gateway(Gateway { listeners, attach }) => processes::gateway(&closed, config, listeners, attach),
        Mode::User(User { home, listen }) => processes::user(&closed, config, home, listen),
        Mode::Relay(Relay { ports }) => processes::relay(&ports),
        Mode::Connect(command) => commands::run(Command::Connect(command), &config),
        Mode::Keys(command) => commands::run(Command::Keys(command), &config),
        Mode::Audit(command) => commands::run(Command::Audit(command), &config),
        Mode::State(command) => commands::run(Command::State(command), &config),
        Mode::Apps(command) => commands::run(Command::Apps(command), &config),
        Mode::Usage(output) => commands::run(Command::Usage(output), &config),
        Mode::Projects(command) => commands::run(Command::Projects(command), &config),
        Mode::Status(output) => commands::run(Command::Status(output), &config),
        Mode::Calls(output) => commands::run(Command::Calls(output), &config),
        Mode::Completions(arguments) => commands::run(Command::Completions(arguments), &config),
        Mode::Man(arguments) => commands::run(Command::Man(arguments), &config),
        Mode::CheckConfig(arguments) => commands::run(Command::CheckConfig(arguments), &config),
    }
}
