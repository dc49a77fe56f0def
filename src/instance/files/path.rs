//! A UCloud path, `/<drive>/<name>/<name>…`, checked when it is made.
//!
//! JSON carries text, but a Linux name is any bytes except `/` and NUL. A name is spelt as itself
//! where it is valid UTF-8. Each other byte becomes one character from U+10FE80 to U+10FEFF, in a
//! private-use plane (the byte plus U+10FE00). If a name really contains such a character, its four
//! bytes are spelt in the same way. Every name has exactly one spelling, and every other spelling
//! is refused. So what a user signed can mean only one file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Longest name that a Linux file system holds (`NAME_MAX`), in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Longest path beneath a drive, in bytes: what one system call takes (`PATH_MAX`), without its
/// NUL.
pub(crate) const PATH_BYTES_MAX: usize = 4095;
/// Longest path as text, in bytes: a byte that is not UTF-8 is spelt in four, and the drive is
/// added.
pub(crate) const PATH_TEXT_MAX: usize = 4 * (PATH_BYTES_MAX + NAME_BYTES_MAX + 2);

/// Added to a byte that is not part of valid UTF-8 to spell it.
const ESCAPE_BASE: u32 = 0x0010_FE00;
/// First byte, in UTF-8, of every character that spells a byte.
const ESCAPE_LEAD: u8 = 0xF4;

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// The first character is not a slash, or nothing follows it.
    #[error("a path begins with a slash and the id of a drive")]
    NoDrive,
    /// Longer than [`PATH_TEXT_MAX`] as text, or [`PATH_BYTES_MAX`] beneath the drive.
    #[error("the path is too long")]
    TooLong,
    #[error("a name in the path is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// Two slashes in a row.
    #[error("a name in the path is empty")]
    EmptyName,
    #[error("`.` and `..` are not names")]
    Dots,
    #[error("a path cannot contain NUL")]
    Nul,
    /// A name from a directory with a slash in it, which no file system returns.
    #[error("a name cannot contain a slash")]
    Slash,
    /// Bytes spelt with escapes that do not need them.
    #[error("a name in the path is escaped where it need not be")]
    Misspelt,
}

/// The name of one file: not empty, no slash, no NUL, neither `.` nor `..`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// Parses a name as JSON spells it.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let name = Self::from_bytes(decode(text))?;
        if name.text() == text { Ok(name) } else { Err(PathError::Misspelt) }
    }

    /// Takes a name as the file system has it.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, PathError> {
        match bytes.as_slice() {
            [] => Err(PathError::EmptyName),
            b"." | b".." => Err(PathError::Dots),
            longer if longer.len() > NAME_BYTES_MAX => Err(PathError::NameTooLong),
            with_nul if with_nul.contains(&0) => Err(PathError::Nul),
            with_slash if with_slash.contains(&b'/') => Err(PathError::Slash),
            _ => Ok(Self(bytes)),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as JSON spells it.
    pub(crate) fn text(&self) -> String {
        encode(&self.0)
    }

    /// `name(1).ext` for `name.ext`: UCloud's name for a file whose name is taken. If the name
    /// becomes too long, its stem loses its end.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        let dot = self.0.iter().rposition(|byte| *byte == b'.');
        // A leading dot does not begin an extension, nor does one that leaves no room for a stem.
        let (stem, extension) = match dot {
            Some(at) if at > 0 && self.0.len() - at <= NAME_BYTES_MAX / 2 => self.0.split_at(at),
            _ => (self.0.as_slice(), [].as_slice()),
        };
        let mark = format!("({number})");
        let room = NAME_BYTES_MAX - mark.len() - extension.len();
        let mut bytes = shortened(stem, room).to_vec();
        bytes.extend_from_slice(mark.as_bytes());
        bytes.extend_from_slice(extension);
        Self(bytes)
    }
}

/// The first `room` bytes of a name, or up to three fewer so that no character is cut in two.
fn shortened(stem: &[u8], room: usize) -> &[u8] {
    if stem.len() <= room {
        return stem;
    }
    let is_boundary = |at: &usize| stem.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80);
    let cut = (room.saturating_sub(3)..=room).rev().find(is_boundary).unwrap_or(room);
    stem.get(..cut).unwrap_or(stem)
}

/// A path within a drive. It says nothing about the drive's folder or about what exists there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UcloudPath {
    drive: String,
    inside: Vec<Name>,
}

impl UcloudPath {
    /// Parses a path as UCloud sends it. One slash at the end is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_TEXT_MAX {
            return Err(PathError::TooLong);
        }
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        let text = text.strip_prefix('/').ok_or(PathError::NoDrive)?;
        let mut parts = text.strip_suffix('/').unwrap_or(text).split('/');
        let drive = match parts.next() {
            None | Some("" | "." | "..") => return Err(PathError::NoDrive),
            Some(drive) => drive.to_owned(),
        };
        let inside = parts.map(Name::parse).collect::<Result<Vec<_>, _>>()?;
        let path = Self { drive, inside };
        if path.relative().len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        Ok(path)
    }

    /// The id of the drive.
    pub(crate) fn drive(&self) -> &str {
        &self.drive
    }

    /// The names beneath the drive, outermost first; empty for the drive itself.
    pub(crate) fn inside(&self) -> &[Name] {
        &self.inside
    }

    /// The path beneath the drive as the kernel takes it; `.` for the drive itself.
    pub(crate) fn relative(&self) -> OsString {
        relative(&self.inside)
    }

    pub(crate) fn child(&self, name: Name) -> Self {
        let mut path = self.clone();
        path.inside.push(name);
        path
    }
}

impl fmt::Display for UcloudPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.drive)?;
        self.inside.iter().try_for_each(|name| write!(f, "/{}", name.text()))
    }
}

/// Joins names for the kernel.
pub(crate) fn relative(names: &[Name]) -> OsString {
    if names.is_empty() {
        return OsStr::from_bytes(b".").to_owned();
    }
    let names: Vec<&[u8]> = names.iter().map(Name::as_bytes).collect();
    OsString::from_vec(names.join(&b'/'))
}

/// The byte that an escape character stands for.
fn escaped_byte(character: char) -> Option<u8> {
    let offset = u32::from(character).checked_sub(ESCAPE_BASE)?;
    u8::try_from(offset).ok().filter(|byte| *byte >= 0x80)
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    // Only bytes from 0x80 upwards come here, so such a character always exists.
    text.extend(bytes.iter().filter_map(|byte| char::from_u32(ESCAPE_BASE + u32::from(*byte))));
}

fn encode(bytes: &[u8]) -> String {
    // The fast path: nearly every name is spelt as itself, and a page spells all names of its
    // folder.
    if let Ok(text) = std::str::from_utf8(bytes)
        && !bytes.contains(&ESCAPE_LEAD)
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if escaped_byte(character).is_some() {
                push_escaped(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_escaped(&mut text, chunk.invalid());
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match escaped_byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, want: Result<(&str, &[&[u8]]), PathError>) {
        let got = UcloudPath::parse(text);
        let want = want.map(|(drive, names)| UcloudPath {
            drive: drive.to_owned(),
            inside: names.iter().map(|name| Name(name.to_vec())).collect(),
        });
        assert_eq!(got, want, "{text:?}");
        if let Ok(path) = got {
            assert_eq!(path.to_string(), text.strip_suffix('/').unwrap_or(text), "one spelling");
        }
    }

    #[test]
    fn paths() {
        check("/home", Ok(("home", &[])));
        check("/home/", Ok(("home", &[])));
        check("/home/a", Ok(("home", &[b"a"])));
        check("/home/a/", Ok(("home", &[b"a"])));
        check("/1/a b/.c/…", Ok(("1", &[b"a b", b".c", "…".as_bytes()])));
        check("/1/...", Ok(("1", &[b"..."])));
        check("/1/a\\b\"\n\u{202e}😀", Ok(("1", &["a\\b\"\n\u{202e}😀".as_bytes()])));
        check("/1/\u{10fe80}", Ok(("1", &[b"\x80"])));
        check("/1/a\u{10feff}b", Ok(("1", &[b"a\xffb"])));
        check("/1/\u{10fe7f}", Ok(("1", &["\u{10fe7f}".as_bytes()])));
        check("/1/\u{10ff00}", Ok(("1", &["\u{10ff00}".as_bytes()])));

        check("", Err(PathError::NoDrive));
        check("/", Err(PathError::NoDrive));
        check("//", Err(PathError::NoDrive));
        check("home/a", Err(PathError::NoDrive));
        check("/../a", Err(PathError::NoDrive));
        check("/./a", Err(PathError::NoDrive));
        check("/home//a", Err(PathError::EmptyName));
        check("/home/a//", Err(PathError::EmptyName));
        check("/home/../etc", Err(PathError::Dots));
        check("/home/a/..", Err(PathError::Dots));
        check("/home/./a", Err(PathError::Dots));
        check("/home/a\0b", Err(PathError::Nul));
        check("/ho\0me/a", Err(PathError::Nul));
        // The escapes of `.`, `/` or an ordinary character do not exist; those of valid UTF-8 are
        // refused.
        check("/1/\u{10fec3}\u{10fea6}", Err(PathError::Misspelt));
        check("/1/\u{10fef4}\u{10fe8f}\u{10feba}", Ok(("1", &[b"\xf4\x8f\xba"])));
    }

    #[test]
    fn limits() {
        let path = |names: &[&str]| format!("/1/{}", names.join("/"));
        let (fits, over) = ("x".repeat(255), "x".repeat(256));
        assert!(UcloudPath::parse(&path(&[&fits])).is_ok());
        assert_eq!(UcloudPath::parse(&path(&[&over])), Err(PathError::NameTooLong));
        let escaped = "\u{10feff}".repeat(255);
        assert!(UcloudPath::parse(&path(&[&escaped])).is_ok());
        let mut names = vec![fits.as_str(); 15];
        names.push(&fits);
        assert!(UcloudPath::parse(&path(&names)).is_ok(), "16 × 255 + 15 slashes = 4095");
        names.push("x");
        assert_eq!(UcloudPath::parse(&path(&names)), Err(PathError::TooLong));
        assert_eq!(UcloudPath::parse(&"/x".repeat(PATH_TEXT_MAX)), Err(PathError::TooLong));
    }

    #[test]
    fn numbered_names() {
        let check = |name: &[u8], number: u32, want: &[u8]| {
            let got = Name::from_bytes(name.to_vec()).unwrap().numbered(number);
            assert_eq!(got.as_bytes(), want);
            assert_eq!(Name::from_bytes(got.as_bytes().to_vec()), Ok(got));
        };
        check(b"a.txt", 1, b"a(1).txt");
        check(b"a.tar.gz", 2, b"a.tar(2).gz");
        check(b"folder", 10, b"folder(10)");
        check(b".profile", 1, b".profile(1)");
        check(b"a.", 1, b"a(1).");
        check(b"a(1).txt", 1, b"a(1)(1).txt");
        check(b"\xff.\xfe", 3, b"\xff(3).\xfe");
        check(&[b'x'; 255], 1, &[[b'x'; 252].as_slice(), b"(1)"].concat());
        let dotted = [[b'x'; 251].as_slice(), b".txt"].concat();
        check(&dotted, 12, &[[b'x'; 247].as_slice(), b"(12).txt"].concat());
        let danish = "æ".repeat(127);
        check(danish.as_bytes(), 1, format!("{}(1)", "æ".repeat(126)).as_bytes());
        let all_extension = [b"a.".as_slice(), &[b'y'; 253]].concat();
        check(&all_extension, 1, &[b"a.".as_slice(), &[b'y'; 250], b"(1)"].concat());
    }

    #[test]
    fn every_byte_that_a_name_may_have() {
        for byte in (1..=255_u8).filter(|byte| *byte != b'/' && *byte != b'.') {
            for bytes in [vec![byte], vec![b'a', byte, b'z'], vec![byte; 255]] {
                let name = Name::from_bytes(bytes).unwrap();
                assert_eq!(Name::parse(&name.text()), Ok(name));
            }
        }
    }

    #[test]
    fn ordinary_names_look_like_themselves() {
        for name in
            ["a.txt", "Ærø (kopi)", "日本語", "%ff", "\\xff", "\u{e000}", "\u{fffd}", "a\u{200f}b", "👩‍🔬", "\u{10ffff}"]
        {
            assert_eq!(Name::from_bytes(name.as_bytes().to_vec()).unwrap().text(), name);
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            if let Ok(name) = Name::from_bytes(bytes) {
                prop_assert_eq!(Name::parse(&name.text()), Ok(name));
            }
        }

        /// Names made of escape characters, parts of them, and neighbouring characters.
        #[test]
        fn names_that_look_escaped_round_trip(pieces in proptest::collection::vec(
            prop_oneof![
                (0x10_fe70_u32..0x10_ff10).prop_map(|c| char::from_u32(c).unwrap().to_string().into_bytes()),
                (0x80_u8..=0xff).prop_map(|byte| vec![byte]),
                Just(b"\xf4\x8f".to_vec()), Just(b"\xba\x80".to_vec()), Just(b"a".to_vec()),
            ], 1..40)) {
            if let Ok(name) = Name::from_bytes(pieces.concat()) {
                prop_assert_eq!(Name::parse(&name.text()), Ok(name));
            }
        }

        #[test]
        fn whatever_parses_has_one_spelling(text in "(/[a./\u{10fe80}\u{10feff}\u{10fec3}\u{10fea6}æ\\x00]{0,6}){1,4}") {
            if let Ok(path) = UcloudPath::parse(&text) {
                prop_assert_eq!(path.to_string(), text.strip_suffix('/').unwrap_or(&text));
                let bytes = path.relative().into_vec();
                prop_assert!(!bytes.starts_with(b"/") && !bytes.contains(&0));
                prop_assert!(!bytes.split(|byte| *byte == b'/').any(|name| name == b".."));
            }
        }
    }
}
