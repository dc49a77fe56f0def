//! `countersign status`: reports whether the site works to its administrator, and whether the
//! caller is served to every other user.
//!
//! Checks from outside where possible: it connects to the gateway, and reads checkpoints from the
//! log's directory. Changes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use countersign_keys::identity::KeyId;
use countersign_keys::keyring::KeyState;
use countersign_keys::time::Timestamp;
use serde::Serialize;

use crate::arguments::Output;
use crate::commands::administrator;
use crate::commands::connect::every_connection;
use crate::commands::error::CommandError;
use crate::commands::keys;
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{show, show_json};
use crate::commands::text::span;
use countersign_audit::LogLayout;
use countersign_config::{Config, Launch};
use countersign_ipc::server_protocol::{self, Connection, Empty, ListedKey, Whoami};
use countersign_metrics::{FAMILIES, Sample, Snapshot, Value};
use countersign_os::clock::Clock;
use countersign_os::quoted::{quoted, word};

/// Timeout of a connection to the gateway, which is on this machine.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(2);

/// The metrics of the server's alarms.
const ALARMS: &str = "countersign_server_alarms_total";

/// The report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    server: bool,
    gateway: Vec<Listening>,
    provider: String,
    connections: Vec<Connection>,
    untold: usize,
    keys: Vec<ActiveKey>,
    logs: Vec<Log>,
    /// The server's metrics by their names, for administrators.
    metrics: BTreeMap<String, f64>,
}

/// An address of the gateway.
#[derive(Debug, Serialize)]
struct Listening {
    address: SocketAddr,
    accepts: bool,
}

/// An active key of the caller.
#[derive(Debug, Serialize)]
struct ActiveKey {
    kid: KeyId,
    expires: Timestamp,
}

/// An audit log, and the age of its last signed checkpoint, in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    name: &'static str,
    checkpoint_age: Option<i64>,
}

/// `status`
pub(super) fn print(output: Output, path: &Path) -> Result<(), CommandError> {
    let config = administrator::load_config(path)?;
    let gateway =
        config.gateway.listen.iter().map(|address| Listening { address: *address, accepts: accepts(*address) });
    let gateway: Vec<Listening> = gateway.collect();
    let server = ServerLine::of(&config)?;
    let who: Whoami = match server.ask(server_protocol::WHOAMI, &Empty {}) {
        Ok(who) => who,
        Err(error) => {
            gateway.iter().try_for_each(|listening| show(&in_words(listening)))?;
            return Err(error);
        }
    };
    let now = Clock::System.now()?;
    let connections = every_connection(&server, who.administrator)?;
    let listed: Vec<ListedKey> = if who.administrator { Vec::new() } else { keys::listed(&server)? };
    let active = listed.iter().filter(|key| key.state == KeyState::Active && now < key.expires);
    let metrics = if who.administrator {
        // A server of an earlier release has none.
        numbers(&server.ask::<_, Snapshot>(server_protocol::METRICS, &Empty {}).unwrap_or_default())
    } else {
        BTreeMap::new()
    };
    let status = Status {
        server: true,
        gateway,
        provider: who.provider,
        connections,
        untold: who.untold,
        keys: active.map(|key| ActiveKey { kid: key.kid, expires: key.expires }).collect(),
        logs: if who.administrator { logs(&config, now) } else { Vec::new() },
        metrics,
    };
    if output.json {
        return show_json(&status);
    }
    show(&format!("server        answers, for the provider {}", word(&status.provider)))?;
    status.gateway.iter().try_for_each(|listening| show(&in_words(listening)))?;
    if who.administrator { of_the_site(&status, &config, now) } else { of_the_caller(&status, now) }
}

fn in_words(Listening { address, accepts }: &Listening) -> String {
    format!("gateway       {} connections on {address}", if *accepts { "accepts" } else { "DOES NOT accept" })
}

fn of_the_site(status: &Status, config: &Config, now: Timestamp) -> Result<(), CommandError> {
    let connections = &status.connections;
    let is_over = |connection: &&Connection| connection.ends.is_some_and(|end| end <= now);
    show(&format!(
        "users         {} connected, {} of them expired",
        connections.len(),
        connections.iter().filter(is_over).count()
    ))?;
    show(&match (status.untold, &config.core.refresh_token) {
        (_, None) => "UCloud        is not told of connections: there is no core.refresh_token".to_owned(),
        (0, Some(_)) => "UCloud        knows who is connected".to_owned(),
        (1, Some(_)) => "UCloud        was not told yet about 1 user; the log says why".to_owned(),
        (untold, Some(_)) => format!("UCloud        was not told yet about {untold} users; the log says why"),
    })?;
    let up = connections.iter().filter(|connection| connection.instance_up).count();
    show(&match &config.instances.launch {
        Launch::Sudo => format!("instances     {up} are up"),
        Launch::Static(instances) => {
            format!("instances     {} are configured, none is started here", instances.len())
        }
    })?;
    let alarms: f64 =
        status.metrics.iter().filter(|(name, _)| name.starts_with(ALARMS)).map(|(_, number)| number).sum();
    if alarms > 0.0 {
        show(&format!("ALARMS        {alarms} since the server started: journalctl -u countersign --grep 'ALARM: '"))?;
    }
    status.logs.iter().try_for_each(|Log { name, checkpoint_age }| {
        let age = checkpoint_age
            .map_or_else(|| "no checkpoint yet".to_owned(), |age| format!("last signed {} ago", span(age)));
        show(&format!("audit log     {name}: {age}"))
    })
}

fn of_the_caller(status: &Status, now: Timestamp) -> Result<(), CommandError> {
    if status.connections.is_empty() {
        return show("you           are not connected: begin with countersign connect start USERNAME");
    }
    for Connection { username, ends, instance_up, .. } in &status.connections {
        let ends = match ends.map(|end| end.since(now)) {
            None => String::new(),
            Some(left @ 1..) => format!(", for another {}", span(left)),
            Some(_) => ", but the connection has expired: connect again".to_owned(),
        };
        show(&format!("you           are connected as {}{ends}", quoted(username.as_str())))?;
        show(&format!(
            "instance      {}",
            if *instance_up { "is up" } else { "is not running: it starts with the next request" }
        ))?;
    }
    let soonest = status.keys.iter().map(|key| key.expires).min();
    show(&match soonest {
        None => "keys          none is active: connect a browser".to_owned(),
        Some(end) => format!("keys          {} active, the first ends in {}", status.keys.len(), span(end.since(now))),
    })
}

/// The metrics as the text format names them, histograms aside.
fn numbers(snapshot: &Snapshot) -> BTreeMap<String, f64> {
    let named = |sample: &Sample| {
        let Value::Number(number) = sample.value else { return None };
        let family = FAMILIES.iter().find(|family| sample.is_of(family))?;
        let labels = family.labels.iter().zip(&sample.labels).map(|(name, value)| format!("{name}=\"{value}\""));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        Some((format!("{}{labels}", family.name), number))
    };
    snapshot.samples().iter().filter_map(named).collect()
}

/// Whether the gateway accepts connections at that address. Uses the loop-back address if it
/// listens on every address.
fn accepts(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), ACCEPTS_WITHIN).is_ok()
}

fn logs(config: &Config, now: Timestamp) -> Vec<Log> {
    let age = |layout: &LogLayout| {
        let modified = std::fs::metadata(layout.checkpoint()).and_then(|metadata| metadata.modified()).ok()?;
        let seconds = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        Some(now.since(Timestamp::from_seconds(i64::try_from(seconds).ok()?)))
    };
    [("gateway", config.state.gateway_log()), ("server", config.state.server_log())]
        .map(|(name, layout)| Log { name, checkpoint_age: age(&layout) })
        .into()
}
