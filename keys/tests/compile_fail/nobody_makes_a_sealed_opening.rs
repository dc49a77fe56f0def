//! A sealed opening cannot be constructed by hand: only a signed intent makes one.
//! Refused with E0451.
use countersign_keys::seal::EncapsulatedKey;
use countersign_keys::session::{SealedOpening, TokenHash};

pub fn forge(token: TokenHash, enc: EncapsulatedKey) -> SealedOpening {
    SealedOpening { token, intent: [0; 32], enc }
}
