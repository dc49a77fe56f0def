//! The umask of a user's files and terminals: the one that the user has after logging in, as
//! pam_umask(8) determines it.
//!
//! The sources, in this order:
//!
//! - the `umask=` field of the account's GECOS field;
//! - `UMASK` in `/etc/login.defs`. If `USERGROUPS_ENAB` is on and the account's group has the
//!   account's name, the group's bits become those of the owner;
//! - 022.
//!
//! If the umask cannot be determined, it is 077. Countersign's own files do not depend on it: their
//! modes are set when they are created.

use std::io;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, User};

/// The defaults of a login on this machine (login.defs(5)).
const LOGIN_DEFS: &str = "/etc/login.defs";

/// The default of pam_umask and shadow's tools.
const USUAL: u32 = 0o022;

/// No access for other accounts, if the umask cannot be determined.
const CLOSED: u32 = 0o077;

/// Sets this process's umask to that of the user's logins.
pub(super) fn take_on(user: &User) {
    let group = Group::from_gid(user.gid).map(|group| group.is_some_and(|group| group.name == user.name));
    let found = match (std::fs::read_to_string(LOGIN_DEFS), group) {
        (Ok(defaults), Ok(is_own_group)) => of_login(&user.gecos.to_string_lossy(), &defaults, is_own_group),
        (Err(error), Ok(is_own_group)) if error.kind() == io::ErrorKind::NotFound => {
            of_login(&user.gecos.to_string_lossy(), "", is_own_group)
        }
        (Err(error), _) => {
            tracing::warn!(%error, "cannot read {LOGIN_DEFS}: the umask is 077");
            Some(CLOSED)
        }
        (_, Err(error)) => {
            tracing::warn!(%error, "cannot look up the account's group: the umask is 077");
            Some(CLOSED)
        }
    };
    let found = found.unwrap_or_else(|| {
        tracing::warn!("the umask in the account's GECOS field or in {LOGIN_DEFS} is not octal: it is 077");
        CLOSED
    });
    umask(Mode::from_bits_truncate(found));
}

/// The umask of a login. `None` if the configured value is not a umask.
fn of_login(gecos: &str, defaults: &str, is_own_group: bool) -> Option<u32> {
    if let Some(own) = gecos.split(',').find_map(|field| field.strip_prefix("umask=")) {
        return octal(own);
    }
    let usual = value(defaults, "UMASK").map_or(Some(USUAL), octal)?;
    let is_shared = is_own_group && value(defaults, "USERGROUPS_ENAB").is_some_and(|on| on.eq_ignore_ascii_case("yes"));
    Some(if is_shared { usual & !0o070 | usual >> 3 & 0o070 } else { usual })
}

/// The first value of a key in login.defs.
fn value<'t>(defaults: &'t str, key: &str) -> Option<&'t str> {
    defaults.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then(|| words.next()).flatten()
    })
}

fn octal(text: &str) -> Option<u32> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|mask| is_number && *mask <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_the_umask_is_that_of_a_login() {
        let check = |gecos: &str, defaults: &str, is_own_group: bool, want: Option<u32>| {
            assert_eq!(of_login(gecos, defaults, is_own_group), want, "{gecos:?} {defaults:?} {is_own_group}");
        };
        let debian = "# comment\nUMASK\t\t022\nUSERGROUPS_ENAB yes\nUMASK 077\n";
        check("Alice,,,", debian, true, Some(0o002));
        check("Alice,,,", debian, false, Some(0o022));
        check("Alice,,,", "UMASK 077\nUSERGROUPS_ENAB yes\n", true, Some(0o007));
        check("Alice,,,", "UMASK 027\nUSERGROUPS_ENAB no\n", true, Some(0o027));
        check("Alice,,,", "#UMASK 077\n", true, Some(0o022));
        check("", "", false, Some(0o022));
        check("Alice,,,umask=0007", debian, true, Some(0o007));
        check("Alice,umask=077,,", debian, true, Some(0o077));
        // An invalid umask grants no access.
        check("umask=,", debian, true, None);
        check("umask=8", debian, true, None);
        check("", "UMASK banana\n", true, None);
        check("", "UMASK 07777\n", true, None);
        check("", "UMASK 1000\n", true, None);
    }
}
