//! Explains which fault of the user's account or of this host prevents verification, and how to
//! repair it.
//!
//! When an instance verifies a request, the gateway has already consumed its intent. UCloud repeats
//! a request after 449 and 503, and the second try is a replay. The user would then see only the
//! replay, and not the cause. So no answer here has either status, and the text names the cause and
//! the remedy. It names the user's own files by their place in the home.

use std::path::Path;

use countersign_keys::policy::ConsumeError;
use countersign_keys::replay::ReplayError;
use countersign_keys::session::SessionRejection;
use countersign_keys::time::{ClockFailure, Timestamp};
use countersign_keys::verify::Rejection;
use nix::errno::Errno;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::keys::pinned::PinnedFailure;
use crate::verifier::Refusal;
use countersign_audit::Verdict;
use countersign_config::user_file::UserFileFailure;
use countersign_ipc::error_code::{ErrorCode, Reply};

/// The answer to a refused request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Denied {
    /// The row of the table of answers.
    pub(crate) code: ErrorCode,
    /// The text of the answer.
    pub(crate) why: String,
}

impl Denied {
    /// With the text of the table's row.
    pub(crate) fn row(code: ErrorCode) -> Self {
        Self { code, why: code.why().to_owned() }
    }

    pub(crate) fn reply(&self) -> Reply {
        self.code.reply_with(&self.why)
    }

    /// The answer to that refusal, and the verdict for the log.
    pub(crate) fn of(refusal: &Refusal, home: &Path) -> (Verdict, Self) {
        let repair = |why| Self { code: ErrorCode::AccountUnusable, why };
        let denied = match refusal {
            Refusal::Pinned(failure) => repair(of_pins(failure, home)),
            Refusal::Clock(ClockFailure { until }) => repair(format!(
                "The clock of the computing centre was put back. Requests are accepted from {} on, or once its staff \
                 have set the clock right.",
                moment(*until)
            )),
            Refusal::Unreadable(_) => {
                repair("The clock of the computing centre cannot be read. CoreMessage its staff.".into())
            }
            Refusal::Rejection(rejection) => match replay(rejection) {
                Some(ReplayError::Unwritable) => repair(
                    "~/.local/state/countersign cannot be written at the computing centre: the disk or your quota may \
                     be full, or the directory read-only. Free some space there, and try again."
                        .into(),
                ),
                Some(ReplayError::Full) => Self::row(ErrorCode::TooMany),
                Some(ReplayError::Used | ReplayError::BeforeFence) | None => {
                    Self::row(ErrorCode::from(rejection.class()))
                }
            },
        };
        (if denied.code.is_failure() { Verdict::Fail } else { Verdict::Refuse }, denied)
    }
}

const fn replay(rejection: &Rejection) -> Option<ReplayError> {
    match rejection {
        Rejection::Consume(ConsumeError::Replay(error)) | Rejection::Session(SessionRejection::Replay(error)) => {
            Some(*error)
        }
        Rejection::NoSuchCall
        | Rejection::Request(_)
        | Rejection::CoreToken(_)
        | Rejection::Intent(_)
        | Rejection::Bind(_)
        | Rejection::Policy(_)
        | Rejection::Session(_)
        | Rejection::Consume(_) => None,
    }
}

fn of_pins(failure: &PinnedFailure, home: &Path) -> String {
    let keys = "~/.config/countersign/authorized_keys";
    let cause = match failure {
        PinnedFailure::File(failure) => of_file(failure, home),
        PinnedFailure::Text => format!("{keys} is not text. Move it away, and connect again."),
        PinnedFailure::Line(rejection) => format!(
            "{keys}, line {}: {} is missing or malformed. Correct or delete the line; \
             countersign keys list shows your keys.",
            rejection.line, rejection.field
        ),
        PinnedFailure::Key(rejection) => format!("{keys}: {rejection}. Delete the key's line, and connect again."),
    };
    format!("Your account at the computing centre has to be put right first. {cause}")
}

fn of_file(failure: &UserFileFailure, home: &Path) -> String {
    let own = |path: &Path| match path.strip_prefix(home) {
        Ok(below) if below.as_os_str().is_empty() => "~".to_owned(),
        Ok(below) => format!("~/{}", below.display()),
        Err(_) => path.display().to_string(),
    };
    match failure {
        UserFileFailure::Writable { path, mode } => {
            let path = own(path);
            format!("{path} has mode {mode:04o}, so other accounts can write it. Run there: chmod go-w {path}")
        }
        UserFileFailure::Owner { path, owner, wanted } => {
            let path = own(path);
            format!(
                "{path} belongs to uid {owner} and not to yours, {wanted}. Ask the centre's staff to change its owner."
            )
        }
        UserFileFailure::Exposed { path, mode } => {
            let path = own(path);
            format!("{path} has mode {mode:04o}, so other accounts can read it. Run there: chmod 0600 {path}")
        }
        UserFileFailure::Open { path, source: Errno::ELOOP | Errno::ENOTDIR } => {
            format!("{} is a symbolic link or no directory. Put a directory of your own in its place.", own(path))
        }
        UserFileFailure::Open { path, source } => {
            format!("{} cannot be opened ({}). Ask the centre's staff to make it yours.", own(path), source.desc())
        }
        UserFileFailure::Read { path, .. } => format!("{} cannot be read. Ask the centre's staff.", own(path)),
        UserFileFailure::NotRegular { path } => format!("{} is not a regular file. Move it away.", own(path)),
        UserFileFailure::TooLong { path, max } => {
            format!("{} is longer than {max} bytes. Delete the lines that are not your keys.", own(path))
        }
        UserFileFailure::Absent { path } | UserFileFailure::Outside { path } => {
            format!("{} is not there.", own(path))
        }
    }
}

fn moment(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| at.seconds().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use countersign_keys::identity::{KeyId, ProviderId, Username};

    use super::*;
    use crate::account::OwnAccount;
    use crate::keys::pinned::PinnedKeys;
    use countersign_os::clock::Clock;

    const LINE: &str = "ES256 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ== AQEBAQEBAQEBAQEBAQEBAQ YWxpY2U v2 created=1 expires=2 x";

    /// The answer to a user whose home has been spoilt like that.
    fn said(spoil: impl FnOnce(&Path)) -> Denied {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("authorized_keys"), format!("{LINE}\n")).unwrap();
        for path in [home.path(), &home.path().join(".config"), &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        spoil(home.path());
        let provider = ProviderId::parse("hpc").unwrap();
        let pinned = PinnedKeys::of(&OwnAccount::in_tests(home.path()), &provider, Clock::System);
        let failure = pinned.key(&Username::parse("alice").unwrap(), KeyId::from_bytes([1; 16])).expect_err("spoilt");
        let (verdict, denied) = Denied::of(&Refusal::Pinned(failure), home.path());
        assert_eq!((verdict, denied.code.number()), (Verdict::Refuse, 409), "UCloud repeats after 449 and 503");
        assert!(!denied.why.contains(home.path().to_str().unwrap()), "{denied:?}");
        denied
    }

    fn chmod(beneath: &'static str, mode: u32) -> impl FnOnce(&Path) {
        move |home| fs::set_permissions(home.join(beneath), fs::Permissions::from_mode(mode)).unwrap()
    }

    #[test]
    fn r01_whatever_is_wrong_with_the_home_is_said_with_the_remedy() {
        let check = |denied: Denied, want: &[&str]| {
            for want in want {
                assert!(denied.why.contains(want), "{want:?} in {denied:?}");
            }
        };
        check(said(chmod("", 0o770)), &["~ has mode 0770", "chmod go-w ~"]);
        check(said(chmod("", 0o775)), &["~ has mode 0775", "chmod go-w ~"]);
        check(said(chmod(".config", 0o777)), &["~/.config has mode 0777", "chmod go-w ~/.config"]);
        check(
            said(chmod(".config/countersign/authorized_keys", 0o660)),
            &["chmod go-w ~/.config/countersign/authorized"],
        );
        let link = |home: &Path| {
            fs::rename(home.join(".config"), home.join("away")).unwrap();
            symlink(home.join("away"), home.join(".config")).unwrap();
        };
        check(said(link), &["~/.config is a symbolic link"]);
        let write = |text: &'static [u8]| {
            move |home: &Path| fs::write(home.join(".config/countersign/authorized_keys"), text).unwrap()
        };
        check(said(write(b"# mine\nES256 nonsense\n")), &["line 2", "countersign keys list"]);
        check(said(write(b"\xff\xfe")), &["is not text"]);
        check(
            said(|home| {
                let file = home.join(".config/countersign/authorized_keys");
                fs::remove_file(&file).unwrap();
                fs::create_dir(file).unwrap();
            }),
            &["not a regular file"],
        );
    }

    #[test]
    fn r01_a_root_owned_directory_that_cannot_be_entered_is_said() {
        let failure = UserFileFailure::Open { path: "/home/alice/.config".into(), source: Errno::EACCES };
        let (_, denied) = Denied::of(&Refusal::Pinned(failure.into()), Path::new("/home/alice"));
        assert!(
            denied.why.contains("~/.config cannot be opened (Permission denied). Ask the centre's staff"),
            "{denied:?}"
        );
        let failure = UserFileFailure::Owner {
            path: "/home/alice".into(),
            owner: countersign_keys::identity::Uid(1102),
            wanted: countersign_keys::identity::Uid(1101),
        };
        let (_, denied) = Denied::of(&Refusal::Pinned(failure.into()), Path::new("/home/alice"));
        assert!(denied.why.contains("~ belongs to uid 1102 and not to yours, 1101"), "{denied:?}");
    }

    #[test]
    fn r01_nothing_that_an_instance_finds_out_is_answered_so_that_ucloud_repeats_it() {
        let check = |refusal: Refusal, status: u16, want: &str| {
            let (_, denied) = Denied::of(&refusal, Path::new("/home/alice"));
            assert_eq!(denied.code.number(), status, "{refusal:?}");
            assert!(denied.why.contains(want), "{denied:?}");
        };
        let until = Timestamp::from_seconds(1_800_000_000);
        check(Refusal::Clock(ClockFailure { until }), 409, "accepted from 2027-01-15T08:00:00Z on");
        check(Refusal::Unreadable(countersign_os::clock::UnreadableClock), 409, "clock");
        let replay = |error: ReplayError| Refusal::Rejection(Rejection::Consume(ConsumeError::Replay(error)));
        check(replay(ReplayError::Unwritable), 409, "quota may be full");
        check(replay(ReplayError::Full), 429, "try again");
        check(replay(ReplayError::Used), 482, "used already");
        let session = Rejection::Session(SessionRejection::Replay(ReplayError::Unwritable));
        check(Refusal::Rejection(session), 409, "quota may be full");
    }
}
