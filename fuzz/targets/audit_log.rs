//! A real log of which somebody has changed files: whatever they did to what is kept, the offline check finds it.
#![no_main]

#[path = "edit.rs"]
mod edit;

use std::path::PathBuf;

use countersign::fuzzing::audit::Sample;
use edit::Edit;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SAMPLE: Sample = {
        // In memory, where there is such a place: a log is written and read thousands of times a second.
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
        let edited: Vec<(usize, Vec<u8>)> = changes
            .iter()
            .take(4)
            .map(|(file, edits)| {
                let file = usize::from(*file) % files.len();
                (file, edits.iter().take(4).fold(files[file].to_vec(), |bytes, edit| edit.apply(&bytes)))
            })
            .collect();
        sample.edited(&edited);
    });
});
