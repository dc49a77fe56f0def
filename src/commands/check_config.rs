//! `countersign check-config`: describes the effect of a configuration, so that an operator can
//! compare it with the intention.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countersign_keys::call::{CallTable, Tally};
use countersign_keys::identity::Uid;
use nix::unistd::geteuid;
use serde::Serialize;

use countersign_keys::policy::StepUp;
use countersign_keys::session::{ProofNeed, SealNeed};

use crate::arguments::CheckConfig;
use crate::commands::account::{Account, AccountFailure, TargetAccount};
use crate::commands::error::CommandError;
use crate::commands::terminal::{show, show_json};
use crate::commands::text::{moment, span};
use countersign_config::{
    Accept, Applications, Asks, Audit, Config, DriveRoot, Frequency, GatewayStart, Groups, InstanceListen, KEEP_PARTS,
    Keep, Launch, LinkHosts, Maintenance, Mapper, MappingStart, Metrics, MetricsListen, MetricsReach, Names, Operator,
    Product, ProductKind, Projects, Sandbox, Served, Slurm, SshKeysOf, Terminals, UsageReports, V1, WebHosts,
    show_size,
};
use countersign_os::clock::Clock;
use countersign_os::log::Chain;
use countersign_os::program::{self, ProgramFault};
use countersign_replay::Journal;

/// Provider ids that UCloud's Core always shows as connected.
const ALWAYS_CONNECTED: [&str; 5] = ["ucloud", "aau", "k8s", "k8", "K8"];

/// Bytes of a GiB.
const GIB: u64 = 1024 * 1024 * 1024;

/// Slurm's programs that jobs need.
const SLURM_PROGRAMS: [&str; 7] = ["sbatch", "squeue", "sacct", "scancel", "srun", "scontrol", "sinfo"];

/// One line of the description.
#[derive(Debug, Serialize)]
struct Line {
    subject: &'static str,
    says: String,
}

pub(super) fn print(arguments: &CheckConfig, path: &Path) -> Result<(), CommandError> {
    let (config, checked_as) = checked(arguments.user.as_deref(), path)?;
    let lines = account_of(&config);
    let mut remarks = remarks(&config);
    if config.instances.launch == Launch::Sudo
        && let Err(fault) = own_program()
    {
        remarks.insert(0, format!("the server does not start with this program file: {}", Chain(&fault)));
    }
    if checked_as == CheckedAs::SomebodyElse {
        remarks.push(
            "the files with secrets were not checked, because only the server's account may read them: as root, \
             countersign check-config --user NAME checks them too"
                .to_owned(),
        );
    }
    if arguments.output.json {
        return show_json(&serde_json::json!({ "file": config.file, "does": lines, "remarks": remarks }));
    }
    show(&format!("{} is good.\n", config.file.display()))?;
    for Line { subject, says } in lines {
        show(&format!("{subject:<13}{says}"))?;
    }
    if !remarks.is_empty() {
        show("\nCheck these:")?;
    }
    remarks.iter().try_for_each(|remark| show(&format!("  - {remark}")))
}

/// Whether users could tamper with this program file, which instances run.
fn own_program() -> Result<(), ProgramFault> {
    let unknown = |source| ProgramFault::Unknown { path: PathBuf::from("/proc/self/exe"), source };
    program::check(&std::env::current_exe().map_err(unknown)?)
}

/// The account that the check ran as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CheckedAs {
    /// The server's account, which reads the secrets too.
    TheServer,
    /// Another account, which must not be able to read them.
    SomebodyElse,
}

/// Reads the configuration as the server will. Root becomes the server's account: the named one, or
/// the owner of the state directory. Any other user cannot read the secrets, which is correct.
fn checked(user: Option<&str>, path: &Path) -> Result<(Config, CheckedAs), CommandError> {
    if let Some(named) = user {
        Account::acting(TargetAccount::Named(named))?;
        return Ok((Config::load(path)?, CheckedAs::TheServer));
    }
    let own = Uid(geteuid().as_raw());
    let state = Config::load_for_command(path).ok().and_then(|config| std::fs::metadata(config.state.directory).ok());
    let owner = state.map_or(own, |state| Uid(state.uid()));
    if own == Uid(0) && owner != own {
        match Account::acting(TargetAccount::Uid(owner)) {
            Ok(_) => {}
            // The directory belongs to no account. The check then runs as root, and reports that.
            Err(AccountFailure::Unknown(_)) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    match Config::load(path) {
        Ok(config) => Ok((config, CheckedAs::TheServer)),
        Err(error) if own != Uid(0) && owner != own && error.is_of_secrets_alone() => {
            Ok((Config::load_for_command(path)?, CheckedAs::SomebodyElse))
        }
        Err(error) => Err(error.into()),
    }
}

fn account_of(config: &Config) -> Vec<Line> {
    let Config {
        provider,
        core,
        gateway,
        mapping,
        slurm,
        projects,
        accounting,
        applications,
        ipc,
        state,
        audit,
        metrics,
        alarms,
        ..
    } = config;
    let served = config.served();
    let Served {
        intent, sessions, idle_stop, drives, products, ssh, terminals, connection, maintenance, calls, ..
    } = &*served;
    let line = |subject, says| Line { subject, says };
    let listen: Vec<String> = gateway.listen.iter().map(ToString::to_string).collect();
    let tls = match &gateway.tls {
        Some(tls) => format!("with the certificate {}", tls.certificate.display()),
        None => "without TLS, for this machine only".to_owned(),
    };
    let mut lines = vec![
        line("provider", format!("{}, reached at {}; intents are for this origin alone", provider.id, provider.origin)),
        line("Core", format!("{}: the only foreign origin that browsers may use", core.origin)),
        line("Core's key", core.public_key.fingerprint()),
        line(
            "approvals",
            match &core.refresh_token {
                Some(file) => format!("are told to Core, with the token in {}", file.path().display()),
                None => "are not told to Core: there is no core.refresh_token".to_owned(),
            },
        ),
        line("listens", format!("on {}, {tls}", listen.join(" and "))),
        line(
            "limits",
            format!(
                "bodies of {}, {} connections, {} threads",
                show_size(gateway.body_max),
                gateway.connections_max,
                gateway.threads
            ),
        ),
        line("sandbox", sandbox_in_words(gateway.sandbox).to_owned()),
        line(
            "gateway",
            match gateway.start {
                GatewayStart::Server => "is started by the server".to_owned(),
                GatewayStart::Service => format!(
                    "is started by the service manager, and fetches its sockets at {}",
                    state.gateway_socket().display()
                ),
            },
        ),
        line(
            "intents",
            format!(
                "live at most {} s, may be {} s ahead of our clock; a request waits {} ms for a deposited one",
                intent.lifetime_max_s,
                intent.future_skew_s,
                intent.deposit_wait.as_millis()
            ),
        ),
        line(
            "version 1",
            match intent.v1 {
                V1::Refused => "is refused".to_owned(),
                V1::Accepted => "is accepted from keys added for it; it binds no parameters".to_owned(),
            },
        ),
        line(
            "passkeys",
            match &intent.step_up {
                none if none.is_empty() => "are needed by no call".to_owned(),
                StepUp { calls, raised } => {
                    let mut what: Vec<String> = calls.iter().map(ToString::to_string).collect();
                    what.extend(raised.then(|| "writing where programs start".to_owned()));
                    format!("are needed by {}", what.join(", "))
                }
            },
        ),
        line("keys", format!("live {}", span(intent.key_lifetime_s))),
        line(
            "sessions",
            match sessions.proof {
                ProofNeed::Required => "are opened with the token and an intent",
                ProofNeed::Off => "are opened with the token alone",
            }
            .to_owned(),
        ),
        line(
            "seals",
            match sessions.sealed {
                SealNeed::Required => "are required: the gateway cannot read or change a session",
                SealNeed::Preferred => "are offered to frontends that know them",
                SealNeed::Off => "are not offered: the gateway can read and change sessions",
            }
            .to_owned(),
        ),
        line(
            "connections",
            match mapping.start {
                MappingStart::Either => "begin at UCloud or here",
                MappingStart::Provider => "begin only here, with countersign connect start",
            }
            .to_owned(),
        ),
        line(
            "their time",
            connection.expires_after_s.map_or_else(
                || "does not end".to_owned(),
                |seconds| format!("ends {} after their approval, which may be repeated", span(seconds)),
            ),
        ),
        line(
            "users",
            match &mapping.by {
                Mapper::Ticket => "become the local account that approves their code".to_owned(),
                Mapper::Command { program, .. } => format!("become the account that {} says", program.display()),
            },
        ),
        line("instances", launch_in_words(config)),
        line("idle", format!("instances stop after {}", span(i64::try_from(idle_stop.as_secs()).unwrap_or(i64::MAX)))),
    ];
    lines.push(line("maintenance", maintenance_in_words(maintenance)));
    lines.extend(drives.iter().map(|drive| {
        let root = match &drive.root {
            DriveRoot::Home(below) if below.as_os_str().is_empty() => "the user's home".to_owned(),
            DriveRoot::Home(below) => format!("{} in the user's home", below.display()),
            DriveRoot::Fixed(path) => path.display().to_string(),
        };
        let each = match drive {
            of_groups if of_groups.is_of_groups() => ", for each group that a user is in",
            made if made.is_made() => ", for each that a user makes",
            _ => "",
        };
        line("drive", format!("{} is {root}{each}", drive.id))
    }));
    lines.extend(products.iter().map(|product| {
        let Product { name, category, kind, price, accounting, .. } = product;
        let each = match accounting.frequency {
            Frequency::Once => "",
            Frequency::Minute => " a minute",
            Frequency::Hour => " an hour",
            Frequency::Day => " a day",
        };
        let free = if accounting.is_free { ", free to use" } else { "" };
        let kind = kind.as_str();
        let cost = format!("{price} {}{each}{free}", accounting.unit);
        line("product", format!("{name} of {category} ({kind}, {cost}): registered at UCloud when the server starts"))
    }));
    lines.push(line("jobs", jobs_in_words(slurm.as_ref())));
    lines.push(line("projects", projects_in_words(projects.as_ref())));
    lines.push(line("usage", usage_in_words(accounting.as_ref())));
    lines.push(line("web interfaces", web_in_words(gateway.web.as_ref())));
    lines.push(line("public links", links_in_words(gateway.links.as_ref(), products)));
    let ssh_keys = match ssh.keys {
        SshKeysOf::NoOne => "that users give UCloud are not installed",
        SshKeysOf::Everybody => "that users give UCloud, and sign, are written into their ~/.ssh/authorized_keys",
    };
    lines.push(line("SSH keys", ssh_keys.to_owned()));
    let terminals = match terminals {
        Terminals::Offered => "in the browser: a shell as the account, for a user who signs for it",
        Terminals::NotOffered => "are not offered",
    };
    lines.push(line("terminals", terminals.to_owned()));
    lines.push(line("applications", applications_in_words(applications)));
    lines.push(line("calls", calls_in_words(calls)));
    lines.push(line("local socket", ipc.socket().display().to_string()));
    lines.push(line("state", format!("in {}", state.directory.display())));
    lines.push(line("audit log", audit_in_words(audit)));
    let alarms = match &alarms.command {
        None => "are logged, and run no program".to_owned(),
        Some((program, _)) => format!("are logged, and handed to {}", program.display()),
    };
    lines.push(line("alarms", alarms));
    lines.push(line("metrics", metrics_in_words(metrics.as_ref())));
    lines
}

fn metrics_in_words(metrics: Option<&Metrics>) -> String {
    let Some(Metrics { listen, reach }) = metrics else { return "are not served: there is no [metrics]".to_owned() };
    match (listen, reach) {
        (MetricsListen::Unix { path, mode }, _) => format!("at {}, with the mode {mode:04o}", path.display()),
        (MetricsListen::Tcp(address), MetricsReach::ThisMachine) => format!("at {address}, for this machine"),
        (MetricsListen::Tcp(address), MetricsReach::Anywhere) => {
            format!("at {address}, for every machine that reaches it")
        }
    }
}

fn jobs_in_words(slurm: Option<&Slurm>) -> String {
    let Some(Slurm { commands, drive, job_folder, poll, operator, time_max_h, asks, shows_outside, .. }) = slurm else {
        return "are not started: there is no [slurm]".to_owned();
    };
    let operator = match operator {
        Operator::Granted => "; extended and suspended by the server's account",
        Operator::NotGranted => "",
    };
    let asked = match asks {
        Asks { account: false, modules: false } => "",
        Asks { account: true, modules: false } => "; users choose the account at Slurm",
        Asks { account: false, modules: true } => "; users choose modules",
        Asks { account: true, modules: true } => "; users choose the account at Slurm and modules",
    };
    let shown = if *shows_outside { "; those begun without UCloud are shown there" } else { "" };
    format!(
        "are started on Slurm with the programs in {}, in {job_folder} of the drive {drive}, for {time_max_h} h at \
         most; looked up every {} s{operator}{asked}{shown}",
        commands.display(),
        poll.as_secs()
    )
}

fn projects_in_words(projects: Option<&Projects>) -> String {
    let Some(Projects { groups, removals }) = projects else {
        return "of UCloud's have no part here: there is no [projects]".to_owned();
    };
    let groups = match groups {
        None => "; no groups are made: there is no projects.command".to_owned(),
        Some(Groups { prefix, gids: (first, last), command: (program, _) }) => {
            format!("; {} makes groups of them, from {prefix}1 on, with gids from {first} to {last}", program.display())
        }
    };
    format!(
        "of UCloud's have the members whom an administrator admits; UCloud removes {} an hour of each, and {} of \
         all{groups}",
        removals.each_hour, removals.all_hour
    )
}

fn usage_in_words(reports: Option<&UsageReports>) -> String {
    let Some(UsageReports { every, job_max, storage_command }) = reports else {
        return "is not reported to UCloud: there is no [accounting]".to_owned();
    };
    let storage = storage_command
        .as_ref()
        .map(|(program, _)| format!("; that of drives is what {} says", program.display()))
        .unwrap_or_default();
    let most = job_max.map(|max| format!("; more than {max} units of one job are held back")).unwrap_or_default();
    format!(
        "of jobs is reported to UCloud every {} s, as Slurm's accounting has it: without slurmdbd nothing is known, \
         and nothing is reported{most}{storage}",
        every.as_secs()
    )
}

fn web_in_words(web: Option<&WebHosts>) -> String {
    let Some(web) = web else { return "of jobs are not offered: there is no gateway.web".to_owned() };
    format!("of jobs are at {}: the DNS and the certificate need all such names", web.form())
}

fn links_in_words(links: Option<&LinkHosts>, products: &[Product]) -> String {
    let Some(links) = links else { return "to jobs are not offered: there is no gateway.links".to_owned() };
    let is_offered = products.iter().any(|product| product.kind == ProductKind::Ingress);
    let product = if is_offered { "" } else { "; no product of type \"ingress\" offers them at UCloud" };
    format!("to jobs are at {}: the DNS and the certificate need all such names{product}", links.form())
}

/// The programs that are not where `[slurm]` says.
fn missing_programs(slurm: &Slurm) -> Option<String> {
    let is_missing = |program: &&str| !slurm.commands.join(program).is_file();
    let missing: Vec<&str> = SLURM_PROGRAMS.iter().copied().filter(is_missing).collect();
    let directory = slurm.commands.display();
    (!missing.is_empty()).then(|| format!("{directory} has no {}: no job can be started", missing.join(", ")))
}

const fn sandbox_in_words(sandbox: Sandbox) -> &'static str {
    match sandbox {
        Sandbox::Required => "of the gateway: it does not start without it",
        Sandbox::Available => "of the gateway: as far as this kernel supports it",
        Sandbox::Log => "of the gateway: system calls that are not on the list are logged, not refused",
        Sandbox::Off => "of the gateway: none",
    }
}

fn maintenance_in_words(maintenance: &Maintenance) -> String {
    match maintenance {
        Maintenance::None => "is off".to_owned(),
        Maintenance::ForAllBut(allowed) if allowed.is_empty() => "is on: no user is served".to_owned(),
        Maintenance::ForAllBut(allowed) => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            format!("is on: only {} are served", allowed.join(", "))
        }
    }
}

fn applications_in_words(applications: &Applications) -> String {
    let Applications { folder, accept } = applications;
    let of_each = accept.iter().map(|accept| match accept {
        Accept::Approved => format!("those approved in {}", folder.display()),
        Accept::Workflow => "workflows whose script the user signs".to_owned(),
    });
    format!("that jobs may run: {}", of_each.collect::<Vec<_>>().join(", and "))
}

fn audit_in_words(audit: &Audit) -> String {
    let Audit { keep_days, keep, names, witness, .. } = audit;
    let names = match names {
        Names::Plain => "names users",
        Names::Pseudonyms => "has pseudonyms for users",
    };
    let days = keep_days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
    let size = match keep {
        Keep::Share => format!(", each log at most 1/{KEEP_PARTS} of the file system"),
        Keep::Bytes(bytes) => format!(", at most {} GiB each", bytes / GIB),
        Keep::All => String::new(),
    };
    let file = witness.file.as_ref().map(|file| file.display().to_string());
    let places: Vec<String> = file
        .into_iter()
        .chain(witness.syslog.then(|| "the system's log".to_owned()))
        .chain(witness.url.clone())
        .collect();
    let witness = if places.is_empty() {
        "no copy of its checkpoints is kept elsewhere".to_owned()
    } else {
        format!("every {} s a checkpoint goes to {}", witness.every.as_secs(), places.join(" and "))
    };
    format!("{names}, is kept {days}{size}; {witness}")
}

fn launch_in_words(config: &Config) -> String {
    let listen = match config.instances.listen {
        InstanceListen::Unix => "on Unix sockets".to_owned(),
        InstanceListen::Tcp { first_port } => format!("on loop-back ports from {first_port} upward"),
    };
    match &config.instances.launch {
        Launch::Sudo => {
            format!("are started with sudo for accounts from uid {} upward, {listen}", config.served().uid_min)
        }
        Launch::Static(instances) => {
            let named: Vec<String> =
                instances.iter().map(|instance| format!("{} at {}", instance.username, instance.address)).collect();
            format!("are not started: {}", named.join(", "))
        }
    }
}

fn calls_in_words(calls: &CallTable) -> String {
    let Tally { read, write, danger, raised } = calls.tally();
    format!(
        "{} of users: {read} read, {write} write, {danger} can destroy or run something, and so can items of {raised} others",
        calls.rows().len(),
    )
}

/// A remark if the gateway refuses all intents because of the clock, with the time when that ends.
/// None if the caller cannot read the replay log.
fn clock_remark(config: &Config) -> Option<String> {
    let now = Clock::System.now().ok()?;
    let until = Journal::refuses_until(&config.state.replay(), config.terms().window, now).ok()??;
    Some(format!(
        "the clock reads a time whose used intents are not all remembered: no intent is accepted until {}, unless the \
         clock is set right",
        moment(until)
    ))
}

/// Settings that are allowed but possibly unintended.
fn remarks(config: &Config) -> Vec<String> {
    let mut remarks = Vec::new();
    let Config { provider, core, gateway, slurm, .. } = config;
    let served = config.served();
    let Served { intent, sessions, drives, products, connection, maintenance, .. } = &*served;
    if ALWAYS_CONNECTED.contains(&provider.id.as_str()) {
        remarks.push(format!(
            "UCloud treats a provider called {:?} as connected for every user, and never asks it",
            provider.id.as_str()
        ));
    }
    if !provider.origin.is_https() || !core.origin.is_https() {
        remarks.push("an origin is not https: use that only for development on this machine".to_owned());
    }
    if provider.origin.is_https() && gateway.tls.is_none() {
        remarks.push(
            "provider.origin is https and gateway.tls is absent: another program on this machine must serve TLS"
                .to_owned(),
        );
    }
    if gateway.listen.iter().all(|address| address.port() != provider.origin.port()) {
        remarks.push(format!(
            "nothing listens on port {}, which provider.origin names: forward that port to this gateway",
            provider.origin.port()
        ));
    }
    if let Some(address) = gateway.listen.iter().find(|address| address.port() < 1024) {
        remarks.push(format!("port {} needs CAP_NET_BIND_SERVICE", address.port()));
    }
    if core.refresh_token.is_none() {
        remarks
            .push("without core.refresh_token users seem unconnected at UCloud after they have connected".to_owned());
    }
    if gateway.sandbox != Sandbox::Required {
        remarks.push(
            "gateway.sandbox is not \"required\": an attacker who controls the gateway may control its account"
                .to_owned(),
        );
    }
    if intent.v1 == V1::Accepted {
        remarks.push("intent.accept_v1: such an intent binds the call, not its parameters".to_owned());
    }
    if sessions.proof == ProofNeed::Off {
        remarks.push("sessions.proof is off: Core sees the tokens of sessions, and could open them".to_owned());
    }
    if sessions.sealed == SealNeed::Off {
        remarks.push(
            "sessions.sealed is off: an attacker who controls the gateway can read and change sessions".to_owned(),
        );
    }
    if connection.expires_after_s.is_some_and(|seconds| seconds < 3600) {
        remarks.push("connection.expires_after is less than an hour: use that only for tests".to_owned());
    }
    if *maintenance != Maintenance::None {
        remarks.push("maintenance.enabled: only users in maintenance.allow are served".to_owned());
    }
    remarks.extend(clock_remark(config));
    if drives.is_empty() {
        remarks.push("there are no drives, so there are no files to serve".to_owned());
    }
    if products.is_empty() {
        remarks.push("there are no products, so UCloud offers nothing of this provider".to_owned());
    }
    if slurm.is_some() && !products.iter().any(|product| product.kind == ProductKind::Compute) {
        remarks.push("there is no product of type \"compute\", so no job can be started".to_owned());
    }
    let needs_jobs = |product: &&Product| matches!(product.kind, ProductKind::Ingress | ProductKind::License);
    if slurm.is_none()
        && let Some(idle) = products.iter().find(needs_jobs)
    {
        remarks.push(format!("there is no [slurm], so the product {} is offered to no job", idle.name));
    }
    if config.accounting.is_some() {
        if core.refresh_token.is_none() {
            remarks.push("without core.refresh_token no usage is reported".to_owned());
        }
        if slurm.is_none() {
            remarks.push("there is no [slurm], so no usage of jobs is reported".to_owned());
        }
    }
    remarks.extend(slurm.as_ref().and_then(missing_programs));
    remarks
}
