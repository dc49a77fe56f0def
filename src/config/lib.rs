//! The configuration: parses TOML into a checked [`Config`].
//!
//! Has two layers: the file as typed ([`mod@file`], every key optional, unknown ones refused) and
//! its meaning ([`Config`], every value checked). Reports all problems at once, each with file,
//! place, key and reason. With a single problem there is no [`Config`] (P8). A [`Config`] contains
//! no secrets: it names their files, and the process that needs one opens it through
//! [`SecretFile`].
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod accounting;
pub mod admin_file;
mod brand;
mod check;
mod current;
mod drives;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod kept_look;
mod licence;
mod link_hosts;
mod maintenance;
mod problem;
mod products;
mod projects;
mod quantity;
pub mod reload;
mod rules;
mod secret_file;
mod slurm;
mod spans;
mod storage;
mod tls;
pub mod user_file;
mod watching;
mod web_hosts;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::call::{CallTable, RowSpec};
use countersign_keys::core_token::CoreKey;
use countersign_keys::freshness::Window;
use countersign_keys::identity::{Origin, ProviderId, Uid, Username};
use countersign_keys::intent::{Terms, Version1};
use countersign_keys::policy::{Policy, StepUp};
use countersign_keys::session::{ProofNeed, SealNeed};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::current::Current;

pub use crate::accounting::UsageReports;
pub use crate::brand::{Brand, Contact, Logo, LogoKind};
pub use crate::drives::{Drive, DriveRoot, GROUP, MadeDrives, NAME, PlainName, UserDrives};
pub use crate::licence::Licence;
pub use crate::link_hosts::LinkHosts;
pub use crate::maintenance::Maintenance;
pub use crate::problem::ConfigError;
pub use crate::products::{Accounting, Frequency, Machine, Product, ProductKind};
pub use crate::projects::{Groups, Projects, Removals};
pub use crate::quantity::{BODY_DEFAULT, show_size};
pub use crate::rules::GatewayRules;
pub use crate::secret_file::{SecretFile, SecretFileError};
pub use crate::slurm::{ACCOUNT_PARAMETER, Asks, MODULES_PARAMETER, Operator, Placement, Readme, Slurm};
pub use crate::storage::{
    Audit, DRIVE_NUMBERS, Ipc, KEEP_PARTS, Keep, Names, PSEUDONYM_KEY, State, UNFINISHED, Witness,
};
pub use crate::tls::{Tls, TlsFiles, certificate_end};
pub use crate::watching::{Alarms, Metrics, MetricsListen, MetricsReach};
pub use crate::web_hosts::{WebHosts, WebPlace};

/// Loop-back ports tried for an instance: more than one machine has users at a time.
pub const INSTANCE_PORTS_MAX: u16 = 8_000;

/// The default of `--config`.
pub const DEFAULT_FILE: &str = "/etc/countersign/config.toml";

/// The default of `applications.folder`.
pub const APPLICATIONS_FOLDER: &str = "/etc/countersign/applications";

/// Most addresses that a gateway listens on.
pub const LISTENERS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, absolute.
    pub file: PathBuf,
    pub provider: Provider,
    pub core: Core,
    pub gateway: Gateway,
    pub instances: Instances,
    /// How UCloud users are mapped to local ones.
    pub mapping: Mapping,
    /// `[slurm]`; `None` if this provider starts no jobs.
    pub slurm: Option<Slurm>,
    /// `[projects]`; `None` if this provider takes no part in UCloud's projects.
    pub projects: Option<Projects>,
    /// `[accounting]`; `None` if UCloud is told of no usage.
    pub accounting: Option<UsageReports>,
    pub applications: Applications,
    /// The server's socket for local processes.
    pub ipc: Ipc,
    /// The state directory.
    pub state: State,
    /// How the audit logs are kept.
    pub audit: Audit,
    /// `[metrics]`; `None` if there is no listener for them.
    pub metrics: Option<Metrics>,
    pub alarms: Alarms,
    /// What a reload may change ([`reload::RELOADED`]).
    current: Current<Served>,
}

/// The part of a [`Config`] that a reload may change.
#[derive(Clone, Debug)]
pub struct Served {
    pub intent: Intent,
    pub sessions: Sessions,
    /// The lowest uid that may have an instance.
    pub uid_min: Uid,
    /// An instance without a request for this long exits.
    pub idle_stop: Duration,
    /// `[[drives]]`, in their order.
    pub drives: Vec<Drive>,
    /// `[[products]]`.
    pub products: Vec<Product>,
    /// SSH keys for logging in.
    pub ssh: Ssh,
    pub terminals: Terminals,
    pub connection: Connection,
    pub maintenance: Maintenance,
    /// The call table: the standard rows and `site_calls`.
    pub calls: Arc<CallTable>,
    /// `[[calls]]`.
    pub site_calls: Vec<RowSpec>,
}

/// `[provider]`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `{p}` in every path.
    pub id: ProviderId,
    /// The URL for browsers and Core, and every intent's audience. `https`, or loop-back.
    pub origin: Origin,
    pub brand: Brand,
}

/// `[core]`.
#[derive(Clone, Debug)]
pub struct Core {
    /// The only foreign origin that CORS admits, and where the server calls Core. `https`, or
    /// loop-back.
    pub origin: Origin,
    /// Verifies Core's tokens.
    pub public_key: CoreKey,
    /// Read by the server alone. If `None`, the server does not tell Core of approved connections.
    pub refresh_token: Option<SecretFile>,
    /// Certificate authorities for calls to Core; empty for the system's.
    pub ca: Vec<CertificateDer<'static>>,
}

/// `[gateway]`.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The addresses to listen on: at least one, without duplicates.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key; `None` only if every address is loop-back.
    pub tls: Option<Tls>,
    /// Longest request body, in bytes.
    pub body_max: usize,
    /// Worker threads of the gateway.
    pub threads: NonZeroUsize,
    /// Most open connections.
    pub connections_max: usize,
    /// What happens if the kernel cannot sandbox the gateway.
    pub sandbox: Sandbox,
    pub start: GatewayStart,
    /// Where the web interfaces of jobs are; `None` if this provider offers none.
    pub web: Option<WebHosts>,
    /// Where public links are; `None` if this provider offers none.
    pub links: Option<LinkHosts>,
}

/// Which process starts the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GatewayStart {
    /// The server, as its child.
    Server,
    /// The service manager, in a separate unit. The gateway gets its sockets from the server.
    Service,
}

/// Strictness of the gateway's sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sandbox {
    /// Complete, or the gateway does not start.
    Required,
    /// As much as the kernel supports: for containers without Landlock.
    Available,
    /// For development: system calls that are not on the list pass, and the kernel logs them.
    Log,
    /// None.
    Off,
}

/// `[intent]`.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Longest validity of an intent, in seconds.
    pub lifetime_max_s: i64,
    /// How far ahead a user's clock may be, in seconds.
    pub future_skew_s: i64,
    /// Intents of UCloud's own, older frontends.
    pub v1: V1,
    /// How long a request waits for its deposit.
    pub deposit_wait: Duration,
    /// What needs a passkey too. Each call is in the call table.
    pub step_up: StepUp,
    /// Lifetime of a key from its approval, in seconds.
    pub key_lifetime_s: i64,
}

/// Whether version 1 intents are accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum V1 {
    /// From keys that were enrolled as version 1.
    Accepted,
    Refused,
}

/// `[sessions]`.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// What redeeming a one-time token requires.
    pub proof: ProofNeed,
    /// Whether sessions are sealed.
    pub sealed: SealNeed,
}

/// `[instances]`.
#[derive(Clone, Debug)]
pub struct Instances {
    pub launch: Launch,
    pub listen: InstanceListen,
}

/// How instances are started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Launch {
    /// The server starts them through sudo, as their users.
    Sudo,
    /// They run already at these addresses: for development and foreign instances. Never empty.
    Static(Vec<StaticInstance>),
}

/// An instance that the configuration names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticInstance {
    pub username: Username,
    pub address: StaticAddress,
}

/// Where such an instance listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StaticAddress {
    /// An absolute path. The socket has to be made by the gateway's own account, as for instances
    /// that are started.
    Unix(PathBuf),
    /// A loop-back address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for StaticAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// Where the server's service endpoint and the instances that it starts listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceListen {
    /// Unix sockets below `state.directory`.
    Unix,
    /// Loop-back ports: the server's on the first, instances on the following ones.
    Tcp { first_port: u16 },
}

impl Instances {
    /// The loop-back ports of instances and of the server's endpoint.
    pub fn ports(&self) -> Vec<u16> {
        let started = match self.listen {
            InstanceListen::Unix => None,
            InstanceListen::Tcp { first_port } => Some(first_port..=first_port.saturating_add(INSTANCE_PORTS_MAX)),
        };
        let fixed: &[StaticInstance] = match &self.launch {
            Launch::Sudo => &[],
            Launch::Static(instances) => instances,
        };
        let fixed = fixed.iter().filter_map(|instance| match &instance.address {
            StaticAddress::Tcp(address) => Some(address.port()),
            StaticAddress::Unix(_) => None,
        });
        started.into_iter().flatten().chain(fixed).collect()
    }
}

/// `[mapping]`.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Where a connection may begin.
    pub start: MappingStart,
    pub by: Mapper,
}

/// Where a connection may begin (protocol, section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MappingStart {
    /// At Core or here.
    Either,
    /// Only here, with `connect start`.
    Provider,
}

/// What determines a user's uid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mapper {
    /// The uid that approves the ticket, according to the kernel.
    Ticket,
    /// A program of the site's. It gets the UCloud user as JSON and prints `{"uid": 1100}`.
    Command {
        /// Absolute; writable only by root or the server's own account.
        program: PathBuf,
        arguments: Vec<String>,
    },
}

/// `[ssh]`.
#[derive(Clone, Copy, Debug)]
pub struct Ssh {
    pub keys: SshKeysOf,
    /// Whether drives give access to `~/.ssh`.
    pub directory: SshDirectory,
}

/// Whether drives give access to users' `~/.ssh`, so that UCloud's page can install SSH keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SshDirectory {
    /// No drive does, whatever a user signed.
    Protected,
    /// Drives do.
    InDrives,
}

/// Whose SSH keys the instances write into `~/.ssh/authorized_keys` when UCloud reports a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SshKeysOf {
    /// No user's: the call is not offered.
    NoOne,
    /// Those of every user who signs for it.
    Everybody,
}

/// `[terminals]`: whether users have terminals in the browser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Terminals {
    /// Users get one for each signed request.
    Offered,
    /// Users log in by other means.
    NotOffered,
}

/// `[applications]`: what jobs may run.
#[derive(Clone, Debug)]
pub struct Applications {
    /// Holds the applications that an administrator approved. Absolute; belongs to root.
    pub folder: PathBuf,
    /// What may start. Never empty.
    pub accept: BTreeSet<Accept>,
}

/// What makes an application one that may start.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Accept {
    /// An administrator approved it.
    Approved,
    /// All that it runs is a script that the user signed.
    Workflow,
}

/// `[connection]`.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// How long a connection lasts from its approval, in seconds; `None` until it is ended.
    pub expires_after_s: Option<i64>,
}

/// The process that reads, which decides what files are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The server: every file, including the refresh token and the TLS key.
    Server,
    /// The gateway: the TLS key, not the refresh token.
    Gateway,
    /// An instance: no secret. An instance that the server starts must not even be able to open
    /// one. The server's account must not be able to write what the instance reads (P3).
    Instance,
    /// A person's command: as an instance, but the person may be the server's account, or root.
    Command,
}

#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub role: Role,
    /// Files must belong to this account or to root.
    pub uid: Uid,
}

impl Reader {
    /// This process, in that role.
    pub fn own(role: Role) -> Self {
        Self { role, uid: Uid(nix::unistd::geteuid().as_raw()) }
    }
}

impl Config {
    /// Loads it for the server: checks every file, including the secrets.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Server))
    }

    /// Loads it for the gateway: ignores the refresh token.
    pub fn load_for_gateway(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Gateway))
    }

    /// Loads it for an instance: reads no secret. Refuses a secret that this account could read,
    /// and a configuration or `core.public_key` that another account than root or this user could
    /// have written (P3).
    pub fn load_for_instance(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Instance))
    }

    /// Loads it for a person's command, by the same rules for every account.
    pub fn load_for_command(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Command))
    }

    /// What a reload may change, as it is now. One piece of work takes it once.
    pub fn served(&self) -> Arc<Served> {
        self.current.get()
    }

    /// The conditions on intents, the same at the gateway and in every instance.
    pub fn terms(&self) -> Terms {
        let Intent { lifetime_max_s, future_skew_s, v1, .. } = self.served().intent;
        let version_1 = match v1 {
            V1::Accepted => Version1::Accepted,
            V1::Refused => Version1::Refused,
        };
        Terms { audience: self.provider.origin.clone(), window: Window { lifetime_max_s, future_skew_s }, version_1 }
    }

    /// The site's rules, the same at the gateway and at the server, whose passkeys serve them.
    pub fn policy(&self) -> Policy {
        Policy { terms: self.terms(), step_up: self.served().intent.step_up.clone() }
    }

    /// Loads it for any role.
    pub fn load_as(path: &Path, reader: Reader) -> Result<Self, ConfigError> {
        let path = std::path::absolute(path)
            .map_err(|source| admin_file::FileReason::Open { path: path.to_owned(), source })?;
        let text = admin_file::read_text(&path, admin_file::CONFIG_MAX, reader.uid)?;
        Self::check(&text, &path, reader)
    }
}
