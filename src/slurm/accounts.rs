//! The accounts at Slurm under which a user may submit jobs.

use std::time::Duration;

use crate::columns::Listing;
use crate::commands::Commands;
use crate::failure::SlurmFailure;
use crate::program::Program;

/// Longest time for an answer: sacctmgr asks slurmdbd, and loads every association.
const WITHIN: Duration = Duration::from_secs(30);

/// Longest name, in bytes.
const NAME_MAX: usize = 64;

impl Commands {
    /// The accounts of a user, each once. The column is the site's own; nothing in it is a user's.
    ///
    /// # Errors
    /// Accounting gave no answer, or the user's name is not plain.
    pub async fn accounts(&self, user: &str) -> Result<Listing<String>, SlurmFailure> {
        if !is_name(user) {
            return Err(SlurmFailure::Unreadable { program: Program::Sacctmgr, what: "the user's name is not plain" });
        }
        let of_user = format!("users={user}");
        let arguments = ["--noheader", "--parsable2", "--readonly", "show", "associations", &of_user, "format=Account"];
        Ok(accounts(&self.run(Program::Sacctmgr, &arguments, b"", WITHIN).await?.stdout))
    }
}

/// A user has an association for each cluster and partition.
pub(crate) fn accounts(text: &[u8]) -> Listing<String> {
    let mut listing = Listing::read(text, |[account]: [&str; 1]| is_name(account).then(|| account.to_owned()));
    listing.rows.sort_unstable();
    listing.rows.dedup();
    listing
}

/// 1 to 64 letters, digits, `.`, `-`, `_` or `@`, beginning with a letter, a digit or `_`. Neither
/// an option nor a list.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@'))
        && !text.starts_with(['.', '-', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_names_and_each_is_there_once() {
        let listing = accounts(b"proja\nprojb\nproja\n");
        assert_eq!((listing.rows, listing.unreadable), (vec!["proja".to_owned(), "projb".to_owned()], 0));
        for bad in ["--immediate", "a b", "a|b", "a,b", " proja"] {
            let listing = accounts(format!("proja\n{bad}\n").as_bytes());
            assert_eq!((listing.rows.len(), listing.unreadable), (1, 1), "{bad}");
        }
        assert!(accounts(b"").rows.is_empty());
    }

    #[tokio::test]
    async fn a_name_that_is_not_plain_is_not_asked_for() {
        let nowhere = Commands::new("/nonexistent".into(), None);
        for name in ["", "a,b", "a b", "-i", "a\nb"] {
            let failure = nowhere.accounts(name).await.unwrap_err();
            assert!(matches!(failure, SlurmFailure::Unreadable { .. }), "{name:?}");
        }
    }
}
