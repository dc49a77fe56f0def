//! Checks `[slurm]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::check::findings::{Findings, Site, word};
use crate::check::products::name;
use crate::file::SlurmTable;
use crate::problem::Reason;
use crate::quantity::{POLL_S, TIME_MAX_H};
use crate::slurm::{Asks, Operator, Readme, Slurm};
use crate::{Drive, Role, admin_file};

/// Where distributions put Slurm's programs.
const COMMANDS: &str = "/usr/bin";

/// The name that UCloud's own integration uses.
const JOB_FOLDER: &str = "ucloud-jobs";

/// `None` without the table; `Some(None)` if something in it is wrong.
pub(super) fn slurm(
    table: Option<SlurmTable>,
    drives: &[Drive],
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<Slurm>> {
    let table = table?;
    let commands = match table.commands {
        None => Some(PathBuf::from(COMMANDS)),
        Some(typed) => {
            let path = absolute(typed.get_ref()).and_then(|path| {
                // An account that can write here could replace the programs that run as each user.
                if site.reader.role == Role::Server {
                    admin_file::check_directory(&path, site.reader.uid)?;
                }
                Ok(path)
            });
            findings.accept("slurm.commands", &typed.span(), path)
        }
    };
    let config = match table.config {
        None => Some(None),
        Some(typed) => findings.accept("slurm.config", &typed.span(), absolute(typed.get_ref())).map(Some),
    };
    let what = "the id of the drive that holds job folders, such as \"home\"";
    let drive = findings.required("slurm.drive", table.drive, what).and_then(|typed| {
        let holds = |drive: &&Drive| drive.id == *typed.get_ref() && !drive.is_of_groups() && !drive.is_made();
        let id = drives.iter().find(holds).map(|drive| drive.id.clone()).ok_or(Reason::NoSuchDrive);
        findings.accept("slurm.drive", &typed.span(), id)
    });
    let job_folder = match table.job_folder {
        None => Some(JOB_FOLDER.to_owned()),
        typed => name("slurm.job_folder", typed, "the folder with a folder for each job", findings, |_| false),
    };
    let poll_s = findings.number("slurm.poll_s", table.poll_s.as_ref(), POLL_S);
    let time_max_h = findings.number("slurm.time_max_h", table.time_max_h.as_ref(), TIME_MAX_H);
    let operator = if word(table.operator.as_ref(), false) { Operator::Granted } else { Operator::NotGranted };
    let relay = match table.relay {
        None => Some(None),
        Some(typed) => findings.accept("slurm.relay", &typed.span(), absolute(typed.get_ref())).map(Some),
    };
    let asks =
        Asks { account: word(table.ask_account.as_ref(), false), modules: word(table.ask_modules.as_ref(), false) };
    let shows_outside = word(table.show_outside.as_ref(), false);
    let readme = match table.readme {
        None => Some(None),
        Some(typed) => {
            let readme = Readme { path: site.path(typed.get_ref()), reader: site.reader.uid };
            // The server reads it each time, and gives it to every user.
            let is_read = if site.reader.role == Role::Server { readme.read().map(|_| readme) } else { Ok(readme) };
            findings.accept("slurm.readme", &typed.span(), is_read).map(Some)
        }
    };
    let meant = || {
        Some(Slurm {
            commands: commands?,
            config: config?,
            drive: drive?,
            job_folder: job_folder?,
            poll: Duration::from_secs(u64::try_from(poll_s?).ok()?),
            operator,
            relay: relay?,
            time_max_h: u32::try_from(time_max_h?).ok()?,
            asks,
            readme: readme?,
            shows_outside,
        })
    };
    Some(meant())
}

fn absolute(text: &str) -> Result<PathBuf, Reason> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') { Ok(path) } else { Err(Reason::NotAbsolute) }
}
