//! Verifies several Ed25519 signatures together, for less than each alone costs.
//!
//! The equations of all signatures are added up, each with a factor that is derived from all
//! inputs. A sum of zero with a wrong signature in it has a probability of 2⁻¹²⁸, except for
//! signatures whose points have a component of low order, or are not spelled canonically. Only the
//! holder of a key can make these. They may pass here and not alone; decision 178 says why that
//! does no harm.

use ed25519_dalek::Signature;

use super::{CompactJws, Key, SignatureKey, curve_signature};

/// Whether every signature is its key's. `false` says nothing about any one of them: each has to be
/// verified alone then. `false` if a key is not an Ed25519 key.
pub(crate) fn verify_together<'a>(signed: impl Iterator<Item = (CompactJws<'a>, &'a SignatureKey)>) -> bool {
    let (mut inputs, mut signatures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (jws, key) in signed {
        let (Key::Ed25519(_, point), Some(signature)) = (&key.key, curve_signature(jws.signature_b64())) else {
            return false;
        };
        inputs.push(jws.signing_input());
        signatures.push(Signature::from_bytes(&signature));
        keys.push(*point);
    }
    ed25519_dalek::verify_batch(&inputs, &signatures, &keys).is_ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::Deserialize;

    use super::*;
    use crate::jws::Algorithm;
    use crate::keyring::VerificationKey;

    /// Edge cases of points and scalars: C2SP's CCTV, and ed25519-speccheck of "Taming the many
    /// EdDSAs" (Chalkias, Garillot, Nikolaenko).
    const CCTV: &str = include_str!("../../tests/vectors/ed25519/cctv.json");
    const SPECCHECK: &str = include_str!("../../tests/vectors/ed25519/speccheck.json");

    #[derive(Deserialize)]
    struct Case {
        #[serde(alias = "pub_key")]
        key: String,
        #[serde(alias = "signature")]
        sig: String,
        /// A text in CCTV, and bytes in hexadecimal in speccheck.
        #[serde(alias = "message")]
        msg: String,
        #[serde(default)]
        flags: Option<Vec<String>>,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn key(point: &[u8]) -> Option<VerificationKey> {
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(point));
        VerificationKey::from_jwk(jwk.as_bytes(), Algorithm::EdDsa).ok()
    }

    fn point(key: &VerificationKey) -> ed25519_dalek::VerifyingKey {
        match &key.signature_key().key {
            Key::Ed25519(_, point) => *point,
            Key::Es256(_) | Key::Rsa(..) => panic!("not an Ed25519 key"),
        }
    }

    /// Alone, and together with so many good signatures (of RFC 8032, section 7.1, test 2).
    fn outcomes(key: &VerificationKey, message: &[u8], signature: &[u8; 64], others: usize) -> (bool, bool) {
        let good_key = self::key(&bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")).unwrap();
        let good = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let alone = key.signature_key().verify(message, &URL_SAFE_NO_PAD.encode(signature));
        let mut inputs = vec![message];
        let mut signatures = vec![Signature::from_bytes(signature)];
        let mut keys = vec![point(key)];
        for _ in 0..others {
            inputs.push(&[0x72]);
            signatures.push(Signature::from_slice(&good).unwrap());
            keys.push(point(&good_key));
        }
        (alone, ed25519_dalek::verify_batch(&inputs, &signatures, &keys).is_ok())
    }

    #[test]
    fn v15_what_passes_together_and_not_alone_only_the_holder_of_the_key_can_make() {
        let cases: Vec<Case> = serde_json::from_str(CCTV).unwrap();
        let (mut refused_keys, mut alone_only, mut together_only) = (0, 0, 0);
        for case in &cases {
            let Some(key) = key(&bytes(&case.key)) else {
                refused_keys += 1;
                continue;
            };
            let signature = bytes(&case.sig).try_into().unwrap();
            for others in [1, 3, 15] {
                match outcomes(&key, case.msg.as_bytes(), &signature, others) {
                    (true, false) => alone_only += 1, // it is checked alone then
                    (false, true) => {
                        together_only += 1;
                        let flags = case.flags.clone().unwrap_or_default();
                        let only_the_holders =
                            |flag: &String| flag.starts_with("low_order_component") || flag == "non_canonical_R";
                        assert!(flags.iter().any(only_the_holders), "{}: {flags:?}", case.sig);
                    }
                    (true, true) | (false, false) => {}
                }
            }
        }
        // So the cases reach what this test is about.
        assert!(refused_keys > 0 && refused_keys < cases.len() && together_only + alone_only > 0);
    }

    #[test]
    fn v15_the_edge_cases_of_taming_the_many_eddsas() {
        let cases: Vec<Case> = serde_json::from_str(SPECCHECK).unwrap();
        assert_eq!(cases.len(), 12);
        for (number, case) in cases.iter().enumerate() {
            let key = key(&bytes(&case.key));
            // Cases 0, 1 and 11 have a key of small order, and case 10 one that is not reduced too.
            assert_eq!(key.is_some(), !matches!(number, 0 | 1 | 10 | 11), "case {number}");
            let Some(key) = key else { continue };
            let signature = bytes(&case.sig).try_into().unwrap();
            let (alone, _) = outcomes(&key, &bytes(&case.msg), &signature, 3);
            // 2, 3: points of small or mixed order that fulfil the equation without the cofactor;
            // 4, 5: only with it; 6, 7: S is not below the order; 8, 9: R is not reduced.
            assert_eq!(alone, matches!(number, 2 | 3), "case {number}");
        }
    }
}
