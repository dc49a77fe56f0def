//! The configuration. Its files have correct owners and modes, so that only the text can be
//! refused.
#![no_main]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use countersign::fuzzing::config;
use libfuzzer_sys::fuzz_target;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("countersign-fuzz-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let write = |name: &str, text: &str, mode: u32| {
        fs::write(directory.join(name), text).expect("a file");
        mode_of(&directory.join(name), mode);
    };
    write("core.pem", include_str!("../../tests/support/core.pem"), 0o644);
    write("refresh-token", "0123456789abcdef0123456789abcdef", 0o600);
    for (name, mode) in [("run", 0o755), ("state", 0o700)] {
        fs::create_dir_all(directory.join(name)).expect("a directory");
        mode_of(&directory.join(name), mode);
    }
    directory
});

fn mode_of(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fuzz_target!(|text: &str| {
    // A configuration must not make the fuzzer open devices or kernel files.
    if !["/dev", "/proc", "/sys"].iter().any(|place| text.contains(place)) {
        config::config(text, &DIRECTORY);
    }
});
