//! The executable: calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::main()
}
