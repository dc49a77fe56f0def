//! Decodes UTF-8 that arrives in pieces and rejoins a character that a piece cuts in two.
//!
//! JSON carries no bytes, so invalid UTF-8 becomes U+FFFD, as terminals show it.

/// Stands for invalid bytes.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The beginning of an incomplete character: three bytes at most.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    cut: Vec<u8>,
}

impl Decoder {
    /// The incomplete character.
    #[cfg(fuzzing)]
    pub(super) fn rest(&self) -> &[u8] {
        &self.cut
    }

    /// The text at the end: a character that stays incomplete.
    pub(crate) fn finish(&mut self) -> String {
        if std::mem::take(&mut self.cut).is_empty() { String::new() } else { REPLACEMENT.to_string() }
    }

    /// The text of the next bytes, as far as their characters are complete.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut joined = std::mem::take(&mut self.cut);
        joined.extend_from_slice(bytes);
        let mut text = String::with_capacity(joined.len());
        let mut rest = joined.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    return text;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(length) = error.error_len() else {
                        self.cut = invalid.to_vec();
                        return text;
                    };
                    text.push(REPLACEMENT);
                    rest = invalid.get(length..).unwrap_or_default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces() {
        let check = |pieces: &[&[u8]], want: &[&str]| {
            let mut decoder = Decoder::default();
            let got: Vec<String> = pieces.iter().map(|piece| decoder.decode(piece)).collect();
            assert_eq!(got, want);
        };
        check(&[b"abc", b""], &["abc", ""]);
        check(&[b"\xc3", b"\xa6!"], &["", "æ!"]);
        check(&["😀".as_bytes().split_at(1).0, "😀".as_bytes().split_at(1).1], &["", "😀"]);
        check(&[b"\xf0", b"\x9f", b"\x98", b"\x80x"], &["", "", "", "😀x"]);
        check(&[b"\xff\xfea"], &["\u{fffd}\u{fffd}a"]);
        check(&[b"\xc3", b"a"], &["", "\u{fffd}a"]);
        check(&[b"a\xe2\x82", b"\xacb"], &["a", "€b"]);
        check(&[b"\xe2\x82", b"\xe2\x82\xac"], &["", "\u{fffd}€"]);
        check(&[b"\xed\xa0\x80"], &["\u{fffd}\u{fffd}\u{fffd}"]);
    }

    proptest! {
        /// However a text is cut, it decodes to the same text.
        #[test]
        fn cuts_do_not_show(text in ".{0,60}", cuts in proptest::collection::vec(1_usize..5, 1..80)) {
            let mut decoder = Decoder::default();
            let mut rest = text.as_bytes();
            let mut got = String::new();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                got.push_str(&decoder.decode(piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, text);
        }

        /// For any input, the decoder keeps less than one character.
        #[test]
        fn little_is_kept(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..20)) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                decoder.decode(&piece);
                prop_assert!(decoder.cut.len() < 4);
            }
        }
    }
}
