//! Places the program where an account other than root can reach it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, or a copy of it in that directory. A checkout may be in root's home, which other
/// accounts cannot enter.
pub(crate) fn reachable(directory: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let others_may_enter = |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0);
    if built.ancestors().skip(1).all(others_may_enter) {
        return built.to_owned();
    }
    let copy = directory.join("countersign");
    // Not by this process: a child of another thread could inherit the descriptor, and a file that
    // is open for writing cannot be executed.
    assert!(Command::new("cp").arg(built).arg(&copy).status().unwrap().success());
    copy
}
