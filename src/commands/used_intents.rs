//! Creates the replay journal when an account pins its first key.
//!
//! Without a journal an instance refuses every intent that was issued before it started (P4), which
//! includes the user's first request. Before the first pin no intent can have been used, so an
//! empty journal is correct.

use std::error::Error;
use std::io::ErrorKind;

use countersign_keys::identity::ProviderId;

use crate::commands::account::Account;
use crate::commands::text::remark;
use countersign_home::own_directory::{OwnDirectory, STATE};
use countersign_os::log::Chain;
use countersign_replay::{Journal, JournalFailure};

/// Whether the account has used that provider before: its journal exists, or the common journal of
/// earlier releases.
pub(super) fn was_used(account: &Account, provider: &ProviderId) -> bool {
    let all = STATE.iter().fold(account.home().to_owned(), |path, name| path.join(name));
    Journal::is_in(&all.join(provider.as_str())) || Journal::is_in(&all)
}

/// Creates the journal. Without it the first request is refused once, so a failure is only a
/// remark.
pub(super) fn lay_out(account: &Account, provider: &ProviderId) {
    let [first, second, third] = STATE;
    let made = match OwnDirectory::make(account.home(), account.uid(), &[first, second, third, provider.as_str()]) {
        Ok(directory) => {
            let directory = directory.strict().path();
            // The common journal of earlier releases records the uses. The instance takes it over.
            let before = directory.parent().unwrap_or(directory);
            Journal::take_over(before, directory).and_then(|()| Journal::create(directory))
        }
        Err(failure) => return first_is_refused(&failure),
    };
    match made {
        // It exists, and has more records.
        Err(JournalFailure::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
        Err(failure) => first_is_refused(&failure),
        Ok(()) => {}
    }
}

fn first_is_refused(failure: &dyn Error) {
    remark(&format!("The first request may be refused, and succeed when repeated: {}", Chain(failure)));
}
