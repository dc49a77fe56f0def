//! Checks `[intent]`, `[sessions]`, `[instances]`, `[mapping]`, `[connection]` and `[maintenance]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_keys::call::CallTable;
use countersign_keys::identity::{CallName, Uid, Username};

use countersign_keys::policy::StepUp;
use countersign_keys::session::{ProofNeed, SealNeed};
use toml::Spanned;

use crate::check::findings::{Findings, Site, word};
use crate::file::{
    ConnectionTable, InstancesTable, IntentTable, LaunchWord, ListenWord, MaintenanceTable, MapperWord, MappingTable,
    ProofWord, SealWord, SessionsTable, StartWord, StaticTable, TypedList,
};
use crate::problem::Reason;
use crate::quantity::{self, Range};
use crate::{
    Connection, Gateway, InstanceListen, Instances, Intent, Launch, Maintenance, Mapper, Mapping, MappingStart, Role,
    Sessions, StaticAddress, StaticInstance, V1, admin_file,
};

/// Most users served during maintenance: staff and testers.
const ALLOWED_MAX: usize = 1_000;

/// Seconds of a day, for key lifetimes, which are typed in days.
const DAY_S: i64 = 24 * 60 * 60;

pub(super) fn intent(table: IntentTable, calls: Option<&CallTable>, findings: &mut Findings<'_>) -> Option<Intent> {
    let lifetime_max_s =
        findings.number("intent.lifetime_max_s", table.lifetime_max_s.as_ref(), quantity::LIFETIME_MAX_S);
    let future_skew_s = findings.number("intent.future_skew_s", table.future_skew_s.as_ref(), quantity::FUTURE_SKEW_S);
    let deposit_wait_ms = deposit_wait_ms(table.deposit_wait_ms.as_ref(), findings);
    let key_lifetime_days =
        findings.number("intent.key_lifetime_days", table.key_lifetime_days.as_ref(), quantity::KEY_LIFETIME_DAYS);
    let step_up = step_up(table.step_up, calls, findings);
    Some(Intent {
        lifetime_max_s: lifetime_max_s?,
        future_skew_s: future_skew_s?,
        v1: if word(table.accept_v1.as_ref(), false) { V1::Accepted } else { V1::Refused },
        deposit_wait: Duration::from_millis(u64::try_from(deposit_wait_ms?).ok()?),
        step_up,
        key_lifetime_s: key_lifetime_days?.saturating_mul(DAY_S),
    })
}

/// The wait for a deposit, which reduces the time for the request's own work.
fn deposit_wait_ms(typed: Option<&Spanned<i64>>, findings: &mut Findings<'_>) -> Option<i64> {
    let Range { min, max, default } = quantity::DEPOSIT_WAIT_MS;
    let Some(typed) = typed else { return Some(default) };
    let value = *typed.get_ref();
    let is_within = (min..=max).contains(&value);
    let made = if is_within { Ok(value) } else { Err(Reason::NoTimeLeft { max, default }) };
    findings.accept("intent.deposit_wait_ms", &typed.span(), made)
}

/// In `intent.step_up`, every item that a rule raises to a dangerous one. Every call's name has a
/// dot.
const RAISED: &str = "raised";

fn step_up(typed: TypedList<String>, calls: Option<&CallTable>, findings: &mut Findings<'_>) -> StepUp {
    let mut step_up = StepUp::default();
    for (index, entry) in typed.into_iter().flat_map(|list| list.into_inner()).enumerate() {
        let at = format!("intent.step_up[{index}]");
        if entry.get_ref() == RAISED {
            let once = if step_up.raised { Err(Reason::Twice) } else { Ok(()) };
            step_up.raised |= findings.accept(&at, &entry.span(), once).is_some();
            continue;
        }
        let name = match CallName::parse(entry.get_ref()) {
            Err(rejection) => Err(rejection.into()),
            Ok(name) if step_up.calls.contains(&name) => Err(Reason::Twice),
            Ok(name) if calls.is_some_and(|calls| calls.row(name.as_str()).is_none()) => Err(Reason::UnknownCall),
            Ok(name) => Ok(name),
        };
        step_up.calls.extend(findings.accept(&at, &entry.span(), name));
    }
    step_up
}

pub(super) fn sessions(table: &SessionsTable, findings: &mut Findings<'_>) -> Option<Sessions> {
    let proof = match word(table.proof.as_ref(), ProofWord::Required) {
        ProofWord::Required => ProofNeed::Required,
        ProofWord::Off => ProofNeed::Off,
    };
    let sealed = match word(table.sealed.as_ref(), SealWord::Preferred) {
        SealWord::Required => SealNeed::Required,
        SealWord::Preferred => SealNeed::Preferred,
        SealWord::Off => SealNeed::Off,
    };
    // The intent that opens a session signs the key agreement.
    if let Some(typed) = &table.sealed
        && sealed == SealNeed::Required
        && proof == ProofNeed::Off
    {
        findings.accept::<(), Reason>("sessions.sealed", &typed.span(), Err(Reason::SealWithoutProof))?;
    }
    Some(Sessions { proof, sealed })
}

pub(super) fn connection(table: ConnectionTable, findings: &mut Findings<'_>) -> Option<Connection> {
    let Some(typed) = table.expires_after else {
        return Some(Connection { expires_after_s: None });
    };
    let seconds = match quantity::parse_time(typed.get_ref()) {
        None => Err(Reason::Time),
        Some(seconds) if quantity::EXPIRES_AFTER_S.contains(&seconds) => Ok(seconds),
        Some(_) => Err(Reason::TimeOutOfRange),
    };
    let expires_after_s = findings.accept("connection.expires_after", &typed.span(), seconds)?;
    Some(Connection { expires_after_s: Some(expires_after_s) })
}

pub(super) fn maintenance(table: MaintenanceTable, findings: &mut Findings<'_>) -> Maintenance {
    let mut allow = BTreeSet::new();
    for (index, entry) in table.allow.into_iter().flat_map(|list| list.into_inner()).enumerate() {
        let name = match Username::parse(entry.get_ref()) {
            Err(rejection) => Err(rejection.into()),
            Ok(_) if index >= ALLOWED_MAX => Err(Reason::TooMany(ALLOWED_MAX)),
            Ok(name) if allow.contains(&name) => Err(Reason::Twice),
            Ok(name) => Ok(name),
        };
        allow.extend(findings.accept(&format!("maintenance.allow[{index}]"), &entry.span(), name));
    }
    if word(table.enabled.as_ref(), false) { Maintenance::ForAllBut(allow) } else { Maintenance::None }
}

pub(super) fn instances(
    table: InstancesTable,
    gateway: Option<&Gateway>,
    findings: &mut Findings<'_>,
) -> Option<Instances> {
    let first_port = findings.number("instances.first_port", table.first_port.as_ref(), quantity::FIRST_PORT);
    let first_port = first_port.and_then(|port| u16::try_from(port).ok());
    let listen = match word(table.listen.as_ref(), ListenWord::Unix) {
        ListenWord::Unix => Some(InstanceListen::Unix),
        ListenWord::Tcp => first_port.map(|first_port| InstanceListen::Tcp { first_port }),
    };
    if let Some(InstanceListen::Tcp { first_port }) = listen {
        let taken = gateway.iter().flat_map(|gateway| &gateway.listen).find(|address| address.port() == first_port);
        if let Some(address) = taken {
            let span = table.first_port.as_ref().map(Spanned::span);
            findings.add("instances.first_port", span, Reason::PortTaken(*address));
        }
    }
    let is_sudo = word(table.launch.as_ref(), LaunchWord::Sudo) == LaunchWord::Sudo;
    let launch = launch(is_sudo, table.fixed, findings);
    Some(Instances { launch: launch?, listen: listen? })
}

/// The lowest uid that may have an instance, and after which idle time one exits.
pub(super) fn instance_limits(table: &InstancesTable, findings: &mut Findings<'_>) -> Option<(Uid, Duration)> {
    let uid_min = findings.number("instances.uid_min", table.uid_min.as_ref(), quantity::UID_MIN);
    let idle_stop_s = findings.number("instances.idle_stop_s", table.idle_stop_s.as_ref(), quantity::IDLE_STOP_S);
    Some((Uid(u32::try_from(uid_min?).ok()?), Duration::from_secs(u64::try_from(idle_stop_s?).ok()?)))
}

fn launch(is_sudo: bool, typed: TypedList<StaticTable>, findings: &mut Findings<'_>) -> Option<Launch> {
    let span = typed.as_ref().map(Spanned::span);
    let entries = typed.map(toml::Spanned::into_inner).unwrap_or_default();
    if is_sudo {
        if !entries.is_empty() && !findings.is_reported("instances.launch") {
            findings.add("instances.static", span, Reason::Idle("instances.launch is \"static\""));
            return None;
        }
        return Some(Launch::Sudo);
    }
    if entries.is_empty() {
        let what = "with instances.launch = \"static\" it names every instance";
        findings.missing("instances.static", Reason::Empty(what));
        return None;
    }
    let count = entries.len();
    let mut instances: Vec<StaticInstance> = Vec::with_capacity(count);
    for (index, entry) in entries.into_iter().enumerate() {
        let key = format!("instances.static[{index}]");
        let table = entry.into_inner();
        let username = findings
            .required(&format!("{key}.username"), table.username, "whom the instance serves")
            .and_then(|typed| {
                let parsed = match Username::parse(typed.get_ref()) {
                    Err(rejection) => Err(rejection.into()),
                    Ok(name) if instances.iter().any(|other| other.username == name) => Err(Reason::Twice),
                    Ok(name) => Ok(name),
                };
                findings.accept(&format!("{key}.username"), &typed.span(), parsed)
            });
        let address = findings
            .required(&format!("{key}.address"), table.address, "where it listens, such as \"127.0.0.1:42001\"")
            .and_then(|typed| {
                findings.accept(&format!("{key}.address"), &typed.span(), static_address(typed.get_ref()))
            });
        if let (Some(username), Some(address)) = (username, address) {
            instances.push(StaticInstance { username, address });
        }
    }
    (instances.len() == count).then_some(Launch::Static(instances))
}

/// A loop-back address with a port, or the absolute path of a Unix socket.
fn static_address(text: &str) -> Result<StaticAddress, Reason> {
    if text.starts_with('/') {
        return Ok(StaticAddress::Unix(text.into()));
    }
    match text.parse::<SocketAddr>() {
        Err(_) => Err(Reason::Address),
        Ok(address) if address.port() == 0 => Err(Reason::PortZero),
        Ok(address) if !address.ip().is_loopback() => Err(Reason::NotLoopBack),
        Ok(address) => Ok(StaticAddress::Tcp(address)),
    }
}

pub(super) fn mapping(table: MappingTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Mapping> {
    let start = match word(table.start.as_ref(), StartWord::Either) {
        StartWord::Either => MappingStart::Either,
        StartWord::Provider => MappingStart::Provider,
    };
    let by = match (word(table.kind.as_ref(), MapperWord::Ticket), table.command) {
        (MapperWord::Ticket, None) => Some(Mapper::Ticket),
        (MapperWord::Ticket, Some(typed)) => {
            if !findings.is_reported("mapping.type") {
                findings.add("mapping.command", Some(typed.span()), Reason::Idle("mapping.type is \"command\""));
            }
            None
        }
        (MapperWord::Command, typed) => command(typed, site, findings),
    };
    Some(Mapping { start, by: by? })
}

fn command(typed: TypedList<String>, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Mapper> {
    let what =
        "with mapping.type = \"command\" it is the program and its arguments, such as [\"/usr/local/bin/map-user\"]";
    let typed = findings.required("mapping.command", typed, what)?;
    let (program, arguments) = program("mapping.command", typed, what, site, findings)?;
    Some(Mapper::Command { program, arguments })
}

/// A program of the site, and its arguments.
pub(super) fn program(
    key: &str,
    typed: Spanned<Vec<Spanned<String>>>,
    what: &'static str,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<(PathBuf, Vec<String>)> {
    let span = typed.span();
    let mut words = typed.into_inner().into_iter();
    let Some(program) = words.next() else {
        findings.add(key, Some(span), Reason::Empty(what));
        return None;
    };
    let path = PathBuf::from(program.get_ref());
    findings.accept(&format!("{key}[0]"), &program.span(), check_program(&path, site))?;
    Some((path, words.map(Spanned::into_inner).collect()))
}

fn check_program(path: &Path, site: Site<'_>) -> Result<(), Reason> {
    if !path.is_absolute() {
        return Err(Reason::NotAbsoluteProgram);
    }
    if site.reader.role == Role::Server {
        admin_file::check_program(path, site.reader.uid)?;
    }
    Ok(())
}
