//! A skipped stage does not compile. Each program in `compile_fail/` skips one and names the
//! compiler's error; the program in `compile_pass/` skips none.
//!
//! Runs the compiler directly with the crate as it was just built, because a harness that builds it
//! again takes minutes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test asks the compiler")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

fn deps() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The existing builds of the crate, newest first. They may have different features.
fn builds() -> Vec<PathBuf> {
    let is_build = |name: &str| name.starts_with("libcountersign_keys-") && name.ends_with(".rlib");
    let mut builds: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(deps())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| is_build(&entry.file_name().to_string_lossy()))
        .map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path()))
        .collect();
    builds.sort();
    builds.into_iter().rev().map(|(_, path)| path).collect()
}

/// The compiler's error for a program, if it refuses it.
fn refusal(program: &Path, build: &Path) -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o", "-"])
        .arg(format!("-Ldependency={}", deps().display()))
        .arg(format!("--extern=countersign_keys={}", build.display()))
        .arg(program)
        .stdout(Stdio::null())
        .output()
        .expect("rustc runs");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_skipped_stage_does_not_compile() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let whole = tests.join("compile_pass/whole_judgement.rs");
    let builds = builds();
    let build = builds.iter().find(|build| refusal(&whole, build).is_none());
    let build =
        build.unwrap_or_else(|| panic!("no build takes the whole judgement: {:?}", refusal(&whole, &builds[0])));
    let mut programs = 0;
    for entry in std::fs::read_dir(tests.join("compile_fail")).unwrap() {
        let program = entry.unwrap().path();
        let text = std::fs::read_to_string(&program).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("//! Refused with ")?.strip_suffix('.'));
        let said = said.expect("a program says with which error it is refused");
        let refusal = refusal(&program, build).unwrap_or_else(|| panic!("{} compiles", program.display()));
        let errors = refusal.lines().filter(|line| line.starts_with("error") && !line.contains("aborting"));
        let errors: Vec<&str> = errors.collect();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error.contains(said)),
            "{}: {refusal}",
            program.display()
        );
        programs += 1;
    }
    assert_eq!(programs, 22);
}
