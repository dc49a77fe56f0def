//! The umask of a user's files and terminals: the one that the user has after logging in, as
//! pam_umask(8) finds it.
//!
//! In this order: the `umask=` that the account's GECOS field names; `UMASK` in `/etc/login.defs`,
//! with the group's bits as the owner's where `USERGROUPS_ENAB` is on and the account has a group
//! of its own name; 022. Where it cannot be told, 077. Countersign's own files do not depend on it:
//! their modes are set when they are made.

use std::io;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, User};

/// The defaults of a login on this machine (login.defs(5)).
const LOGIN_DEFS: &str = "/etc/login.defs";

/// What pam_umask and shadow's tools take where nothing is said.
const USUAL: u32 = 0o022;

/// Nothing for anybody else: where nobody can tell.
const CLOSED: u32 = 0o077;

/// Takes on the umask of the user's logins.
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

/// The umask that a login has; `None` if what is said is no umask.
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
        // What is no umask opens nothing.
        check("umask=,", debian, true, None);
        check("umask=8", debian, true, None);
        check("", "UMASK banana\n", true, None);
        check("", "UMASK 07777\n", true, None);
        check("", "UMASK 1000\n", true, None);
    }
}
