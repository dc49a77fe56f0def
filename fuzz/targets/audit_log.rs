//! A real log in which an attacker has changed files: the offline check detects every change to
//! what is kept.
#![no_main]

#[path = "edit.rs"]
mod edit;

use std::collections::BTreeMap;
use std::path::PathBuf;

use countersign::fuzzing::audit::Sample;
use edit::Edit;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SAMPLE: Sample = {
        // In memory if the system has such a file system: a log is written and read thousands of
        // times a second.
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let directory = base.join(format!("countersign-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("a directory");
        Sample::make(&directory)
    };
}

fuzz_target!(|changes: Vec<(u8, Vec<Edit>)>| {
    SAMPLE.with(|sample| {
        let files: Vec<&[u8]> = sample.files().collect();
        let mut edited: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (file, edits) in changes.iter().take(4) {
            let file = usize::from(*file) % files.len();
            let bytes = edited.entry(file).or_insert_with(|| files[file].to_vec());
            *bytes = edits.iter().take(4).fold(bytes.clone(), |bytes, edit| edit.apply(&bytes));
        }
        sample.edited(&edited.into_iter().collect::<Vec<_>>());
    });
});
