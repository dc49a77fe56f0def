//! The alarms for administrators: a fixed list, each with a word for programs, a sentence, and a
//! remedy.

use serde::{Deserialize, Serialize};

macro_rules! alarms {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $says:literal $remedy:literal;)*) => {
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Alarm {
            $($(#[$doc])* $variant,)*
        }

        impl Alarm {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// For programs: in the log, in the metrics, and in what `alarms.command` gets.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What happened.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$variant => $says,)*
                }
            }

            /// What an administrator does then.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                }
            }

            /// Its place in [`Self::ALL`].
            pub fn index(self) -> usize {
                Self::ALL.iter().position(|other| *other == self).unwrap_or(0)
            }
        }
    };
}

alarms! {
    AuditLogAltered = "audit_log_altered"
        "an audit log is not what was signed: the server stops"
        "Keep the directory for an investigation; `countersign audit verify` says what differs ([the audit log](operators.md#the-audit-log)).";
    ClockSetBack = "clock_set_back"
        "the clock reads a time whose used intents are not all remembered: intents are refused"
        "Set the clock right, or wait ([a clock that was put back](operators.md#a-clock-that-was-put-back)).";
    DiskFull = "disk_full"
        "an audit log has no more space than is reserved for admitted requests"
        "Free space below `state.directory`, or set `audit.keep_gib` ([disk full](operators.md#disk-full)).";
    DriveNumber = "drive_number"
        "UCloud gave a number for a drive that is another drive's: it was refused"
        "Ask UCloud's operators. The drive's own number stays in use ([drives](operators.md#drives)).";
    Flood = "flood"
        "clients that have shown neither token nor signature are refused so often that they are slowed down"
        "Usually nothing: users are served. `countersign audit show` says from how many networks they come; block those in the firewall if it lasts.";
    InstanceDisagrees = "instance_disagrees"
        "an instance refused the signature of a request that the gateway had accepted"
        "Once: the user removed a key from their own file. Often, or for several users: the gateway may be taken over. Compare `countersign keys list --user NAME` with the log of the instance, and look at the gateway's host.";
    JobOfAnother = "job_of_another"
        "a job was reported for an account whose job it is not: it was refused"
        "Look at the account in the log: a program of it pretended to be an instance, or Core's and Slurm's records differ.";
    MapperDisagrees = "mapper_disagrees"
        "an account approved a UCloud user that the site's program maps to another account"
        "Ask the user. If they do not know of it, an attacker may have begun the connection.";
    PasskeyCopied = "passkey_copied"
        "a passkey's counter went back: there is a copy of it, and it is refused now"
        "Tell the user. They remove the passkey on the page of keys, and enrol another ([passkeys](operators.md#passkeys)).";
    PrivateKeySent = "private_key_sent"
        "a private key was sent to the provider: it was refused"
        "Tell the user, whose page or program is at fault, and must not use that key.";
    ProjectGroup = "project_group"
        "the site's program for groups of projects keeps failing: a group is not what it should be"
        "The server's log has its complaint (`cannot change a group`). Until it succeeds, a removed member may still be in the group ([projects](operators.md#projects)).";
    ProjectRemovals = "project_removals"
        "UCloud lists so few of a project's members that removals are held back"
        "Ask the project's PI or UCloud's operators. `countersign projects pending` shows the members, who stay until `countersign projects approve` ([projects](operators.md#projects)).";
    SecondOffer = "second_offer"
        "a second key was offered for one connection: neither is used"
        "Ask the user whether they opened the page twice. If not, another party saw the link, which Core made.";
    UsageHeld = "usage_held"
        "a job has used more than `accounting.job_max`, or than UCloud can be told: it is not reported"
        "`countersign usage` names the job. If the figure of `sacct` is right, raise `accounting.job_max` ([accounting](operators.md#accounting)).";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_an_alarm_has_one_word_everywhere() {
        for (index, alarm) in Alarm::ALL.iter().enumerate() {
            assert_eq!(serde_json::to_string(alarm).unwrap(), format!("\"{}\"", alarm.word()));
            assert_eq!(alarm.index(), index);
            assert!(alarm.remedy().ends_with('.') && !alarm.says().ends_with('.'), "{}", alarm.word());
        }
    }
}
