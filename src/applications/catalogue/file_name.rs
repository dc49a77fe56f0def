//! The file of an approved application: `NAME/VERSION.json`.
//!
//! Names are Core's: they may hold characters that no path should. Every byte but ASCII letters,
//! digits, `-`, `_` and a `.` that is not the first is written as `%` and two capital hexadecimal
//! digits, so that two names never share a file, and no name leaves the folder.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Longest name of a file on Linux, in bytes.
const FILE_NAME_MAX: usize = 255;

/// After the version.
const SUFFIX: &str = ".json";

/// Why a name has no file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameRejection {
    #[error("the application has no name or no version")]
    Empty,
    #[error("the name or version of the application is too long")]
    TooLong,
    #[error("the name or version of the application has control characters")]
    Control,
}

/// Relative to the folder of approved applications.
pub(super) fn of(name: &str, version: &str) -> Result<PathBuf, NameRejection> {
    Ok(PathBuf::from(component(name, "")?).join(component(version, SUFFIX)?))
}

/// The name that a folder or file stands for; `None` if no name is written so.
pub(super) fn read(written: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    let name = String::from_utf8(bytes).ok()?;
    // Only the one spelling counts.
    (component(&name, "").ok()? == written).then_some(name)
}

/// The version of a file's name.
pub(super) fn read_version(written: &str) -> Option<String> {
    read(written.strip_suffix(SUFFIX)?)
}

fn component(name: &str, suffix: &str) -> Result<String, NameRejection> {
    if name.is_empty() {
        return Err(NameRejection::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(NameRejection::Control);
    }
    let mut written = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0);
        if is_plain {
            written.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    if written.len().saturating_add(SUFFIX.len()) > FILE_NAME_MAX {
        return Err(NameRejection::TooLong);
    }
    written.push_str(suffix);
    Ok(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, version: &str, want: &str) {
        assert_eq!(of(name, version).unwrap(), PathBuf::from(want));
    }

    #[test]
    fn names_stay_below_the_folder() {
        check("gromacs", "2024.1-cuda", "gromacs/2024.1-cuda.json");
        check("..", "../../etc/shadow", "%2E./%2E.%2F..%2Fetc%2Fshadow.json");
        check(".", ".hidden", "%2E/%2Ehidden.json");
        check("a/b", "1 0", "a%2Fb/1%200.json");
        check("%2E", "é", "%252E/%C3%A9.json");
        assert_eq!(of("", "1"), Err(NameRejection::Empty));
        assert_eq!(of("a", ""), Err(NameRejection::Empty));
        assert_eq!(of("a\0b", "1"), Err(NameRejection::Control));
        assert_eq!(of("a", "1\n"), Err(NameRejection::Control));
        assert_eq!(of(&"/".repeat(84), "1"), Err(NameRejection::TooLong));
        assert!(of(&"a".repeat(250), &"b".repeat(250)).is_ok());
    }

    #[test]
    fn other_spellings_of_a_name_are_no_files_of_it() {
        for written in ["%61", "a%2e", "%2", "%zz", ".a", "a b", "%FF", "", "%+1", "a%"] {
            assert_eq!(read(written), None, "{written:?}");
        }
        assert_eq!(read_version("1.0.json").as_deref(), Some("1.0"));
        assert_eq!(read_version("1.0"), None);
        assert_eq!(read_version(".json"), None);
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_file(name in "[^\\p{Cc}]{1,40}") {
            let written = component(&name, "").unwrap();
            prop_assert!(!written.starts_with('.') && !written.contains(['/', '\0']));
            prop_assert_eq!(read(&written), Some(name));
        }
    }
}
