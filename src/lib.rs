//! Countersign: arguments → mode → exit code.
//!
//! The three processes refuse to run as root before they read anything (P10); what a person runs decides that for itself.
//!
//! A library for the sake of two that use it: the executable, and the fuzzer's targets, which reach through a module of theirs what they feed.

mod accounts;
mod arguments;
mod audit;
mod clock;
mod commands;
mod config;
mod descriptors;
mod exit;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod instance_key;
mod ipc;
mod journal;
mod locked_file;
mod locks;
mod log;
mod own_directory;
mod pin_file;
mod processes;
mod sandbox;
mod server;
mod service_manager;
mod user;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Gateway, Mode, User};
use crate::commands::Command;

/// The whole program.
pub fn main() -> ExitCode {
    let Arguments { config, mode } = Arguments::parse();
    // A command that gives up root also leaves the directory that a relative path begins at.
    let config = std::path::absolute(&config).unwrap_or(config);
    match mode {
        Mode::Server => processes::server(&config),
        Mode::Gateway(Gateway { listeners, attach }) => processes::gateway(config, listeners, attach),
        Mode::User(User { home, listen }) => processes::user(config, home, listen),
        Mode::Connect(command) => commands::run(Command::Connect(command), &config),
        Mode::Keys(command) => commands::run(Command::Keys(command), &config),
        Mode::Audit(command) => commands::run(Command::Audit(command), &config),
        Mode::Calls(output) => commands::run(Command::Calls(output), &config),
        Mode::CheckConfig(arguments) => commands::run(Command::CheckConfig(arguments), &config),
    }
}
