//! `countersign completions` and `countersign man`: shell completions and manual pages, generated
//! from the command line's definition.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::commands::error::CommandError;

/// `completions SHELL`
pub(super) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "countersign", &mut script);
    io::stdout().lock().write_all(&script).map_err(CommandError::Terminal)
}

/// `man DIRECTORY`: a page for the program and one for each of its commands.
pub(super) fn pages(directory: &Path) -> Result<(), CommandError> {
    let written = clap_mangen::generate_to(Arguments::command(), directory);
    written.map_err(|source| CommandError::Write { path: directory.to_owned(), source })
}
