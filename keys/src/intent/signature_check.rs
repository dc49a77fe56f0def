//! Checks the signatures of several intents together ([`check_together`]), as a gateway does with
//! those of one turn.
//!
//! The result is the same as that of each alone, but for signatures that only the holder of the key
//! can make and that pass together and not alone (decision 178).

use std::sync::Arc;

use super::decoy::decoy;
use super::{EnrolledKey, IntentRejection, KeyWanted, PresentedIntent, Terms, VerifiedIntent, key_of};
use crate::identity::Username;
use crate::jws::{Algorithm, CompactJws, SignatureKey, verify_together};
use crate::time::Timestamp;

/// Most signatures that are checked together. More gain little, and a bad one costs the time of
/// all.
pub const TOGETHER_MAX: usize = 16;

/// Fewest signatures for which it is faster to check them together.
const TOGETHER_MIN: usize = 4;

/// A signature that is still to be checked. Unknown keys are checked too, against a decoy, so that
/// the time tells nothing (V61).
#[derive(Debug)]
pub struct SignatureCheck {
    text: Box<str>,
    key: Option<Arc<EnrolledKey>>,
}

/// Evidence that a key signed a text. Only [`check_together`] makes one.
#[derive(Debug)]
pub struct CheckedSignature {
    text: Box<str>,
    key: Arc<EnrolledKey>,
}

impl SignatureCheck {
    fn signature_key(&self) -> Option<&SignatureKey> {
        let key = self.key.as_ref().map(|key| key.key());
        key.or_else(|| decoy(Algorithm::EdDsa)).map(|key| key.signature_key())
    }

    fn signed(&self) -> Option<(CompactJws<'_>, &SignatureKey)> {
        Some((CompactJws::parse(&self.text, self.text.len()).ok()?, self.signature_key()?))
    }

    fn passes_alone(&self) -> bool {
        self.signed().is_some_and(|(jws, key)| jws.verify(key))
    }

    fn passed(self) -> Option<CheckedSignature> {
        let Self { text, key } = self;
        key.map(|key| CheckedSignature { text, key })
    }
}

/// Checks signatures, [`TOGETHER_MAX`] at a time. The outcomes are in the order of `checks`; `None`
/// is a signature that is not its key's.
#[must_use]
pub fn check_together(checks: Vec<SignatureCheck>) -> Vec<Option<CheckedSignature>> {
    let mut outcomes = Vec::with_capacity(checks.len());
    let mut rest = checks;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(TOGETHER_MAX));
        let all_pass = rest.len() >= TOGETHER_MIN && {
            let signed: Option<Vec<_>> = rest.iter().map(SignatureCheck::signed).collect();
            let pass = signed.is_some_and(|signed| verify_together(signed.into_iter()));
            // The decoy's private key is published. What it signed must not take less time than a
            // bad signature of a known key.
            pass && rest.iter().all(|check| check.key.is_some())
        };
        outcomes.extend(rest.into_iter().map(|check| {
            let passes = all_pass || check.passes_alone();
            if passes { check.passed() } else { None }
        }));
        rest = later;
    }
    outcomes
}

impl<'h> PresentedIntent<'h> {
    /// The check of this intent's signature, if it can be made together with others: the envelope
    /// names Ed25519. `keys` as for [`PresentedIntent::verify`].
    #[must_use]
    pub fn signature_check(&self, username: &Username, keys: &[Arc<EnrolledKey>]) -> Option<SignatureCheck> {
        let KeyWanted::Id(kid) = self.key else { return None };
        if self.algorithm != Algorithm::EdDsa {
            return None;
        }
        let key = key_of(keys, username, kid).filter(|key| key.key().algorithm() == self.algorithm);
        Some(SignatureCheck { text: self.jws.as_str().into(), key: key.map(Arc::clone) })
    }

    /// As [`PresentedIntent::verify`], with the outcome of [`PresentedIntent::signature_check`].
    ///
    /// # Errors
    /// The first rule that the intent breaks.
    pub fn verify_checked(
        self,
        checked: Option<&CheckedSignature>,
        username: &Username,
        keys: &[Arc<EnrolledKey>],
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'h>, IntentRejection> {
        let KeyWanted::Id(kid) = self.key else { return Err(IntentRejection::Signature) };
        let key = key_of(keys, username, kid).ok_or(IntentRejection::UnknownKey)?;
        if self.algorithm != key.key().algorithm() {
            return Err(IntentRejection::Algorithm);
        }
        // The evidence is of this text and of this key.
        let is_of_this =
            |checked: &&CheckedSignature| *checked.text == *self.jws.as_str() && Arc::ptr_eq(&checked.key, key);
        checked.filter(is_of_this).ok_or(IntentRejection::Signature)?;
        key.standing(now)?;
        self.check_claims(key, terms, now)
    }
}
