//! The command line: one type for each mode, with the text of `--help`.

mod output;
mod projects;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::output::Output;
pub(crate) use self::projects::{Projects, ProjectsDecide, ProjectsPending, ProjectsShow};
use countersign_config::DEFAULT_FILE;
use countersign_os::VERSION;

/// The end of every help text.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed, or you said no
  2  the command line is wrong
  3  a rule forbids it
  4  the server cannot be reached
  5  the configuration is wrong
  6  an audit log is not what was signed
  7  the key store is not what it was";

/// A UCloud integration module that verifies by itself that the user made the request.
#[derive(Debug, Parser)]
#[command(name = "countersign", version = VERSION, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub(crate) config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Run the server, which starts everything else.
    #[command(after_help = "Example:\n  countersign server --config /etc/countersign/config.toml")]
    Server,
    /// Run the gateway. The server starts it.
    #[command(
        after_help = "The server hands over its end of a socket pair as standard input, and the listening sockets."
    )]
    Gateway(Gateway),
    /// Run a user's instance. The server starts it, as that user.
    #[command(
        after_help = "Example, for development:\n  countersign user --config ./config.toml --listen 127.0.0.1:42001"
    )]
    User(User),
    /// Reach web interfaces of a job on one of its nodes. An instance starts it, as a step.
    #[command(after_help = "Speaks HTTP/2 on standard input and output, and opens no port.")]
    Relay(Relay),
    /// Connect UCloud users with local accounts.
    #[command(subcommand)]
    Connect(Connect),
    /// List and change the keys that sign for you.
    #[command(subcommand)]
    Keys(Keys),
    /// Verify and read the audit logs.
    #[command(subcommand)]
    Audit(Audit),
    /// Put a restored, moved or damaged state directory back into service.
    #[command(subcommand)]
    State(State),
    /// Review the applications that users' jobs may run.
    #[command(subcommand)]
    Apps(Apps),
    /// Admit the members whom UCloud lists in projects.
    #[command(subcommand)]
    Projects(Projects),
    /// List what UCloud was told that users and projects have used, and what waits.
    #[command(after_help = "Example:\n  sudo countersign usage --json | jq '.usage[] | select(.held > 0)'")]
    Usage(Output),
    /// Check that server, gateway and logs work, and whether you are connected.
    #[command(after_help = "Examples:\n  countersign status\n  sudo countersign status --json")]
    Status(Output),
    /// Print the table of calls: what each call does, and which parameters a signature covers.
    #[command(after_help = "Example:\n  countersign calls --json | jq '.[].call'")]
    Calls(Output),
    /// Check the configuration, and print its effects.
    #[command(after_help = "Example, as root, for the account that the server runs as:\n  \
        countersign check-config --user ucloud")]
    CheckConfig(CheckConfig),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  countersign completions bash > /usr/share/bash-completion/completions/countersign"
    )]
    Completions(Completions),
    /// Write the manual pages, one for each command.
    #[command(after_help = "Example:\n  countersign man /usr/local/share/man/man1")]
    Man(Man),
}

/// `countersign completions`
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `countersign man`
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The directory to write to.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// `countersign gateway`
#[derive(Args, Debug)]
pub(crate) struct Gateway {
    /// An inherited listening socket; may be repeated.
    #[arg(long = "listen-fd", value_name = "N")]
    pub(crate) listeners: Vec<i32>,
    /// Get the sockets from the running server: for a separate unit, with gateway.start =
    /// "service".
    #[arg(long, conflicts_with = "listeners")]
    pub(crate) attach: bool,
}

/// `countersign user`
#[derive(Args, Debug)]
pub(crate) struct User {
    /// A home directory other than the account's own, for development.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Listen here if no socket is passed as standard input: for development, loop-back only.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `countersign relay`
#[derive(Args, Debug)]
pub(crate) struct Relay {
    /// A port of 127.0.0.1 that may be reached.
    #[arg(value_name = "PORT", required = true)]
    pub(crate) ports: Vec<u16>,
}

/// `countersign connect`
#[derive(Debug, Subcommand)]
pub(crate) enum Connect {
    /// Approve the key that a connection page offered.
    ///
    /// Pins the key in your account, creates your instance key if you have none, and lets the
    /// server activate both. Run it as yourself, at the computing centre. Staff who run it as root
    /// name the account with --uid.
    #[command(after_help = "Examples:\n  countersign connect approve abcdefgh-ijklmnop-qrstuvwx-yz234567\n  \
        sudo countersign connect approve abcdefgh-ijklmnop-qrstuvwx-yz234567 --uid 1100")]
    Approve(Approve),
    /// Begin a connection here, where the connection page cannot be forged.
    #[command(after_help = "Example:\n  countersign connect start 'Alice#1234'")]
    Start(Start),
    /// List connections: yours, or with --all those of all users.
    #[command(after_help = "Example:\n  countersign connect list --json")]
    List(ConnectList),
    /// End a connection: revoke and unpin its keys, and tell UCloud.
    #[command(after_help = "Examples:\n  countersign connect remove\n  sudo countersign connect remove 'Alice#1234'")]
    Remove(ConnectRemove),
}

/// `countersign connect approve`
#[derive(Args, Debug)]
pub(crate) struct Approve {
    /// The code that the connection page shows.
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
    /// As root: the account to connect, by name or number. Root is given up before anything else.
    #[arg(long, visible_alias = "user", value_name = "ACCOUNT", conflicts_with = "home")]
    pub(crate) uid: Option<String>,
    #[command(flatten)]
    pub(crate) manner: CommonFlags,
}

/// `countersign connect start`
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Your name at UCloud.
    #[arg(value_name = "USERNAME")]
    pub(crate) username: String,
    #[command(flatten)]
    pub(crate) manner: CommonFlags,
}

/// Confirmation, and the home directory.
#[derive(Args, Debug)]
pub(crate) struct CommonFlags {
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
    /// A home directory other than the account's own, for development.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
}

/// `countersign apps`
#[derive(Debug, Subcommand)]
pub(crate) enum Apps {
    /// List the applications that wait for a review.
    ///
    /// A user's job asked for each of them, and none was approved here. The text is the user's word
    /// until you approve it.
    #[command(after_help = "Example:\n  sudo countersign apps pending")]
    Pending(Output),
    /// Print everything that such an application runs, sets and asks for.
    #[command(after_help = "Example:\n  sudo countersign apps show gromacs 2024.1")]
    Show(AppsShow),
    /// Print in words how it differs from an approved version.
    #[command(after_help = "Example:\n  sudo countersign apps diff gromacs 2024.2 --with 2024.1")]
    Diff(AppsDiff),
    /// Approve it: jobs may run exactly this text under this name and version.
    ///
    /// Writes one file below applications.folder, which belongs to root. Users see the script that
    /// it makes of their values before they sign.
    #[command(after_help = "Example:\n  sudo countersign apps approve gromacs 2024.2 1f3a5c7e9b2d4f60")]
    Approve(AppsApprove),
    /// Reject it: it is not offered for a review again until the server restarts.
    #[command(after_help = "Example:\n  sudo countersign apps reject gromacs 2024.2 1f3a5c7e9b2d4f60")]
    Reject(AppsReject),
    /// List the applications that are approved.
    #[command(after_help = "Example:\n  countersign apps list --json | jq '.[].digest'")]
    List(Output),
}

/// An application that waits for a review.
#[derive(Args, Debug)]
pub(crate) struct AppsNamed {
    /// The application's name at UCloud.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The application's version at UCloud.
    #[arg(value_name = "VERSION")]
    pub(crate) version: String,
    /// SHA-256 of its text, or its first 16 digits: needed if several texts of one version wait.
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: Option<String>,
}

/// `countersign apps show`
#[derive(Args, Debug)]
pub(crate) struct AppsShow {
    /// The application.
    #[command(flatten)]
    pub(crate) named: AppsNamed,
    /// The output format.
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign apps diff`
#[derive(Args, Debug)]
pub(crate) struct AppsDiff {
    /// The application.
    #[command(flatten)]
    pub(crate) named: AppsNamed,
    /// The approved version to compare with; by default the same, or the last one.
    #[arg(long, value_name = "VERSION")]
    pub(crate) with: Option<String>,
    /// The output format.
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign apps approve`
#[derive(Args, Debug)]
pub(crate) struct AppsApprove {
    /// The application.
    #[command(flatten)]
    pub(crate) named: AppsNamed,
    /// Do not ask for confirmation.
    #[arg(long, requires = "digest")]
    pub(crate) yes: bool,
}

/// `countersign apps reject`
#[derive(Args, Debug)]
pub(crate) struct AppsReject {
    /// The application.
    #[command(flatten)]
    pub(crate) named: AppsNamed,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `countersign connect list`
#[derive(Args, Debug)]
pub(crate) struct ConnectList {
    /// List all users, for root and the server's own account.
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not cut values to the width of the terminal.
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign connect remove`
#[derive(Args, Debug)]
pub(crate) struct ConnectRemove {
    /// The UCloud user, if it is not you or there are several.
    #[arg(value_name = "USERNAME")]
    pub(crate) username: Option<String>,
    #[command(flatten)]
    pub(crate) manner: CommonFlags,
}

/// `countersign keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List every key, at the server and pinned in your account.
    #[command(after_help = "Examples:\n  countersign keys list\n  sudo countersign keys list --user alice --json")]
    List(KeysList),
    /// Add a public key from a file: a JWK, or a PUBLIC KEY in PEM.
    #[command(after_help = "Example:\n  countersign keys add laptop.jwk --name 'Firefox on the laptop'")]
    Add(KeysAdd),
    /// Revoke a key: the server refuses its next request, and it is unpinned.
    #[command(after_help = "Example:\n  countersign keys revoke AAECAwQFBgcICQoLDA0ODw")]
    Revoke(KeysRevoke),
}

/// The account whose keys are meant.
#[derive(Args, Debug)]
pub(crate) struct Whose {
    /// As root: the local account whose keys are meant, by name or number. Root is given up before
    /// anything else.
    #[arg(long, visible_alias = "uid", value_name = "ACCOUNT", conflicts_with = "home")]
    pub(crate) user: Option<String>,
    /// A home directory other than the account's own, for development.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
}

/// `countersign keys list`
#[derive(Args, Debug)]
pub(crate) struct KeysList {
    /// Show every column, and do not cut values to the width of the terminal.
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) whose: Whose,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign keys add`
#[derive(Args, Debug)]
pub(crate) struct KeysAdd {
    /// The file with the public key.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The key's name; by default the file's name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The algorithm, if the file allows several.
    #[arg(long, value_enum, value_name = "ALG")]
    pub(crate) algorithm: Option<AlgorithmWord>,
    /// A key of UCloud's own, older frontend: RSA, for intents of version 1, which cover no
    /// parameters.
    #[arg(long)]
    pub(crate) v1: bool,
    /// The UCloud user, if your account serves several.
    #[arg(long, value_name = "USERNAME")]
    pub(crate) username: Option<String>,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

/// An algorithm, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AlgorithmWord {
    /// P-256.
    #[value(name = "ES256")]
    Es256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
    /// RSA with PSS.
    #[value(name = "PS256")]
    Ps256,
    /// RSA with PKCS #1 v1.5.
    #[value(name = "RS256")]
    Rs256,
}

/// `countersign keys revoke`
#[derive(Args, Debug)]
pub(crate) struct KeysRevoke {
    /// The key's id, as printed by `keys list`.
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    pub(crate) kid: String,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

/// `countersign state`
#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// Accept the key store as it is, after it was rolled back or damaged, or after the directory
    /// was copied.
    ///
    /// The server does not start with a store that differs from its last state: a revoked key might
    /// be active again. This command seals the store as it is. Stop the server first. With either
    /// choice, pending connections have to be started again, and intents signed until now are
    /// refused.
    #[command(after_help = "Examples, as root or ucloud:
          countersign state accept --keys keep      a move to another machine, or a damaged store
          countersign state accept --keys revoke    a backup from an earlier day")]
    Accept(StateAccept),
}

/// `countersign state accept`
#[derive(Args, Debug)]
pub(crate) struct StateAccept {
    /// What happens to keys that are active in this store.
    ///
    /// "keep": they stay active, except those in the list of revocations (store.revoked), which has
    /// to be complete. Right for the newest state. "revoke": all keys are revoked and all passkeys
    /// removed, and every user approves a key again. Right for a backup, because a key may have
    /// been revoked after it was made.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) keys: KeysWord,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What happens to keys, as typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum KeysWord {
    /// They stay active.
    Keep,
    /// They are revoked.
    Revoke,
}

/// `countersign audit`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that no record was changed, removed, inserted, moved or cut off.
    ///
    /// Needs only the log's directory, or a copy of it. A log that was restored whole to an earlier
    /// state, or rewritten with its key, is found only against a checkpoint kept elsewhere:
    /// --against. Exit code 6 if anything is found.
    #[command(after_help = "Examples:\n  countersign audit verify\n  \
        countersign audit verify ./audit/gateway --key 'hpc.example.org/…' --against witness.txt --json")]
    Verify(AuditVerify),
    /// Print decisions: the latest, and with --follow new ones.
    #[command(after_help = "Examples:\n  countersign audit show --decision refuse --last 50\n  \
        countersign audit show --follow --user 'Alice#1234' --call files. --json")]
    Show(AuditShow),
    /// Prove that one record is in a log, with a text that `audit verify` checks without the log.
    #[command(after_help = "Examples:\n  countersign audit prove 7Kq2… > refusal.tlog-proof\n  \
        countersign audit prove 1234 /var/lib/countersign/audit/gateway")]
    Prove(AuditProve),
    /// Print the public keys of the logs. Keep them elsewhere, for --key.
    #[command(after_help = "Example:\n  countersign audit key > keys.txt")]
    Key(AuditKey),
}

/// `countersign audit verify`
#[derive(Args, Debug)]
pub(crate) struct AuditVerify {
    /// A log's directory, or one with several; by default those of the configuration. Or a file
    /// made by `audit prove`.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// The key that must have signed, as printed by `audit key`; may be repeated. By default the
    /// log names its key.
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// A file of checkpoints kept elsewhere, which all have to match; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign audit show`
#[derive(Args, Debug)]
pub(crate) struct AuditShow {
    /// A log's directory, or one with several; by default those of the configuration.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Continue with new decisions.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only for this UCloud user.
    #[arg(long, value_name = "USERNAME")]
    pub(crate) user: Option<String>,
    /// Only this call; with a dot at its end, those that begin with it.
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// Only this kind of decision.
    #[arg(long, value_enum, value_name = "DECISION")]
    pub(crate) decision: Option<DecisionWord>,
    /// Only this request.
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
    /// How many of the latest decisions.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) last: usize,
    /// Show every column, and do not cut values to the width of the terminal.
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A decision, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DecisionWord {
    /// Forwarded.
    Forward,
    /// The sender was wrong.
    Refuse,
    /// No instance was up.
    NoInstance,
    /// Countersign failed.
    Fail,
    /// An intent was deposited.
    Deposit,
    /// The result of a forwarded request.
    Answered,
}

impl DecisionWord {
    /// The spelling in records.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Refuse => "refuse",
            Self::NoInstance => "no_instance",
            Self::Fail => "fail",
            Self::Deposit => "deposit",
            Self::Answered => "answered",
        }
    }
}

/// `countersign audit prove`
#[derive(Args, Debug)]
pub(crate) struct AuditProve {
    /// The record: a request's id, or the number of a record in one log.
    #[arg(value_name = "RECORD")]
    pub(crate) record: String,
    /// A log's directory, or one with several; by default those of the configuration.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign audit key`
#[derive(Args, Debug)]
pub(crate) struct AuditKey {
    /// A log's directory, or one with several; by default those of the configuration.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `countersign check-config`
#[derive(Args, Debug)]
pub(crate) struct CheckConfig {
    /// As root: the account that the server will run as, by name or number; by default the owner of
    /// the state directory. Root is given up before the files are read.
    #[arg(long, visible_alias = "uid", value_name = "ACCOUNT")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
