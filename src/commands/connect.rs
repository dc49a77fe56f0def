//! `countersign connect`: turns an offered key into one that acts for the user, by the user's own
//! decision at the computing centre (P2).

use std::path::Path;

use countersign_keys::enrolment::{Code, Ticket};
use countersign_keys::identity::Username;
use countersign_keys::time::Timestamp;

use nix::unistd::getuid;

use crate::arguments::{Approve, CommonFlags, ConnectList, ConnectRemove, Start};
use crate::commands::account::{Account, TargetAccount};
use crate::commands::administrator;
use crate::commands::error::CommandError;
use crate::commands::instance_key;
use crate::commands::offer::{CheckedOffer, OfferMismatch};
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{Consent, Width, qr, show, show_json, show_table};
use crate::commands::text::{moment, remark, span};
use crate::commands::used_intents;
use countersign_config::{Config, Drive};
use countersign_home::accounts::own_groups;
use countersign_home::pin_file::Before;
use countersign_ipc::server_protocol::{
    self, Approved, Await, Awaited, Connection, Connections, Death, DriveTable, DrivesReport, Find, Offer, Remove,
    Removed, Started,
};
use countersign_os::clock::Clock;
use countersign_os::log::Chain;
use countersign_os::quoted::{quoted, word};

/// The question before anything is done. Only the words distinguish this browser's key from
/// another.
const QUESTION: &str = "Does the page in your browser show these six words? Let this key act as you?";

/// `connect approve CODE`
pub(super) fn approve(arguments: Approve, config: &Path) -> Result<(), CommandError> {
    let Approve { code, uid, manner: CommonFlags { yes, home } } = arguments;
    let meant = match uid.as_deref() {
        Some(named) => TargetAccount::Named(named),
        None => TargetAccount::Own("name the account with --uid, as in: countersign connect approve CODE --uid 1100"),
    };
    let account = Account::connecting(meant)?.at_home(home);
    let code = Code::parse(&code).map_err(CommandError::Code)?;
    let consent = Consent::from_flag(yes);
    consent.require_someone()?;
    let config = Config::load_for_command(config)?;
    let server = ServerLine::of(&config)?;
    let offer: Offer = server.ask(server_protocol::CONNECT_FIND, &Find { code: code.to_string() })?;
    let offer = CheckedOffer::check(offer, &code, &config)?;
    approve_offer(&offer, &account, consent, &config, &server)
}

/// `connect start USERNAME`
pub(super) fn start(arguments: Start, config: &Path) -> Result<(), CommandError> {
    let Start { username, manner: CommonFlags { yes, home } } = arguments;
    let account = Account::connecting(TargetAccount::Own("users begin their own connection, logged in as themselves"))?
        .at_home(home);
    let username = Username::parse(&username)?;
    let consent = Consent::from_flag(yes);
    consent.require_someone()?;
    let config = Config::load_for_command(config)?;
    let server = ServerLine::of(&config)?;
    let begun: Started =
        server.ask(server_protocol::CONNECT_START, &server_protocol::Start { username: username.clone() })?;
    let ticket = Ticket::parse(&begun.ticket).map_err(|_| OfferMismatch::Ticket)?;
    // A compromised server must not send the browser elsewhere.
    let page = format!("{}/ucloud/{}/connect#{}", config.provider.origin, config.provider.id, begun.ticket);
    if begun.url != page {
        return Err(OfferMismatch::Page.into());
    }
    if let Some(picture) = qr(&page) {
        show(&picture)?;
    }
    show(&format!(
        "Open this page in the browser that you use UCloud with, before {}:\n\n  {page}\n\n\
         Where you are not connected yet, the page sends you to UCloud to press Connect, which confirms that you are {}.\n",
        moment(begun.until),
        quoted(username.as_str()),
    ))?;
    let offer = wait_for_offer(&server, &begun)?;
    let offer = CheckedOffer::check_begun_here(offer, &ticket.hash(), &username, &config)?;
    approve_offer(&offer, &account, consent, &config, &server)
}

fn wait_for_offer(server: &ServerLine, begun: &Started) -> Result<Offer, CommandError> {
    loop {
        match server.ask(server_protocol::CONNECT_AWAIT, &Await { ticket: begun.ticket.clone() })? {
            Awaited::Offered { offer } => return Ok(offer),
            Awaited::Open if Clock::System.now()? > begun.until => {
                return Err(CommandError::TicketDead(Death::Expired));
            }
            Awaited::Open => {}
            Awaited::Approved => return Err(CommandError::ApprovedElsewhere),
            Awaited::Dead { why } => return Err(CommandError::TicketDead(why)),
        }
    }
}

/// Shows an offer, asks, pins the key and has it activated. Unpins the key if that fails.
fn approve_offer(
    offer: &CheckedOffer,
    account: &Account,
    consent: Consent,
    config: &Config,
    server: &ServerLine,
) -> Result<(), CommandError> {
    let now = Clock::System.now()?;
    show(&offer.in_words(account.name(), now))?;
    consent.ask(QUESTION)?;
    let pins = account.pins(&config.provider.id);
    let instance_key = instance_key::public_half(account, &config.provider.id)?;
    let record = offer.to_record(now, config.served().intent.key_lifetime_s);
    let (owner, kid) = (record.owner.clone(), record.kid);
    let is_pinned_already = pins.read()?.keys_at(&config.provider.id).any(|key| key.owner == owner && key.kid == kid);
    if pins.add(record)? == Before::NoKeys {
        used_intents::lay_out(account, &config.provider.id);
    }
    let question =
        server_protocol::Approve { code: offer.code().to_string(), account: account.name().to_owned(), instance_key };
    let activated = server.ask(server_protocol::CONNECT_APPROVE, &question).and_then(|approved: Approved| {
        if approved.username == owner && approved.kid == kid { Ok(approved) } else { Err(OfferMismatch::Code.into()) }
    });
    match activated {
        Ok(approved) => {
            report_drives(account, config, server);
            show(&format!(
                "\n{} is connected. The key {kid} may act until {}; see it with: countersign keys list",
                quoted(offer.username().as_str()),
                moment(approved.key_expires),
            ))
        }
        Err(error) => {
            if !is_pinned_already && let Err(failure) = pins.remove(&owner, kid) {
                remark(&format!("The key is still pinned in {}: {}", pins.path().display(), Chain(&failure)));
            }
            Err(error)
        }
    }
}

/// Reports the account's drives, so that UCloud can show them before the first request to an
/// instance. On failure, the first instance reports them.
fn report_drives(account: &Account, config: &Config, server: &ServerLine) {
    let drives = Drive::all_of(&config.served().drives, account.home(), &own_groups(&config.served().drives));
    let report = DrivesReport { ids: drives.there() };
    if !report.ids.is_empty()
        && let Err(error) = server.ask::<_, DriveTable>(server_protocol::DRIVES_REPORT, &report)
    {
        remark(&format!("UCloud does not know your drives yet: {}", Chain(&error)));
    }
}

/// `connect list`
pub(super) fn list(arguments: &ConnectList, config: &Path) -> Result<(), CommandError> {
    let all = arguments.all || getuid().is_root();
    let config = administrator::load_config(config)?;
    let connections = every_connection(&ServerLine::of(&config)?, all)?;
    if arguments.output.json {
        return show_json(&connections);
    }
    if connections.is_empty() {
        return show(if all { "No user is connected." } else { "You are not connected." });
    }
    let now = Clock::System.now()?;
    let rows: Vec<[String; 7]> = connections.iter().map(|connection| row(connection, now)).collect();
    let heads = ["USERNAME", "UID", "ACCOUNT", "SINCE", "ENDS", "KEYS", "UCLOUD"];
    show_table(heads, &rows, Width::from_flag(arguments.wide))
}

/// The caller's connections, or all for an administrator.
pub(super) fn every_connection(server: &ServerLine, all: bool) -> Result<Vec<Connection>, CommandError> {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let after = connections.last().map(|last| last.username.clone());
        let question = server_protocol::ConnectList { after, all };
        let page: Connections = server.ask(server_protocol::CONNECT_LIST, &question)?;
        let is_progress = !page.connections.is_empty();
        connections.extend(page.connections);
        if !page.more || !is_progress || !all {
            return Ok(connections);
        }
    }
}

fn row(connection: &Connection, now: Timestamp) -> [String; 7] {
    let Connection { username, uid, account, since, active_keys, core_told, ends, .. } = connection;
    let ends = match ends.map(|end| end.since(now)) {
        None => "never".to_owned(),
        Some(left @ 1..) => format!("in {}", span(left)),
        Some(_) => "over".to_owned(),
    };
    [
        word(username.as_str()),
        uid.to_string(),
        word(account),
        format!("{} ago", span(now.since(*since))),
        ends,
        active_keys.to_string(),
        if *core_told { "told" } else { "not told yet" }.to_owned(),
    ]
}

/// `connect remove`
pub(super) fn remove(arguments: ConnectRemove, config: &Path) -> Result<(), CommandError> {
    let ConnectRemove { username, manner: CommonFlags { yes, home } } = arguments;
    let username = username.map(|username| Username::parse(&username)).transpose()?;
    let consent = Consent::from_flag(yes);
    consent.require_someone()?;
    let is_root = getuid().is_root();
    if is_root && username.is_none() {
        return Err(CommandError::Incomplete("name the UCloud user, as in: countersign connect remove 'Alice#1234'"));
    }
    let config = administrator::load_config(config)?;
    let server = ServerLine::of(&config)?;
    let whose = username.as_ref().map_or_else(|| "your connection".to_owned(), |name| quoted(name.as_str()));
    consent.ask(&format!("End {whose}: revoke all its keys, and tell UCloud?"))?;
    let Removed { usernames } = server.ask(server_protocol::CONNECT_REMOVE, &Remove { username })?;
    for name in &usernames {
        show(&format!("{} is no longer connected.", quoted(name.as_str())))?;
    }
    if is_root {
        remark(
            "Keys that the account has pinned stay there and give no access; its user can remove them with: countersign keys revoke KID",
        );
        return Ok(());
    }
    let account = Account::acting(TargetAccount::Own(""))?.at_home(home);
    let pins = account.pins(&config.provider.id);
    let count = pins.remove_where(|key| usernames.contains(&key.owner))?;
    if count > 0 {
        show(&format!(
            "{count} pinned key{} removed from {}.",
            if count == 1 { "" } else { "s" },
            pins.path().display()
        ))?;
    }
    Ok(())
}
