//! The journal of used intents, laid out when the first key of an account is pinned.
//!
//! Where it is missing, an instance has to refuse whatever was issued before it started (P4), and
//! the user's very first request with it. When nothing was pinned before, no intent can have been
//! used, and an empty journal says the truth.

use std::error::Error;
use std::io::ErrorKind;

use countersign_keys::identity::ProviderId;

use crate::commands::account::Account;
use crate::commands::text::remark;
use crate::journal::{Journal, JournalFailure};
use crate::log::Chain;
use crate::own_directory::{OwnDirectory, STATE};

/// Whether the account has used that provider before: then its journal is there, or the one that
/// earlier releases kept for all providers.
pub(super) fn was_used(account: &Account, provider: &ProviderId) -> bool {
    let all = STATE.iter().fold(account.home().to_owned(), |path, name| path.join(name));
    Journal::is_in(&all.join(provider.as_str())) || Journal::is_in(&all)
}

/// Lays it out. Without it the first request is refused once: that is worth a remark, not a
/// failure.
pub(super) fn lay_out(account: &Account, provider: &ProviderId) {
    let [first, second, third] = STATE;
    let made = match OwnDirectory::make(account.home(), account.uid(), &[first, second, third, provider.as_str()]) {
        Ok(directory) => {
            let directory = directory.strict().path();
            // What an earlier release kept for all providers says what was used: the instance takes
            // it over.
            let before = directory.parent().unwrap_or(directory);
            Journal::take_over(before, directory).and_then(|()| Journal::create(directory))
        }
        Err(failure) => return first_is_refused(&failure),
    };
    match made {
        // It is there already: it knows better.
        Err(JournalFailure::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
        Err(failure) => first_is_refused(&failure),
        Ok(()) => {}
    }
}

fn first_is_refused(failure: &dyn Error) {
    remark(&format!("The first request after this may be refused, and work when repeated: {}", Chain(failure)));
}
