//! Verifies who signed an intent.

use std::sync::Arc;

use countersign_keys::identity::Username;
use countersign_keys::intent::{KeyWanted, PresentedIntent, VerifiedIntent};
use countersign_keys::keyring::EnrolledKey;
use countersign_keys::request::INTENT_MAX;
use tokio::time::Instant;

use crate::response::refusal::Refusal;
use crate::state::Gateway;

impl Gateway {
    /// Verifies the intent that came with a request, if one did. Also returns the key cache's epoch
    /// from before: [`crate::exchange::Exchange::consume`] finds what was revoked since (P6).
    pub(crate) async fn verify_if_present<'h>(
        &self,
        username: &Username,
        text: Option<&'h str>,
    ) -> Result<(Option<VerifiedIntent<'h>>, u64), Refusal> {
        let epoch = self.key_cache.epoch();
        let intent = match text {
            Some(text) => {
                let begun = Instant::now();
                let verified = self.verify(username, text).await;
                self.metrics.verifications.observe(begun.elapsed());
                Some(verified?)
            }
            None => None,
        };
        Ok((intent, epoch))
    }

    /// Verifies that one of the user's keys signed the intent. Does not look at the request.
    async fn verify<'h>(&self, username: &Username, text: &'h str) -> Result<VerifiedIntent<'h>, Refusal> {
        let presented = PresentedIntent::parse(text, INTENT_MAX, self.rules().policy.terms.version_1)?;
        let keys = self.keys(username, presented.key_wanted()).await?;
        let (keys, terms) = (keys.as_ref(), &self.rules().policy.terms);
        Ok(match presented.signature_check(username, keys) {
            Some(check) => {
                let checked = self.signatures.check(check).await;
                presented.verify_checked(checked.as_ref(), username, keys, terms, self.now()?)?
            }
            None => presented.verify(username, keys, terms, self.now()?)?,
        })
    }

    pub(crate) async fn keys(&self, username: &Username, wanted: KeyWanted) -> Result<Keys, Refusal> {
        Ok(match wanted {
            KeyWanted::Id(kid) => Keys::One(self.key_cache.key(username, kid).await?),
            KeyWanted::Version1 => Keys::Several(self.key_cache.keys_v1(username).await?),
        })
    }
}

pub(crate) enum Keys {
    /// The key of an id, if it exists.
    One(Option<Arc<EnrolledKey>>),
    /// The user's keys of version 1.
    Several(Arc<[Arc<EnrolledKey>]>),
}

impl AsRef<[Arc<EnrolledKey>]> for Keys {
    fn as_ref(&self) -> &[Arc<EnrolledKey>] {
        match self {
            Self::One(key) => key.as_slice(),
            Self::Several(keys) => keys,
        }
    }
}
