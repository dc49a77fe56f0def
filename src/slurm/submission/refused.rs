//! Why `sbatch` refused a job, in words for the user, with Slurm's own.

/// Slurm's words, and what they mean to a user. The first that fits counts.
const MEANINGS: [(&str, &str); 20] = [
    ("AssocMaxSubmitJobLimit", "Your project has used up its allocation, or has too many jobs already."),
    ("QOSMaxSubmitJobPerUserLimit", "You have too many jobs already. Wait until some have ended."),
    ("Job violates accounting/QOS policy", "The job is larger or longer than you may start here."),
    (
        "Invalid account or account/partition combination",
        "You have no account for this machine at the computing centre.",
    ),
    ("Invalid partition name", "The computing centre has no such partition. Tell its staff."),
    ("invalid partition specified", "The computing centre has no such partition. Tell its staff."),
    ("Invalid qos specification", "You may not use this kind of machine at the computing centre."),
    ("Invalid feature specification", "No machine has the features that the application asks for."),
    ("Invalid generic resource", "No machine has the GPUs that the job asks for."),
    ("Memory specification can not be satisfied", "No machine has as much memory as the job asks for."),
    ("Requested node configuration is not available", "No machine has what the job asks for."),
    ("Requested time limit is invalid", "The job asks for more time than is allowed here."),
    ("Requested partition configuration not available", "This kind of machine cannot be used at the moment."),
    ("Invalid --time specification", "The job's time is not one that Slurm understands."),
    ("Node count specification invalid", "The job asks for more machines than there are."),
    ("Batch script is empty", "The job's script is empty."),
    ("User's group not permitted to use this partition", "You may not use this kind of machine."),
    ("Access/permission denied", "You may not start such a job at the computing centre."),
    ("Rate limit exceeded", "Slurm has too much to do at the moment. Try again in a minute."),
    ("Unable to create job record", "Slurm has as many jobs as it takes. Try again later."),
];

/// Words with which sbatch says that it got no answer, or could not read it. The job may have been
/// submitted.
const NO_ANSWER: [&str; 19] = [
    "Socket timed out",
    "Unable to contact slurm controller",
    "Communication connection failure",
    "Communication shutdown failure",
    "Zero Bytes were transmitted",
    "Transport endpoint",
    "Connection reset",
    "Unexpected message received",
    "Message send failure",
    "Message receive failure",
    "Insane message length",
    "Protocol authentication error",
    "Incompatible versions of client and server code",
    "Unexpected missing socket error",
    "Unable to process incoming",
    "Connection timed out",
    "Broken pipe",
    "Resource temporarily unavailable",
    "Slurm temporarily unable to accept job",
];

/// The sentence of a refusal, from Slurm's cleaned words; `None` if sbatch may have submitted the
/// job.
pub(super) fn sentence(said: &str) -> Option<String> {
    if NO_ANSWER.iter().any(|words| said.contains(words)) {
        return None;
    }
    let meaning = MEANINGS.iter().find(|(words, _)| said.contains(words)).map(|(_, meaning)| *meaning);
    let meaning = meaning.unwrap_or("Slurm refused the job.");
    Some(if said.is_empty() { meaning.to_owned() } else { format!("{meaning} Slurm says: {said}") })
}
