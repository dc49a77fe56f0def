//! The program of the test portal: `core` for experiments, `demo` for `./demo`, `test-server` for
//! browser tests.

mod core_process;
mod demo;
mod demo_provider;
mod journal;
mod page;
mod program_error;
mod relay;
mod slurm;
mod test_server;

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
    TestServer(test_server::Options),
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
        Command::TestServer(options) => test_server::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Knock { socket } => Ok(knock(&socket)),
    };
    outcome.unwrap_or_else(|error| {
        let _output_may_be_closed = writeln!(std::io::stderr(), "countersign-portal: {error}");
        ExitCode::from(2)
    })
}

fn knock(socket: &std::path::Path) -> ExitCode {
    let (status, how) = match UnixStream::connect(socket) {
        Ok(_) => (ExitCode::SUCCESS, "opened".to_owned()),
        Err(why) => (ExitCode::FAILURE, why.to_string()),
    };
    let _output_may_be_closed = writeln!(std::io::stdout(), "{how}");
    status
}
