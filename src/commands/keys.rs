//! `countersign keys`: lists, adds and revokes a user's keys, at the server and among the account's
//! own pins.
//!
//! A key is valid only while both sides have it: the gateway uses the server's keys, the instance
//! the pinned ones (P3). Each command therefore works on both. A revocation does as much as
//! possible even if one side is unavailable.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use countersign_keys::identity::{KeyId, ProviderId, Username};
use countersign_keys::keyring::{
    Algorithm, FINGERPRINT_WORDS, KeyRecord, KeyRejection, KeyState, Protocol, VerificationKey,
};
use countersign_keys::time::Timestamp;
use serde::Serialize;

use crate::arguments::{AlgorithmWord, KeysAdd, KeysList, KeysRevoke, Whose};
use crate::commands::account::{Account, TargetAccount};
use crate::commands::error::CommandError;
use crate::commands::offer::short_name;
use crate::commands::server_line::ServerLine;
use crate::commands::terminal::{Consent, Width, show, show_json, show_table};
use crate::commands::text::{moment, remark, span};
use crate::commands::used_intents;
use countersign_config::Config;
use countersign_home::pin_file::{Before, PinFile};
use countersign_ipc::server_protocol::{self, Empty, KeyAdd, KeyRevoke, ListedKey, Whoami};
use countersign_os::clock::{Clock, random_bytes};
use countersign_os::log::Chain;
use countersign_os::quoted::{quoted, word};

/// Longest key file read, in bytes. An RSA key of 4096 bits with comments is under 4 KiB.
const KEY_FILE_MAX: u64 = 64 * 1024;

const ADVICE: &str = "name the account with --user, as in: countersign keys list --user alice";

fn account_of(whose: Whose) -> Result<Account, CommandError> {
    let meant = whose.user.as_deref().map_or(TargetAccount::Own(ADVICE), TargetAccount::Named);
    Ok(Account::acting(meant)?.at_home(whose.home))
}

/// A key, combined from both sides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    username: Username,
    kid: KeyId,
    name: String,
    algorithm: Algorithm,
    protocol: Protocol,
    fingerprint: String,
    words: [String; FINGERPRINT_WORDS],
    created: Timestamp,
    expires: Timestamp,
    last_used: Option<Timestamp>,
    state: Standing,
    pinned: bool,
    /// The provider for which it counts: this one, or another that shares the home directory.
    provider: ProviderId,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// Valid, if it is pinned as well.
    Active,
    /// Revoked.
    Revoked,
    /// Expired.
    Expired,
    /// Pinned, but unknown to the server, so it is not valid.
    OnlyPinned,
    /// Pinned for another provider, whose server knows its state.
    OtherProvider,
    /// The server could not be asked.
    Unknown,
}

impl Standing {
    const fn in_words(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::OnlyPinned => "only pinned",
            Self::OtherProvider => "pinned for",
            Self::Unknown => "unknown",
        }
    }
}

/// `keys list`
pub(super) fn list(arguments: KeysList, config: &Path) -> Result<(), CommandError> {
    let account = account_of(arguments.whose)?;
    let config = Config::load_for_command(config)?;
    let now = Clock::System.now()?;
    let here = &config.provider.id;
    let pins = account.pins(here).read()?;
    let asked = ServerLine::of(&config).and_then(|server| listed(&server));
    let (listed, unasked) = match asked {
        Ok(listed) => (listed, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut rows: Vec<Row> = listed.into_iter().map(|key| row_of_listed(key, here, now)).collect();
    let only_pinned = if unasked.is_some() { Standing::Unknown } else { Standing::OnlyPinned };
    for pinned in pins.keys_at(here) {
        match rows.iter_mut().find(|row| row.kid == pinned.kid && row.username == pinned.owner) {
            Some(row) => row.pinned = true,
            None => rows.push(row_of_pinned(pinned, here, only_pinned)?),
        }
    }
    for (provider, pinned) in pins.keys_elsewhere(here) {
        rows.push(row_of_pinned(pinned, provider, Standing::OtherProvider)?);
    }
    rows.sort_by_key(|row| row.created);
    if arguments.output.json {
        show_json(&rows)?;
    } else {
        show_rows(&rows, now, arguments.wide, unasked.is_some())?;
    }
    unasked.map_or(Ok(()), Err)
}

/// Prints the most useful columns in the width of the terminal, or all with `--wide`. Says that
/// there are no keys only if the server could be asked.
fn show_rows(rows: &[Row], now: Timestamp, wide: bool, is_unasked: bool) -> Result<(), CommandError> {
    match (rows.is_empty(), is_unasked) {
        (true, true) => show("No keys are pinned in this account. The server could not be asked for its own."),
        (true, false) => show("There are no keys."),
        (false, _) if wide => {
            let cells: Vec<[String; 10]> = rows.iter().map(|row| cells(row, now)).collect();
            let heads =
                ["KEY ID", "USERNAME", "NAME", "SIGNS", "AGE", "EXPIRES", "LAST USED", "STATE", "PINNED", "IN WORDS"];
            show_table(heads, &cells, Width::Wide)
        }
        (false, _) => {
            let cells: Vec<[String; 5]> = rows.iter().map(|row| narrow_cells(row, now)).collect();
            show_table(["KEY ID", "NAME", "EXPIRES", "LAST USED", "STATE"], &cells, Width::Terminal)
        }
    }
}

fn narrow_cells(row: &Row, now: Timestamp) -> [String; 5] {
    let [kid, _, name, _, _, expires, last_used, state, _, _] = cells(row, now);
    let state = if row.state == Standing::Active && !row.pinned { "not pinned".to_owned() } else { state };
    [kid, name, expires, last_used, state]
}

/// The keys of every UCloud user who is connected to the caller's account.
pub(super) fn listed(server: &ServerLine) -> Result<Vec<ListedKey>, CommandError> {
    let Whoami { usernames, .. } = server.ask(server_protocol::WHOAMI, &Empty {})?;
    let mut keys = Vec::new();
    for username in usernames {
        let answer: server_protocol::Keys =
            server.ask(server_protocol::KEYS_LIST, &server_protocol::KeysList { username: Some(username) })?;
        keys.extend(answer.keys);
    }
    Ok(keys)
}

fn row_of_listed(key: ListedKey, here: &ProviderId, now: Timestamp) -> Row {
    let ListedKey { username, kid, algorithm, protocol, state, fingerprint, words, name, created, expires, last_used } =
        key;
    let state = match state {
        KeyState::Revoked => Standing::Revoked,
        KeyState::Active if expires <= now => Standing::Expired,
        KeyState::Active => Standing::Active,
    };
    Row {
        username,
        kid,
        name,
        algorithm,
        protocol,
        fingerprint,
        words,
        created,
        expires,
        last_used,
        state,
        pinned: false,
        provider: here.clone(),
    }
}

fn row_of_pinned(key: &KeyRecord, provider: &ProviderId, state: Standing) -> Result<Row, CommandError> {
    let verification_key = key.verification_key().map_err(CommandError::Key)?;
    Ok(Row {
        username: key.owner.clone(),
        kid: key.kid,
        name: key.name.clone(),
        algorithm: key.algorithm,
        protocol: key.protocol,
        fingerprint: verification_key.fingerprint(),
        words: verification_key.words().map(str::to_owned),
        created: key.created,
        expires: key.expires,
        last_used: None,
        state,
        pinned: true,
        provider: provider.clone(),
    })
}

fn cells(row: &Row, now: Timestamp) -> [String; 10] {
    let expires = match row.expires.since(now) {
        ..=0 => "over".to_owned(),
        seconds => format!("in {}", span(seconds)),
    };
    let state = match row.state {
        Standing::OtherProvider => format!("{} {}", row.state.in_words(), row.provider),
        Standing::Active | Standing::Revoked | Standing::Expired | Standing::OnlyPinned | Standing::Unknown => {
            row.state.in_words().to_owned()
        }
    };
    [
        row.kid.to_string(),
        word(row.username.as_str()),
        word(&row.name),
        format!("{} v{}", row.algorithm.as_str(), u8::from(row.protocol)),
        span(now.since(row.created)),
        expires,
        row.last_used.map_or_else(|| "never".to_owned(), |hour| last_use(now.since(hour))),
        state,
        if row.pinned { "yes" } else { "no" }.to_owned(),
        row.words.each_ref().map(|listed| word(listed)).join(" "),
    ]
}

/// How long ago a key was last used, to the hour, as the server knows it.
fn last_use(seconds: i64) -> String {
    if seconds < 3_600 { "in the last hour".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// `keys add FILE`
pub(super) fn add(arguments: KeysAdd, config: &Path) -> Result<(), CommandError> {
    let KeysAdd { file, name, algorithm, v1, username, yes, whose } = arguments;
    let file = std::path::absolute(&file).unwrap_or(file);
    let account = account_of(whose)?;
    let username = username.map(|username| Username::parse(&username)).transpose()?;
    let consent = Consent::from_flag(yes);
    consent.require_someone()?;
    let config = Config::load_for_command(config)?;
    let key = read_key(&file, algorithm.map(Algorithm::from), v1)?;
    let server = ServerLine::of(&config)?;
    let who: Whoami = server.ask(server_protocol::WHOAMI, &Empty {})?;
    let owner = the_one_meant(who.usernames, username)?;
    let now = Clock::System.now()?;
    let lifetime_s = i64::try_from(who.key_lifetime_s).unwrap_or(i64::MAX).min(config.served().intent.key_lifetime_s);
    let name =
        name.unwrap_or_else(|| file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()));
    let protocol = if v1 { Protocol::V1 } else { Protocol::V2 };
    let kid = KeyId::from_bytes(random_bytes()?);
    let lifetime = (now, now.plus(lifetime_s));
    let record = KeyRecord::new(owner.clone(), kid, &key, protocol, lifetime, short_name(&name));
    show(&format!(
        "UCloud user   {}\nlocal account {}\nkey           {}\n              {} ({} v{})\nexpires       {}",
        quoted(owner.as_str()),
        quoted(account.name()),
        key.words().join(" "),
        key.fingerprint(),
        key.algorithm().as_str(),
        u8::from(protocol),
        moment(record.expires),
    ))?;
    consent.ask("Let this key act as you?")?;
    let pins = account.pins(&config.provider.id);
    let question = KeyAdd::of(&record);
    if pins.add(record)? == Before::NoKeys {
        used_intents::lay_out(&account, &config.provider.id);
    }
    match server.ask(server_protocol::KEYS_ADD, &question) {
        Ok(Empty {}) => show(&format!("The key {kid} is active.")),
        Err(error) => {
            if let Err(failure) = pins.remove(&owner, kid) {
                remark(&format!("The key is still pinned in {}: {}", pins.path().display(), Chain(&failure)));
            }
            Err(error)
        }
    }
}

fn the_one_meant(usernames: Vec<Username>, named: Option<Username>) -> Result<Username, CommandError> {
    match (named, usernames.as_slice()) {
        (Some(named), usernames) if usernames.contains(&named) => Ok(named),
        (None, [only]) => Ok(only.clone()),
        (Some(_), _) | (None, []) => Err(CommandError::NotConnected),
        (None, _) => {
            Err(CommandError::Incomplete("this account is connected to several UCloud users: name one with --username"))
        }
    }
}

impl From<AlgorithmWord> for Algorithm {
    fn from(word: AlgorithmWord) -> Self {
        match word {
            AlgorithmWord::Es256 => Self::Es256,
            AlgorithmWord::EdDsa => Self::EdDsa,
            AlgorithmWord::Ps256 => Self::Ps256,
            AlgorithmWord::Rs256 => Self::Rs256,
        }
    }
}

/// Reads a public key. Without an algorithm it tries each in order: only RSA leaves a choice, and
/// PSS is preferred.
fn read_key(file: &Path, algorithm: Option<Algorithm>, v1: bool) -> Result<VerificationKey, CommandError> {
    let text = read_text(file)?;
    let tried = match (algorithm, v1) {
        (None | Some(Algorithm::Rs256), true) => vec![Algorithm::Rs256],
        (Some(_), true) => return Err(CommandError::Incomplete("keys of version 1 sign with RS256")),
        (Some(algorithm), false) => vec![algorithm],
        (None, false) => vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256],
    };
    let mut rejection = KeyRejection::Form;
    for algorithm in tried {
        let read = if text.trim_start().starts_with('{') {
            VerificationKey::from_jwk(text.trim().as_bytes(), algorithm)
        } else {
            VerificationKey::from_pem(&text, algorithm)
        };
        match read {
            Ok(key) => return Ok(key),
            // A wrong type of key tells less than the error for the right type.
            Err(KeyRejection::Form) => {}
            Err(other) => rejection = other,
        }
    }
    Err(CommandError::KeyFile { path: file.to_owned(), source: rejection })
}

fn read_text(path: &Path) -> Result<String, CommandError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_MAX).read_to_string(&mut text))
        .map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    Ok(text)
}

/// `keys revoke KID`
pub(super) fn revoke(arguments: KeysRevoke, config: &Path) -> Result<(), CommandError> {
    let account = account_of(arguments.whose)?;
    let kid = KeyId::parse(arguments.kid.trim())?;
    let config = Config::load_for_command(config)?;
    let pins = account.pins(&config.provider.id);
    // The server first: it makes the gateway refuse the key within a second.
    let revoked = ServerLine::of(&config).and_then(|server| revoke_at_server(&server, &pins, kid));
    let unpinned = pins.remove_where(|key| key.kid == kid);
    let (is_revoked, error) = match revoked {
        Ok(is_revoked) => (is_revoked, None),
        Err(error) => (false, Some(error)),
    };
    let is_unpinned = unpinned.as_ref().is_ok_and(|count| *count > 0);
    if is_revoked {
        show(&format!("The key {kid} is revoked at the server."))?;
    }
    if is_unpinned {
        show(&format!("The key {kid} is not pinned in {} any more.", pins.path().display()))?;
    }
    if let Some(error) = error {
        if is_unpinned {
            remark(
                "Your instance refuses the key already. Repeat this when the server answers, so that the gateway refuses it too.",
            );
        }
        return Err(error);
    }
    unpinned?;
    if is_revoked || is_unpinned { Ok(()) } else { Err(not_found(&pins, kid)) }
}

/// The error for an unknown key. If it is pinned for another provider, only that provider can
/// revoke it.
fn not_found(pins: &PinFile, kid: KeyId) -> CommandError {
    let read = pins.read();
    let elsewhere = read.iter().flat_map(|read| read.keys_elsewhere(pins.provider())).find(|(_, key)| key.kid == kid);
    match elsewhere {
        Some((provider, _)) => CommandError::OtherProvidersKey { kid, provider: provider.clone() },
        None => CommandError::NoSuchKey(kid),
    }
}

/// Asks the server to revoke the key. `false` if the account has no such key there.
fn revoke_at_server(server: &ServerLine, pins: &PinFile, kid: KeyId) -> Result<bool, CommandError> {
    let read = pins.read();
    let pinned = read.iter().flat_map(|read| read.keys_at(pins.provider())).find(|key| key.kid == kid);
    let username = match pinned.map(|key| key.owner.clone()) {
        Some(username) => Some(username),
        None => listed(server)?.into_iter().find(|key| key.kid == kid).map(|key| key.username),
    };
    let Some(username) = username else {
        return Ok(false);
    };
    match server.ask(server_protocol::KEYS_REVOKE, &KeyRevoke { username: Some(username), kid }) {
        Ok(Empty {}) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
