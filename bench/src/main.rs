//! `countersign-bench` measures the numbers of the design, section 9. It runs other proxies and
//! ours side by side on this machine's loop-back interface and prints the cost of each. It is not
//! part of the product, and nothing here is linked into `countersign`.

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod audit;
mod client;
mod compare;
mod enrolled;
mod error;
mod first_request;
mod installed;
mod jobs;
mod judgement;
mod launched;
mod memory;
mod nginx;
mod process;
mod proxy;
mod replay;
mod report;
mod signer;
mod statistics;
mod streams;
mod timing;
mod transfer;
mod upstream;
mod whole;
mod workload;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Judgement(options) => judgement::run(&options),
        Command::Jobs(options) => jobs::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::FirstRequest(options) => first_request::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Timing(options) => timing::run(&options),
        Command::Transfer(options) => transfer::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Whole(options) => whole::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}
