//! Signed notes (c2sp.org/signed-note) with Ed25519: signing, and verification with a known key.
//!
//! Only the known key's signature counts. Signatures of unknown keys are ignored; a wrong one of
//! the known key invalidates the note.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::secret::Secret;

/// Start of a signature line: an em dash.
const SIGNATURE_LINE: &str = "\u{2014} ";

/// The signature type of Ed25519 in keys and key ids.
const ED25519_TYPE: u8 = 1;

/// Start of a private key's text, as `golang.org/x/mod/sumdb/note` writes it.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Most signatures on one note: the format requires at least 16.
const SIGNATURES_MAX: usize = 32;

/// Why a note is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoteRejection {
    #[error("not a signed note")]
    Malformed,
    /// The key has not signed it.
    #[error("not signed by the log's key")]
    Unsigned,
    /// The key's name and id are on it, but the signature is wrong.
    #[error("the signature is wrong")]
    Signature,
}

/// A text that is not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an Ed25519 key in the form of signed notes, NAME+ID+KEY")]
pub struct NoKey;

/// The public half of a log's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

impl VerifierKey {
    /// Parses a key.
    ///
    /// # Errors
    /// If it is not an Ed25519 key, or its id does not match.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        // Split from the left, because base64 has plus signs too.
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(NoKey) };
        let key = STANDARD.decode(key).map_err(|_| NoKey)?;
        let (Some((&ED25519_TYPE, key)), true) = (key.split_first(), is_name(name)) else { return Err(NoKey) };
        let found = Self { name: name.to_owned(), key: key.try_into().map_err(|_| NoKey)? };
        if found.id_text() == id { Ok(found) } else { Err(NoKey) }
    }

    /// The key's name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', ED25519_TYPE]);
        context.update(&self.key);
        context.finish().as_ref().first_chunk().copied().unwrap_or_default()
    }

    fn id_text(&self) -> String {
        self.id().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Verifies a note and returns its text.
    ///
    /// # Errors
    /// If it is not a note, or not signed by this key.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, NoteRejection> {
        let has_control = note.bytes().any(|byte| byte < b' ' && byte != b'\n');
        let split = note.rfind("\n\n").ok_or(NoteRejection::Malformed)?;
        let (text, signatures) = note.split_at(split.saturating_add(1));
        let signatures = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines: Vec<&str> = signatures.ok_or(NoteRejection::Malformed)?.split('\n').collect();
        if has_control || lines.len() > SIGNATURES_MAX {
            return Err(NoteRejection::Malformed);
        }
        let mut is_signed = false;
        for line in lines {
            let signature = line.strip_prefix(SIGNATURE_LINE).and_then(|line| line.split_once(' '));
            let (name, signature) = signature.ok_or(NoteRejection::Malformed)?;
            let bytes = STANDARD.decode(signature).map_err(|_| NoteRejection::Malformed)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteRejection::Malformed)?;
            if name == self.name && *id == self.id() {
                let key = UnparsedPublicKey::new(&ED25519, &self.key);
                key.verify(text.as_bytes(), signature).map_err(|_unspecified| NoteRejection::Signature)?;
                is_signed = true;
            }
        }
        if is_signed { Ok(text) } else { Err(NoteRejection::Unsigned) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = std::iter::once(ED25519_TYPE).chain(self.key).collect();
        write!(f, "{}+{}+{}", self.name, self.id_text(), STANDARD.encode(key))
    }
}

/// A log's key.
pub struct SigningKey {
    public: VerifierKey,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl SigningKey {
    /// The key of that name with these 32 random bytes.
    ///
    /// # Errors
    /// If the name is empty, or has a space or a plus sign.
    pub fn from_seed(name: &str, seed: &Secret<[u8; 32]>) -> Result<Self, NoKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_rejected| NoKey)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoKey)?;
        if !is_name(name) {
            return Err(NoKey);
        }
        Ok(Self { public: VerifierKey { name: name.to_owned(), key }, pair })
    }

    /// Parses the text of [`Self::text`].
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(text: &Secret<String>) -> Result<Self, NoKey> {
        let rest = text.expose().trim_end().strip_prefix(PRIVATE).ok_or(NoKey)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(NoKey) };
        let key = Secret::new(STANDARD.decode(key).map_err(|_| NoKey)?);
        let Some((&ED25519_TYPE, seed)) = key.expose().split_first() else { return Err(NoKey) };
        let found = Self::from_seed(name, &Secret::new(seed.try_into().map_err(|_| NoKey)?))?;
        if found.public.id_text() == id { Ok(found) } else { Err(NoKey) }
    }

    /// The content of the key's file, in the format of `golang.org/x/mod/sumdb/note`.
    pub fn text(&self, seed: &Secret<[u8; 32]>) -> Secret<String> {
        let key = Secret::new([&[ED25519_TYPE], seed.expose().as_slice()].concat());
        let name = &self.public.name;
        Secret::new(format!("{PRIVATE}{name}+{}+{}\n", self.public.id_text(), STANDARD.encode(key.expose())))
    }

    pub const fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// A note with this key's signature. The text has to end with a newline.
    pub fn sign(&self, text: &str) -> String {
        let signature = [&self.public.id(), self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n{SIGNATURE_LINE}{} {}\n", self.public.name, STANDARD.encode(signature))
    }
}

/// Splits a file with several notes.
pub fn split(text: &str) -> Vec<&str> {
    let (mut notes, mut start, mut end, mut is_signed) = (Vec::new(), 0, 0_usize, false);
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with(SIGNATURE_LINE);
        if is_signed && !is_signature {
            notes.extend(text.get(start..end));
            start = end;
        }
        is_signed = is_signature;
        end = end.saturating_add(line.len());
    }
    notes.extend(text.get(start..end).filter(|rest| !rest.is_empty()));
    notes
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of c2sp.org/signed-note.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn seed(byte: u8) -> Secret<[u8; 32]> {
        Secret::new([byte; 32])
    }

    #[test]
    fn the_formats_own_example_is_verified() {
        let key = VerifierKey::parse(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(key.open(NOTE), Ok("This is an example message.\n"));
    }

    #[test]
    fn a_note_with_anything_else_in_it_is_refused() {
        let key = VerifierKey::parse(KEY).unwrap();
        let check = |note: &str, want: NoteRejection| assert_eq!(key.open(note), Err(want), "{note}");
        check(&NOTE.replace("example message", "example massage"), NoteRejection::Signature);
        check(&NOTE.replace("IneyaQM=", "IneyaQN="), NoteRejection::Malformed);
        check(&NOTE.replace("IneyaQM=", "IneyaQI="), NoteRejection::Signature);
        check(&NOTE.replace("Uw2QOkn8", "Uw2QOkn9"), NoteRejection::Signature);
        check(&NOTE.replace("Uw2QOkn8", "Uw2QO0n8"), NoteRejection::Unsigned);
        check(&NOTE.replace("Uw2QOkn8", "Ux2QOkn8"), NoteRejection::Unsigned);
        check(&NOTE.replace("com/foo", "com/bar"), NoteRejection::Unsigned);
        check(&NOTE.replace("\n\n", "\n"), NoteRejection::Malformed);
        check(NOTE.trim_end(), NoteRejection::Malformed);
        check(&format!("{NOTE}\n"), NoteRejection::Malformed);
        check(&NOTE.replace("This", "Th\tis"), NoteRejection::Malformed);
        check("", NoteRejection::Malformed);
        check("\n\n\n", NoteRejection::Malformed);
    }

    #[test]
    fn a_signature_by_somebody_else_changes_nothing() {
        let key = VerifierKey::parse(KEY).unwrap();
        let other = SigningKey::from_seed("witness.example", &seed(7)).unwrap();
        let both = format!("{NOTE}{}", other.sign("This is an example message.\n").split_once("\n\n").unwrap().1);
        assert_eq!(key.open(&both), Ok("This is an example message.\n"));
        assert_eq!(other.public().open(&both), Ok("This is an example message.\n"));
    }

    #[test]
    fn keys_survive_their_text() {
        let key = SigningKey::from_seed("hpc.example.org/audit", &seed(3)).unwrap();
        let again = SigningKey::parse(&key.text(&seed(3))).unwrap();
        assert_eq!(again.public(), key.public());
        let public = VerifierKey::parse(&key.public().to_string()).unwrap();
        assert_eq!(public.open(&again.sign("a\n\nb\n")), Ok("a\n\nb\n"));
        let parse = VerifierKey::parse;
        for wrong in ["", "a+b", "a+00000000+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", &KEY.replace("+Ae", "+Be")]
        {
            assert_eq!(parse(wrong), Err(NoKey), "{wrong}");
        }
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb"] {
            assert!(SigningKey::from_seed(name, &seed(3)).is_err(), "{name:?}");
        }
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_file_of_notes_is_taken_apart() {
        let key = SigningKey::from_seed("a", &seed(3)).unwrap();
        let (one, two) = (key.sign("1\n\n2\n"), key.sign("3\n"));
        let text = format!("{one}{two}");
        assert_eq!(split(&text), [&*one, &*two]);
        assert_eq!(split(&one), [&*one]);
        assert!(split("").is_empty());
    }
}
