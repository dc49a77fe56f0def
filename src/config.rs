//! The configuration: TOML → checked [`Config`].
//!
//! Two layers: what was typed ([`mod@file`], every key optional, unknown ones refused) and what is
//! meant ([`Config`], every value checked). All problems are reported at once, each with file,
//! place, key and reason; with a single problem there is no [`Config`] (P8). No secret is ever part
//! of a [`Config`]: it names the files, and whoever needs one opens it through [`SecretFile`].

mod brand;
mod check;
mod drives;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
mod kept;
mod maintenance;
mod places;
mod problem;
mod products;
mod quantity;
mod secret_file;
pub(crate) mod strict_file;
mod tls;
mod trusted_file;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::call::CallTable;
use countersign_keys::core_token::CoreKey;
use countersign_keys::freshness::Window;
use countersign_keys::identity::{Origin, ProviderId, Uid, Username};
use countersign_keys::intent::{Terms, Version1};
use countersign_keys::policy::{Policy, StepUp};
use countersign_keys::session::ProofNeed;
use rustls_pki_types::CertificateDer;

#[cfg(test)]
pub(crate) use crate::config::brand::Contact;
pub(crate) use crate::config::brand::{Brand, Logo, LogoKind};
pub(crate) use crate::config::drives::{Drive, DriveRoot, GROUP, MadeDrives, NAME, PlainName, UserDrives};
pub(crate) use crate::config::kept::{
    Audit, DRIVE_NUMBERS, Ipc, KEEP_PARTS, Keep, Names, PSEUDONYM_KEY, State, UNFINISHED, Witness,
};
pub(crate) use crate::config::maintenance::{CurrentMaintenance, Maintenance};
pub(crate) use crate::config::problem::ConfigError;
pub(crate) use crate::config::products::{Accounting, Frequency, Machine, Product, ProductKind};
#[cfg(test)]
pub(crate) use crate::config::quantity::BODY_DEFAULT;
pub(crate) use crate::config::quantity::show_size;
pub(crate) use crate::config::secret_file::{SecretFile, SecretFileError};
pub(crate) use crate::config::tls::{Tls, TlsFiles};

/// Loop-back ports tried for an instance: more than a machine has users at a time.
pub(crate) const INSTANCE_PORTS_MAX: u16 = 8_000;

/// Where the configuration is unless `--config` says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/countersign/config.toml";

/// A configuration in which every value has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file that it was read from, absolute.
    pub(crate) file: PathBuf,
    /// Who we are.
    pub(crate) provider: Provider,
    /// Whom we serve.
    pub(crate) core: Core,
    /// The L7 ingress.
    pub(crate) gateway: Gateway,
    /// What an intent may be.
    pub(crate) intent: Intent,
    /// What opens a session between user and instance.
    pub(crate) sessions: Sessions,
    /// The instances.
    pub(crate) instances: Instances,
    /// How UCloud users become local ones.
    pub(crate) mapping: Mapping,
    /// `[[drives]]`, in their order.
    pub(crate) drives: Vec<Drive>,
    /// `[[products]]`.
    pub(crate) products: Vec<Product>,
    /// Keys for logging in.
    pub(crate) ssh: Ssh,
    /// Whether users have terminals in the browser.
    pub(crate) terminals: Terminals,
    /// How long connections last.
    pub(crate) connection: Connection,
    /// Whether users are served, as it stood when the file was read: see [`CurrentMaintenance`].
    pub(crate) maintenance: Maintenance,
    /// The table of calls: the standard rows and those of `[[calls]]`.
    pub(crate) calls: Arc<CallTable>,
    /// Where local processes ask the server.
    pub(crate) ipc: Ipc,
    /// What the server keeps.
    pub(crate) state: State,
    /// How the audit logs are kept.
    pub(crate) audit: Audit,
}

/// `[provider]`.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// The provider's id, `{p}` in every path.
    pub(crate) id: ProviderId,
    /// How browsers and Core reach us, and every intent's audience. `https`, or loop-back.
    pub(crate) origin: Origin,
    /// What people are shown of us.
    pub(crate) brand: Brand,
}

/// `[core]`.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    /// The only foreign origin that CORS admits, and where the server calls Core. `https`, or
    /// loop-back.
    pub(crate) origin: Origin,
    /// What Core's tokens are verified with.
    pub(crate) public_key: CoreKey,
    /// Where the refresh token is; `None`: Core is not told of approved connections. Only the
    /// server reads it.
    pub(crate) refresh_token: Option<SecretFile>,
    /// Certificate authorities to trust, for calls to Core, in place of the system's; empty: the
    /// system's.
    pub(crate) ca: Vec<CertificateDer<'static>>,
}

/// `[gateway]`.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    /// The addresses to listen on: at least one, none twice.
    pub(crate) listen: Vec<SocketAddr>,
    /// Certificate and key; `None` only where every address is loop-back.
    pub(crate) tls: Option<Tls>,
    /// The longest request body, in bytes.
    pub(crate) body_max: usize,
    /// Worker threads of the gateway.
    pub(crate) threads: NonZeroUsize,
    /// How many connections may be open at a time.
    pub(crate) connections_max: usize,
    /// What becomes of the gateway where the kernel cannot shut it in.
    pub(crate) sandbox: Sandbox,
    /// Who starts it.
    pub(crate) start: GatewayStart,
}

/// Who starts the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum GatewayStart {
    /// The server, as its child.
    Server,
    /// The service manager, in a unit of its own: it comes to the server for its sockets.
    Service,
}

/// How the gateway is shut in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sandbox {
    /// Completely, or it does not start.
    Required,
    /// As far as the kernel can: for containers that have no Landlock.
    Available,
    /// For development: system calls that are not on the list go on and are logged by the kernel.
    Log,
    /// Not at all.
    Off,
}

/// `[intent]`.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// The longest that an intent may live, in seconds.
    pub(crate) lifetime_max_s: i64,
    /// How far ahead of ours a user's clock may be, in seconds.
    pub(crate) future_skew_s: i64,
    /// The intents of UCloud's own, older frontends.
    pub(crate) v1: V1,
    /// How long a request waits for its deposited intent.
    pub(crate) deposit_wait: Duration,
    /// What needs a passkey as well; each call is in the table of calls.
    pub(crate) step_up: StepUp,
    /// How long a key lives from its approval, in seconds.
    pub(crate) key_lifetime_s: i64,
}

/// Whether version 1 intents are accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum V1 {
    /// From keys that were enrolled as version 1.
    Accepted,
    /// Never.
    Refused,
}

/// `[sessions]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sessions {
    /// What it takes to redeem a one-time token.
    pub(crate) proof: ProofNeed,
}

/// `[instances]`.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    /// How instances come to be.
    pub(crate) launch: Launch,
    /// What they listen on.
    pub(crate) listen: InstanceListen,
    /// The lowest uid that may have one.
    pub(crate) uid_min: Uid,
    /// An instance without a request for this long exits.
    pub(crate) idle_stop: Duration,
}

/// How instances come to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Launch {
    /// The server starts them through sudo, as their users.
    Sudo,
    /// They are there already, at these addresses: for development and foreign instances. Never
    /// empty.
    Static(Vec<StaticInstance>),
}

/// An instance that the configuration names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StaticInstance {
    /// Whom it serves.
    pub(crate) username: Username,
    /// Where it listens: loop-back.
    pub(crate) address: SocketAddr,
}

/// What the server's service endpoint and the instances that it starts listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InstanceListen {
    /// Unix sockets below `state.directory`.
    Unix,
    /// Loop-back ports: the server's own on the first, instances on the following ones.
    Tcp {
        /// The first.
        first_port: u16,
    },
}

impl Instances {
    /// The loop-back ports at which there may be an instance, or the server's own endpoint.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let started = match self.listen {
            InstanceListen::Unix => None,
            InstanceListen::Tcp { first_port } => Some(first_port..=first_port.saturating_add(INSTANCE_PORTS_MAX)),
        };
        let fixed: &[StaticInstance] = match &self.launch {
            Launch::Sudo => &[],
            Launch::Static(instances) => instances,
        };
        started.into_iter().flatten().chain(fixed.iter().map(|instance| instance.address.port())).collect()
    }
}

/// `[mapping]`.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// Where a connection may begin.
    pub(crate) start: MappingStart,
    /// Who says which uid a user has.
    pub(crate) by: Mapper,
}

/// Where a connection may begin (protocol, section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MappingStart {
    /// At Core or here.
    Either,
    /// Only here, with `connect start`.
    Provider,
}

/// Who says which uid a user has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mapper {
    /// Whoever approves the ticket: the kernel says which uid that is.
    Ticket,
    /// A program of the site's: it gets the UCloud user as JSON and prints `{"uid": 1100}`.
    Command {
        /// Absolute; only root or the server's own account can have written it.
        program: PathBuf,
        /// What follows it.
        arguments: Vec<String>,
    },
}

/// `[ssh]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ssh {
    /// Whose keys are installed.
    pub(crate) keys: SshKeysOf,
    /// Whether drives give access to `~/.ssh`.
    pub(crate) directory: SshDirectory,
}

/// Whether drives give access to users' `~/.ssh`, and so let UCloud's page install SSH keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SshDirectory {
    /// No drive does, whatever was signed.
    Protected,
    /// They do.
    InDrives,
}

/// Whose SSH keys their instances write into `~/.ssh/authorized_keys` when UCloud says that they
/// have changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SshKeysOf {
    /// Nobody's: the call is not offered.
    NoOne,
    /// Everybody's who signs for it.
    Everybody,
}

/// `[terminals]`: whether users have them in the browser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Terminals {
    /// They sign for each, and get one.
    Offered,
    /// Nobody does: they log in otherwise.
    NotOffered,
}

/// `[connection]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// How long a connection lasts from its approval, in seconds; `None`: until somebody ends it.
    pub(crate) expires_after_s: Option<i64>,
}

/// Which process reads, and so which of the files that the configuration names are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// The server: every file, the refresh token and the TLS key included.
    Server,
    /// The gateway: the TLS key, not the refresh token.
    Gateway,
    /// An instance: no secret, and where the server starts instances it must not even be able to
    /// open one; what it reads must be beyond the server account's reach (P3).
    Instance,
    /// A person's command: as an instance, but the person may be the server's account, or root.
    Command,
}

/// Who reads the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// In which part.
    pub(crate) role: Role,
    /// As which account: files must be its own or root's.
    pub(crate) uid: Uid,
}

impl Reader {
    /// This process, in that part.
    pub(crate) fn own(role: Role) -> Self {
        Self { role, uid: Uid(nix::unistd::geteuid().as_raw()) }
    }
}

impl Config {
    /// Reads it for the server: everything is looked at, and the secret files must be as they
    /// should.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Server))
    }

    /// Reads it for the gateway: the refresh token is not looked at.
    pub(crate) fn load_for_gateway(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Gateway))
    }

    /// Reads it for an instance: no secret is read, one that could be is an error, and so is a
    /// configuration or `core.public_key` that anyone but root or this user could have written
    /// (P3).
    pub(crate) fn load_for_instance(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Instance))
    }

    /// Reads it for a person's command: by the same rules, whoever the person is.
    pub(crate) fn load_for_command(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Reader::own(Role::Command))
    }

    /// What an intent has to meet: the same at the gateway and in every instance.
    pub(crate) fn terms(&self) -> Terms {
        let Intent { lifetime_max_s, future_skew_s, v1, .. } = self.intent;
        let version_1 = match v1 {
            V1::Accepted => Version1::Accepted,
            V1::Refused => Version1::Refused,
        };
        Terms { audience: self.provider.origin.clone(), window: Window { lifetime_max_s, future_skew_s }, version_1 }
    }

    /// The site's rules: the same at the gateway and at the server, whose passkeys serve them.
    pub(crate) fn policy(&self) -> Policy {
        Policy { terms: self.terms(), step_up: self.intent.step_up.clone() }
    }

    /// Reads it in any part.
    pub(crate) fn load_as(path: &Path, reader: Reader) -> Result<Self, ConfigError> {
        let path = std::path::absolute(path)
            .map_err(|source| trusted_file::FileReason::Open { path: path.to_owned(), source })?;
        let text = trusted_file::read_text(&path, trusted_file::CONFIG_MAX, reader.uid)?;
        Self::check(&text, &path, reader)
    }
}
