//! `countersign state`: puts a state directory that was restored, moved or damaged back into
//! service.
//!
//! Removes every right that may have been removed before: revoked keys, removed passkeys,
//! unfinished connections, used intents. Runs as the account that owns the directory, and only
//! while no server runs there (P8, P10).

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use countersign_keys::identity::{CallName, Uid};
use countersign_keys::store::sealed_store::{self, Accepted, KeysAccepted, UnsealedStore};
use countersign_keys::store::sled_store::SledStore;
use nix::unistd::{geteuid, getuid};
use time::OffsetDateTime;

use crate::arguments::{KeysWord, StateAccept};
use crate::commands::account::{Account, TargetAccount};
use crate::commands::error::CommandError;
use crate::commands::terminal::{Consent, show};
use countersign_audit::{Decision, DecisionLog, Process, Verdict};
use countersign_config::Config;
use countersign_os::clock::Clock;
use countersign_replay::Journal;
use countersign_server::StateDirectory;

/// The operation's name in the audit log.
const CALL: &str = "state.accept";

/// `state accept`
pub(super) fn accept(arguments: &StateAccept, path: &Path) -> Result<(), CommandError> {
    let consent = Consent::from_flag(arguments.yes);
    consent.require_someone()?;
    let asker = format!("uid-{}", getuid());
    let config = Config::load_for_command(path)?;
    let directory = &config.state.directory;
    let metadata =
        std::fs::metadata(directory).map_err(|source| CommandError::File { path: directory.clone(), source })?;
    if geteuid().is_root() && metadata.uid() != 0 {
        Account::acting(TargetAccount::Uid(Uid(metadata.uid())))?;
    }
    let _held = StateDirectory::claim(&config.state)?;
    let (keys, note) = match arguments.keys {
        KeysWord::Keep => (KeysAccepted::Keep, "keys keep"),
        KeysWord::Revoke => (KeysAccepted::Revoke, "keys revoke"),
    };
    show(&format!("The key store in {} is accepted as it is.", directory.display()))?;
    show(match keys {
        KeysAccepted::Keep => {
            "Keys stay active, except those in the list of revocations. Do this only with the newest state:\n\
             a key that was revoked after this copy was made would be active again."
        }
        KeysAccepted::Revoke => "All keys are revoked and all passkeys removed. Every user approves a key again.",
    })?;
    consent.ask("Accept it?")?;
    let now = Clock::System.now()?;
    // Recorded before it is done (P9).
    let log = DecisionLog::open(config.state.server_log(), config.audit.segment_max).map_err(CommandError::Record)?;
    let call = CallName::parse(CALL).ok();
    log.append(&Decision {
        time: OffsetDateTime::from_unix_timestamp(now.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        request_id: &asker,
        process: Process::Server,
        username: None,
        call: call.as_ref(),
        kid: None,
        decision: Verdict::Forward,
        status: None,
        reason: Some(note),
        sealed: None,
        counted: None,
    })
    .map_err(CommandError::Record)?;
    // This copy may lack the uses of the last minute.
    let window = config.terms().window;
    Journal::raise_fence(&config.state.replay(), window, now)?;
    let store = SledStore::open(&config.state.store()).map_err(UnsealedStore::Store)?;
    let Accepted { active, revoked, passkeys, tickets } = sealed_store::accept(&store, directory, keys)?;
    show(&format!(
        "Accepted: {active} keys active, {revoked} revoked; {passkeys} passkeys and {tickets} connections that had \
         been begun removed.\nStart the server: systemctl start countersign"
    ))
}
