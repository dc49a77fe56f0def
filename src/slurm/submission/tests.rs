//! The arguments, the script's rules, and the words of `sbatch` 22.05.

use super::*;

fn submission() -> Submission {
    Submission {
        partition: Some("normal".to_owned()),
        qos: None,
        account: Some("proja".to_owned()),
        constraint: None,
        nodes: 2,
        cpus_per_task: 4,
        memory_mb: Some(8_000),
        gpus: 0,
        time_minutes: 90,
        name: "54112".to_owned(),
        folder: "/home/a/ucloud-jobs/54112".into(),
        tag: "00112233445566778899aabbccddeeff".to_owned(),
        extra: Vec::new(),
        script: Script::parse("#!/bin/sh\nsleep 1\n").unwrap(),
    }
}

fn arguments(submission: &Submission) -> Vec<String> {
    submission.arguments().into_iter().map(|argument| argument.into_string().unwrap()).collect()
}

#[test]
fn every_decisive_option_is_an_argument() {
    let arguments = arguments(&submission());
    for want in [
        "--partition=normal",
        "--account=proja",
        "--nodes=2",
        "--time=90",
        "--job-name=54112",
        "--mem=8000M",
        "--comment=00112233445566778899aabbccddeeff",
        "--output=stdout.txt",
        "--error=stderr.txt",
        "--export=NONE",
        "--chdir=/home/a/ucloud-jobs/54112",
        "--parsable",
        "--ignore-pbs",
        "--no-requeue",
        "--mail-type=NONE",
        "--cpus-per-task=4",
    ] {
        assert!(arguments.contains(&want.to_owned()), "{want} in {arguments:?}");
    }
    assert!(!arguments.iter().any(|argument| argument.starts_with("--qos")), "{arguments:?}");
}

#[test]
fn what_an_application_sets_never_decides() {
    let option = |name, value: Option<&str>| ExtraOption { name, value: value.map(str::to_owned) };
    let extra = vec![
        option("output", Some("/etc/passwd")),
        option("chdir", Some("/")),
        option("export", Some("ALL")),
        option("mail-user", Some("x@example.org")),
        option("array", Some("1-1000")),
        option("wrap", Some("rm")),
        option("dependency", Some("singleton")),
        option("ntasks", Some("3")),
        option("mem-per-cpu", Some("100")),
        option("requeue", None),
    ];
    let arguments = arguments(&Submission { extra, ..submission() });
    for never in ["/etc/passwd", "--chdir=/", "ALL", "mail-user", "array", "wrap", "dependency", "--mem="] {
        let found = arguments
            .iter()
            .find(|argument| argument.contains(never) && **argument != "--chdir=/home/a/ucloud-jobs/54112");
        assert_eq!(found, None, "{arguments:?}");
    }
    for want in ["--ntasks=3", "--mem-per-cpu=100", "--requeue"] {
        assert!(arguments.contains(&want.to_owned()), "{want} in {arguments:?}");
    }
    assert!(!arguments.contains(&"--no-requeue".to_owned()), "{arguments:?}");
    let position = |name: &str| arguments.iter().position(|argument| argument.starts_with(name)).unwrap();
    assert!(position("--ntasks") < position("--nodes"), "the last of equal options counts");
}

#[test]
fn a_script_sets_no_options() {
    let check = |text: &str, want: Option<ScriptRejection>| {
        assert_eq!(Script::parse(text).err(), want, "{text:?}");
    };
    check("#!/bin/sh\necho\n", None);
    check("#!/usr/bin/env -S bash --login\n# a comment\n\nexport A=1\n#SBATCH --array=1-1000\n", None);
    check("#!/bin/sh\n#SBATCH --array=1-1000\necho\n", Some(ScriptRejection::Options));
    check("#!/bin/sh\n\n# x\n  #SBATCH --wrap=x\necho\n", Some(ScriptRejection::Options));
    check("#!/bin/sh\n#PBS -t 1-1000\necho\n", Some(ScriptRejection::Options));
    check("#!/bin/sh\n#BSUB -J x\necho\n", Some(ScriptRejection::Options));
    check("#!/bin/sh\n#SBATCH hetjob\n", Some(ScriptRejection::Options));
    check("echo\n", Some(ScriptRejection::NoInterpreter));
    check("", Some(ScriptRejection::NoInterpreter));
    check("#!/bin/sh\r\necho\r\n", Some(ScriptRejection::LineEnds));
    check("#!/bin/sh\necho \0\n", Some(ScriptRejection::Nul));
    check(&format!("#!/bin/sh\n{}", "x".repeat(SCRIPT_MAX)), Some(ScriptRejection::TooLong));
}

#[test]
fn the_number_is_the_last_line() {
    let check = |stdout: &str, want: Option<u32>| {
        assert_eq!(number(stdout.as_bytes()).map(SlurmJobId::get), want, "{stdout:?}");
    };
    check("29\n", Some(29));
    check("29;cluster\n", Some(29));
    check("Welcome\n\n29\n\n", Some(29));
    check("", None);
    check("0\n", None);
    check("29 30\n", None);
    check("Submitted batch job 29\n", None);
}

/// The texts are those of Slurm 22.05 to 25.05, cleaned.
#[test]
fn refusals_are_told_in_words_and_silence_is_no_refusal() {
    let check = |said: &str, want: Option<&str>| {
        let sentence = refused::sentence(said);
        assert_eq!(sentence.is_some(), want.is_some(), "{said}");
        if let (Some(sentence), Some(want)) = (sentence, want) {
            assert!(sentence.starts_with(want) && sentence.ends_with(said), "{sentence}");
        }
    };
    check(
        "Batch job submission failed: Invalid account or account/partition combination specified",
        Some("You have no account"),
    );
    check(
        "invalid partition specified: x; Batch job submission failed: Invalid partition name specified",
        Some("The computing centre has no such partition"),
    );
    check(
        "Memory specification can not be satisfied; Batch job submission failed: Requested node configuration is not available",
        Some("No machine has as much memory"),
    );
    check("Batch job submission failed: Invalid qos specification", Some("You may not use"));
    check("Invalid generic resource (gres) specification", Some("No machine has the GPUs"));
    check(
        "AssocMaxSubmitJobLimit; Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        Some("Your project has used up"),
    );
    check("something else", Some("Slurm refused the job."));
    check("Batch job submission failed: Socket timed out on send/recv operation", None);
    check("Batch job submission failed: Unable to contact slurm controller (connect failure)", None);
    // 23.11: slurmctld counts requests. It has not read this one.
    let busy = "Batch job submission failed: Rate limit exceeded, please retry later";
    check(busy, Some("Slurm has too much to do"));
    for silence in [
        "Message receive failure",
        "Insane message length",
        "Protocol authentication error",
        "Unable to process incoming and outgoing file descriptors",
    ] {
        check(&format!("Batch job submission failed: {silence}"), None);
    }
    let full = "Slurm temporarily unable to accept job, sleeping and retrying";
    check(&format!("{full}; Batch job submission failed: Resource temporarily unavailable"), None);
}
