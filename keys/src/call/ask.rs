//! Rules that raise single items to [`Class::Danger`](super::Class::Danger): predicates over bound
//! parameters (protocol, section 9).
//!
//! The gateway, the instance and the signer (`web/js/ask.js`) evaluate the same rules of the same
//! table. `tests/vectors/asked.json` has the cases with which both languages are tested. A value
//! that a predicate cannot read raises the item: a parameter that is not text, an unknown conflict
//! policy.

use serde::{Deserialize, Serialize};

use crate::json::Json;

/// One rule of a row: the item is dangerous if the condition holds for this bound parameter.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskRule {
    /// The bound parameter.
    pub parameter: String,
    /// The condition on its value.
    pub when: Condition,
}

/// A condition. The set is closed: a signer that meets an unknown condition signs nothing of that
/// table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// A path with a component that begins with a dot: [`is_hidden`].
    Hidden,
    /// A path with a component from which programs start: [`is_startup`].
    Startup,
    /// A conflict policy that replaces an existing file or folder.
    Replaces,
}

/// Conflict policies that keep an existing file or folder.
const KEEPS: [&str; 3] = ["RENAME", "REJECT", "MERGE_RENAME"];

/// Folders whose files run by name, at a login, or on a request from the network:
/// - `bin`, `sbin`: login profiles of most distributions put `~/bin` on the path;
/// - `autostart`: desktop sessions start the files in it;
/// - `public_html`, `cgi-bin`: web servers run scripts there as the user;
/// - `ondemand`: Open OnDemand runs the applications in it as the user;
/// - `launchagents`: macOS starts the files in it, where such machines share the home directory.
const STARTUP_FOLDERS: [&str; 7] = ["bin", "sbin", "autostart", "public_html", "cgi-bin", "ondemand", "launchagents"];

/// Files that a program runs by name, anywhere on its path: MATLAB's.
const STARTUP_FILES: [&str; 2] = ["startup.m", "matlabrc.m"];

/// Suffix of a launcher: a desktop starts the program that it names.
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
            // A value that is not a path cannot be checked.
            (Self::Hidden | Self::Startup | Self::Replaces, _) => true,
        }
    }
}

/// Whether writing at this path needs a person's consent: it is hidden, or programs start from
/// there. The path is UCloud's, or that of a file below a home directory.
#[must_use]
pub fn needs_asking(path: &str) -> bool {
    is_hidden(path) || is_startup(path)
}

/// Whether a component of the path begins with a dot, as `.` and `..` do. Also true for a path with
/// NUL, and for a percent-encoded dot or slash, which another reader may decode.
#[must_use]
pub fn is_hidden(path: &str) -> bool {
    path.contains('\0') || has_encoded_separator(path) || components(path).any(|component| component.starts_with('.'))
}

/// Whether programs start from a component of the path. Ignores case.
#[must_use]
pub fn is_startup(path: &str) -> bool {
    components(path).any(|component| {
        // Some file systems drop dots and spaces at the end of a name.
        let name = component.trim_end_matches(['.', ' ']);
        STARTUP_FOLDERS.contains(&name) || STARTUP_FILES.contains(&name) || name.ends_with(LAUNCHER)
    })
}

/// The components as a file system compares them that ignores case and invisible characters.
fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').map(|component| {
        let shown: String = component.chars().filter(|character| !is_ignorable(*character)).collect();
        shown.to_uppercase().to_lowercase()
    })
}

/// `%2e` or `%2f`, encoded once or repeatedly.
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

/// Unicode's property `Default_Ignorable_Code_Point`. File systems that ignore case (ext4's
/// `casefold`, HFS+) ignore these characters as well, so `.s<U+200D>sh` is `.ssh` there.
const fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}
