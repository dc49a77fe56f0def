//! Rules that raise single items to [`Class::Danger`](super::Class::Danger): predicates over bound
//! parameters (protocol, section 9).
//!
//! The gateway, the instance and the signer (`web/js/ask.js`) evaluate the same rules of the same
//! table; `tests/vectors/asked.json` holds the cases that both languages are tested with. Whatever
//! a predicate cannot read is raised: a parameter that is no text, an unknown conflict policy.

use serde::{Deserialize, Serialize};

use crate::json::Json;

/// One rule of a row: the item is dangerous if the condition holds for this bound parameter.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskRule {
    /// The bound parameter.
    pub parameter: String,
    /// What is looked for in it.
    pub when: Condition,
}

/// What a rule looks for. A closed set: a signer that does not know a condition signs nothing of
/// that table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// A path with a component that begins with a dot: [`is_hidden`].
    Hidden,
    /// A path with a component that names a place from which programs start: [`is_startup`].
    Startup,
    /// A conflict policy that does away with what has the name already.
    Replaces,
}

/// Conflict policies that keep what has the name already.
const KEEPS: [&str; 3] = ["RENAME", "REJECT", "MERGE_RENAME"];

/// Folders whose files are run by their name, at a login, or on a request from the network:
/// - `bin`, `sbin`: login profiles of most distributions put `~/bin` on the path;
/// - `autostart`: desktop sessions start what is in it;
/// - `public_html`, `cgi-bin`: web servers run scripts there as the user;
/// - `ondemand`: Open OnDemand runs the applications in it as the user;
/// - `launchagents`: macOS starts what is in it, where homes are shared with such machines.
const STARTUP_FOLDERS: [&str; 7] = ["bin", "sbin", "autostart", "public_html", "cgi-bin", "ondemand", "launchagents"];

/// Files that a program runs by their name, wherever they lie on its path: MATLAB's.
const STARTUP_FILES: [&str; 2] = ["startup.m", "matlabrc.m"];

/// The end of a launcher's name: a desktop starts the program that it names.
const LAUNCHER: &str = ".desktop";

impl Condition {
    /// Whether the condition holds for a bound parameter's value.
    #[must_use]
    pub fn holds(self, value: &Json<'_>) -> bool {
        match (self, value) {
            (Self::Hidden, Json::String(path)) => is_hidden(path),
            (Self::Startup, Json::String(path)) => is_startup(path),
            (Self::Replaces, Json::String(policy)) => !KEEPS.contains(&policy.as_ref()),
            (Self::Replaces, Json::Null) => false,
            // What is no path cannot be looked at.
            (Self::Hidden | Self::Startup | Self::Replaces, _) => true,
        }
    }
}

/// Whether something written at this path needs a person's word: it is hidden, or programs start
/// from there. A path of UCloud's, or one of the file system's below a home directory.
#[must_use]
pub fn needs_asking(path: &str) -> bool {
    is_hidden(path) || is_startup(path)
}

/// Whether a component of the path begins with a dot. `.` and `..` do, a path with NUL counts as
/// one that does, and so does one with a percent-encoded dot or slash, which another reader may
/// decode.
#[must_use]
pub fn is_hidden(path: &str) -> bool {
    path.contains('\0') || has_encoded_separator(path) || components(path).any(|component| component.starts_with('.'))
}

/// Whether a component of the path names a place from which programs start, whatever its case.
#[must_use]
pub fn is_startup(path: &str) -> bool {
    components(path).any(|component| {
        // File systems of other systems drop dots and spaces at the end of a name.
        let name = component.trim_end_matches(['.', ' ']);
        STARTUP_FOLDERS.contains(&name) || STARTUP_FILES.contains(&name) || name.ends_with(LAUNCHER)
    })
}

/// The components as a file system that ignores case, and characters without a shape, compares
/// them.
fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').map(|component| {
        let shown: String = component.chars().filter(|character| !is_ignorable(*character)).collect();
        shown.to_uppercase().to_lowercase()
    })
}

/// `%2e` or `%2f`, encoded once or more often.
fn has_encoded_separator(path: &str) -> bool {
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        let mut code = after;
        while let Some(further) = code.strip_prefix("25") {
            code = further;
        }
        if ["2e", "2E", "2f", "2F"].iter().any(|separator| code.starts_with(separator)) {
            return true;
        }
        rest = after;
    }
    false
}

/// Unicode's property `Default_Ignorable_Code_Point`: file systems that ignore case (ext4's
/// `casefold`, HFS+) ignore these characters as well, so that `.s<U+200D>sh` is `.ssh` there.
const fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}
