//! Checks `[[drives]]`, `[ssh]`, `[terminals]`, `[[calls]]`, `[ipc]` and `[state]`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use countersign_keys::call::{CallTable, RowSpec, Sender};
use countersign_keys::identity::ProviderId;
use toml::Spanned;

use crate::admin_file::FileReason;
use crate::check::findings::{Findings, Site, word};
use crate::check::products::name;
use crate::drives::is_name;
use crate::file::{DirectoryTable, DriveTable, SshTable, TerminalsTable, Typed};
use crate::problem::Reason;
use crate::{
    Drive, DriveRoot, GROUP, Ipc, NAME, Product, Role, Ssh, SshDirectory, SshKeysOf, State, Terminals, admin_file,
};

/// Longest path of a Unix socket on Linux, in bytes (`sun_path` without its final NUL).
const SOCKET_PATH_MAX: usize = 107;

/// Longest name of a socket below `state.directory`: `/instances/<uid>-<n>.sock`.
const STATE_SOCKET_LENGTH: usize = "/instances/4294967295-9999999999.sock".len();

/// Length of the socket's name in `ipc.directory`.
const IPC_SOCKET_LENGTH: usize = "/ucloud.sock".len();

/// Longest title of a drive, in bytes.
const TITLE_MAX: usize = 128;

/// The socket's directory in UCloud issue #3273, and in every installation.
const IPC_DIRECTORY: &str = "/var/run/ucloud";

/// Where distributions keep a service's state.
const STATE_DIRECTORY: &str = "/var/lib/countersign";

pub(super) fn calls(
    rows: &[Spanned<RowSpec>],
    provider: Option<&ProviderId>,
    findings: &mut Findings<'_>,
) -> Option<(Arc<CallTable>, Vec<RowSpec>)> {
    // Checks rows and names of calls even if the provider's id is wrong, to report all problems at
    // once.
    let unnamed = ProviderId::parse("unnamed").ok();
    let provider = provider.or(unnamed.as_ref())?;
    let mut good: Vec<RowSpec> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        if row.get_ref().from == Sender::User {
            findings.add(&format!("calls[{index}].from"), Some(row.span()), Reason::DirectRow);
            continue;
        }
        if row.get_ref().words.is_none() {
            findings.add(&format!("calls[{index}].words"), Some(row.span()), Reason::NoWords);
            continue;
        }
        good.push(row.get_ref().clone());
        if let Err(rejection) = CallTable::new(provider, &good) {
            findings.add(&format!("calls[{index}]"), Some(row.span()), rejection);
            good.pop();
        }
    }
    let table = CallTable::new(provider, &good).map_err(|rejection| findings.add("calls", None, rejection)).ok()?;
    Some((Arc::new(table), good))
}

pub(super) fn drives(
    tables: Vec<Spanned<DriveTable>>,
    products: &[Product],
    findings: &mut Findings<'_>,
) -> Vec<Drive> {
    let mut drives: Vec<Drive> = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let key = format!("drives[{index}]");
        let DriveTable { id, path, title, product } = table.into_inner();
        let id = drive_id(&format!("{key}.id"), id, &drives, findings);
        let root = findings
            .required(&format!("{key}.path"), path, "where the drive is, such as \"~\" or \"/project\"")
            .and_then(|typed| {
                let in_id = |placeholder| id.as_ref().is_none_or(|id| id.contains(placeholder));
                let in_path = |placeholder| typed.get_ref().contains(placeholder);
                let root = match parse_root(typed.get_ref()) {
                    None => Err(Reason::DrivePath),
                    Some(_) if id.is_some() && in_path(GROUP) != in_id(GROUP) => Err(Reason::DriveGroup),
                    Some(root) if id.is_some() && in_id(NAME) && !is_parent_of_made(&root) => Err(Reason::DriveMade),
                    Some(_) if in_path(NAME) && !in_id(NAME) => Err(Reason::DriveMade),
                    Some(root) => Ok(root),
                };
                findings.accept(&format!("{key}.path"), &typed.span(), root)
            });
        let title = title.map(|typed| {
            let title = drive_title(typed.get_ref()).ok_or(Reason::Title);
            findings.accept(&format!("{key}.title"), &typed.span(), title)
        });
        let product = product.map(|typed| {
            let product = Product::storage_among(products, Some(typed.get_ref()));
            let name = product.map(|product| product.name.clone()).ok_or(Reason::NoSuchProduct);
            findings.accept(&format!("{key}.product"), &typed.span(), name)
        });
        if let (Some(id), Some(root)) = (id, root) {
            let title = title.flatten().unwrap_or_else(|| id.clone());
            drives.push(Drive { id, root, title, product: product.flatten() });
        }
    }
    drives
}

/// User-made drives have a folder of the home to themselves: everything else in it would count as a
/// drive.
fn is_parent_of_made(root: &DriveRoot) -> bool {
    let DriveRoot::Home(below) = root else { return false };
    let parent = below.parent().and_then(Path::to_str).unwrap_or_default();
    below.ends_with(NAME) && !parent.is_empty() && !parent.contains(NAME)
}

/// An id, possibly with a placeholder for a group or for a user-made drive.
fn drive_id(key: &str, typed: Typed<String>, others: &[Drive], findings: &mut Findings<'_>) -> Option<String> {
    let what = "UCloud's providerGeneratedId of the drive";
    let placeholder = |text: &str| [GROUP, NAME].into_iter().find(|placeholder| text.contains(placeholder));
    match typed {
        Some(typed) if let Some(placeholder) = placeholder(typed.get_ref()) => {
            let text = typed.get_ref();
            let is_taken = |other: &Drive| other.id == *text || (placeholder == NAME && other.is_made());
            let id = match text.replacen(placeholder, "g", 1) {
                filled if !is_name(&filled) => Err(Reason::Name),
                _ if others.iter().any(is_taken) => Err(Reason::Twice),
                _ => Ok(text.clone()),
            };
            findings.accept(key, &typed.span(), id)
        }
        typed => name(key, typed, what, findings, |id| others.iter().any(|other| other.id == id)),
    }
}

fn drive_title(text: &str) -> Option<String> {
    let is_title = (1..=TITLE_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_title.then(|| text.to_owned())
}

fn parse_root(text: &str) -> Option<DriveRoot> {
    let below_home = if text == "~" { Some("") } else { text.strip_prefix("~/") };
    let path = Path::new(below_home.unwrap_or(text));
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    if !is_plain || text.contains('\0') {
        return None;
    }
    match below_home {
        Some(_) if path.is_absolute() => None,
        Some(_) => Some(DriveRoot::Home(path.to_owned())),
        None if path.is_absolute() => Some(DriveRoot::Fixed(path.to_owned())),
        None => None,
    }
}

pub(super) fn terminals(table: &TerminalsTable) -> Terminals {
    if word(table.offered.as_ref(), true) { Terminals::Offered } else { Terminals::NotOffered }
}

pub(super) fn ssh(table: &SshTable) -> Ssh {
    Ssh {
        keys: if word(table.keys.as_ref(), false) { SshKeysOf::Everybody } else { SshKeysOf::NoOne },
        directory: if word(table.in_drives.as_ref(), false) { SshDirectory::InDrives } else { SshDirectory::Protected },
    }
}

pub(super) fn ipc(table: DirectoryTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Ipc> {
    let directory = directory("ipc.directory", &table, IPC_DIRECTORY, IPC_SOCKET_LENGTH, site, findings, |path| {
        // An account that can write here could replace the server's socket.
        if site.reader.role == Role::Server {
            admin_file::check_directory(path, site.reader.uid).map_err(|reason| {
                if reason.is_absence() { FileReason::NoRunDirectory { path: path.to_owned() } } else { reason }
            })?;
        }
        Ok(())
    });
    Some(Ipc { directory: directory? })
}

pub(super) fn state(table: DirectoryTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<State> {
    let directory =
        directory("state.directory", &table, STATE_DIRECTORY, STATE_SOCKET_LENGTH, site, findings, |path| {
            match site.reader.role {
                Role::Server | Role::Gateway => admin_file::check_private_directory(path, site.reader.uid),
                Role::Instance | Role::Command => Ok(()),
            }
        });
    Some(State { directory: directory? })
}

fn directory(
    key: &str,
    table: &DirectoryTable,
    default: &str,
    socket_length: usize,
    site: Site<'_>,
    findings: &mut Findings<'_>,
    check: impl FnOnce(&Path) -> Result<(), FileReason>,
) -> Option<PathBuf> {
    if findings.is_reported(key) {
        return None;
    }
    let span = table.directory.as_ref().map(Spanned::span);
    let path = site.path(table.directory.as_ref().map_or(default, |typed| typed.get_ref()));
    let length_max = SOCKET_PATH_MAX.saturating_sub(socket_length);
    let reason = if path.as_os_str().len() > length_max {
        Reason::SocketPath(length_max)
    } else {
        match check(&path) {
            Ok(()) => return Some(path),
            Err(reason) => reason.into(),
        }
    };
    findings.add(key, span, reason);
    None
}
