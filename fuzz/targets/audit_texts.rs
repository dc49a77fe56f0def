//! The inputs of a log's auditor: keys, checkpoints as notes and in a system's log, proofs.
//! Everything that is accepted was signed.
#![no_main]

#[path = "edit.rs"]
mod edit;

use countersign::fuzzing::audit::Sample;
use edit::Edit;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SAMPLE: (Sample, Vec<String>) = {
        let directory = std::env::temp_dir().join(format!("countersign-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("a directory");
        let sample = Sample::make(&directory);
        std::fs::remove_dir_all(&directory).expect("what was made");
        let texts = sample.texts();
        (sample, texts)
    };
}

fuzz_target!(|input: (Option<u8>, Vec<Edit>, &str)| {
    let (from, edits, typed) = input;
    SAMPLE.with(|(sample, texts)| match from {
        Some(text) => {
            let text = texts[usize::from(text) % texts.len()].as_bytes();
            let edited = edits.iter().take(4).fold(text.to_vec(), |bytes, edit| edit.apply(&bytes));
            sample.told(&String::from_utf8_lossy(&edited));
        }
        None => sample.told(typed),
    });
});
