//! The program of the test portal: `core` for experiments, `demo` for `./demo`, `stage` for browser
//! tests.

mod core_process;
mod demo;
mod house;
mod journal;
mod page;
mod relay;
mod stage;
mod trouble;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about = "The stand-in UCloud of Countersign's tests and demo; no part of the product")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs Core's control endpoints, and prints a token of Core for every line of input.
    Core(core_process::Options),
    /// Plays the demo.
    Demo(demo::Options),
    /// Serves a provider with its Core and its pages, and executes JSON lines from standard input.
    Stage(stage::Options),
    /// Tries to open a Unix socket as the account that runs it, and exits with status 0 if it
    /// opened.
    Knock {
        /// The socket.
        socket: PathBuf,
    },
}

// One thread, because children ask for a signal when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Core(options) => core_process::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => demo::run(options).await,
        Command::Stage(options) => stage::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Knock { socket } => Ok(knock(&socket)),
    };
    outcome.unwrap_or_else(|trouble| {
        let _nobody_is_left_to_tell = writeln!(std::io::stderr(), "countersign-portal: {trouble}");
        ExitCode::from(2)
    })
}

fn knock(socket: &std::path::Path) -> ExitCode {
    let (status, how) = match UnixStream::connect(socket) {
        Ok(_) => (ExitCode::SUCCESS, "opened".to_owned()),
        Err(why) => (ExitCode::FAILURE, why.to_string()),
    };
    let _nobody_is_left_to_tell = writeln!(std::io::stdout(), "{how}");
    status
}
