//! Checks `[metrics]` and `[alarms]`.

use std::net::SocketAddr;

use toml::Spanned;

use crate::check::findings::{Findings, Site, word};
use crate::check::users::program;
use crate::file::{AlarmsTable, MetricsTable, Typed};
use crate::problem::Reason;
use crate::watching::{Alarms, Metrics, MetricsListen, MetricsReach};

/// Longest path of a Unix socket on Linux, in bytes (`sun_path` without its final NUL).
const SOCKET_PATH_MAX: usize = 107;

/// Mode of a Unix socket: the server's account and its group.
const MODE: u32 = 0o660;

/// `None` if it was reported; `Some(None)` if there is no such table.
pub(super) fn metrics(
    table: Option<MetricsTable>,
    gateway: &[SocketAddr],
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<Metrics>> {
    let Some(MetricsTable { listen, mode, anywhere }) = table else { return Some(None) };
    let what = "where collectors find the metrics, such as \"127.0.0.1:9464\" or \"/run/ucloud/metrics.sock\"";
    let typed = findings.required("metrics.listen", listen, what)?;
    let (text, span) = (typed.get_ref().as_str(), typed.span());
    let reach = if word(anywhere.as_ref(), false) { MetricsReach::Anywhere } else { MetricsReach::ThisMachine };
    if text.contains('/') {
        if let Some(anywhere) = anywhere {
            findings.add("metrics.anywhere", Some(anywhere.span()), Reason::Idle("metrics.listen is an address"));
            return None;
        }
        let path = site.path(text);
        let is_long = path.as_os_str().len() > SOCKET_PATH_MAX;
        let path = if is_long { Err(Reason::SocketPath(SOCKET_PATH_MAX)) } else { Ok(path) };
        let path = findings.accept("metrics.listen", &span, path);
        let mode = socket_mode(mode, findings);
        return Some(Some(Metrics { listen: MetricsListen::Unix { path: path?, mode: mode? }, reach }));
    }
    if let Some(mode) = mode {
        findings.add("metrics.mode", Some(mode.span()), Reason::Idle("metrics.listen is the path of a socket"));
        return None;
    }
    let address = match text.parse::<SocketAddr>() {
        Err(_) => Err(Reason::Address),
        Ok(address) if address.port() == 0 => Err(Reason::PortZero),
        Ok(address) if let Some(taken) = gateway.iter().find(|other| is_taken(address, **other)) => {
            Err(Reason::PortTaken(*taken))
        }
        Ok(address) if reach == MetricsReach::ThisMachine && !address.ip().is_loopback() => Err(Reason::MetricsReach),
        Ok(address) => Ok(address),
    };
    let address = findings.accept("metrics.listen", &span, address)?;
    Some(Some(Metrics { listen: MetricsListen::Tcp(address), reach }))
}

/// `None` if it was reported.
pub(super) fn alarms(table: AlarmsTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Alarms> {
    let Some(typed) = table.command else { return Some(Alarms::default()) };
    let what = "a program and its arguments, such as [\"/usr/local/bin/alarm\"]";
    program("alarms.command", typed, what, site, findings).map(|command| Alarms { command: Some(command) })
}

/// Whether both cannot be listened on. An unspecified address takes the port of every address.
fn is_taken(address: SocketAddr, other: SocketAddr) -> bool {
    let either = address.ip().is_unspecified() || other.ip().is_unspecified();
    address.port() == other.port() && (either || address.ip() == other.ip())
}

fn socket_mode(typed: Typed<String>, findings: &mut Findings<'_>) -> Option<u32> {
    let Some(typed) = typed else { return Some(MODE) };
    let typed: Spanned<String> = typed;
    let text = typed.get_ref();
    let is_octal = text.len() == 4 && text.starts_with('0');
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    findings.accept("metrics.mode", &typed.span(), mode.ok_or(Reason::SocketMode))
}
