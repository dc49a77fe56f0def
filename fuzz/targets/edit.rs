//! Changes that an attacker makes to bytes.

use arbitrary::Arbitrary;

/// One change of a text.
#[derive(Arbitrary, Debug)]
pub enum Edit {
    Flip(u16),
    Splice {
        at: u16,
        remove: u8,
        insert: Vec<u8>,
    },
    Cut(u16),
    /// Repeats the text between two places.
    Repeat(u16, u16),
}

impl Edit {
    /// Returns the changed text.
    pub fn apply(&self, text: &[u8]) -> Vec<u8> {
        let place = |at: u16| usize::from(at) % (text.len() + 1);
        match self {
            Self::Flip(bit) => {
                let (mut text, byte) = (text.to_vec(), usize::from(*bit) / 8 % text.len().max(1));
                if let Some(byte) = text.get_mut(byte) {
                    *byte ^= 1 << (bit % 8);
                }
                text
            }
            Self::Splice { at, remove, insert } => {
                let start = place(*at);
                let end = (start + usize::from(*remove)).min(text.len());
                [&text[..start], insert, &text[end..]].concat()
            }
            Self::Cut(at) => text[..place(*at)].to_vec(),
            Self::Repeat(from, to) => {
                let (from, to) = (place(*from).min(place(*to)), place(*from).max(place(*to)));
                [&text[..to], &text[from..to], &text[to..]].concat()
            }
        }
    }
}
