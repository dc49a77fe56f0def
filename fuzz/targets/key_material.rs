//! Keys as strangers offer them: JWK, PEM and SPKI. An accepted key has one form, which reads back
//! as the same key.
#![no_main]

use countersign_keys::core_token::CoreKey;
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::VerificationKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256] {
        let jwk = VerificationKey::from_jwk(bytes, algorithm).ok();
        let der = VerificationKey::from_spki_der(bytes, algorithm).ok();
        let pem = std::str::from_utf8(bytes).ok().and_then(|text| VerificationKey::from_pem(text, algorithm).ok());
        for key in [jwk, der, pem].into_iter().flatten() {
            let again = VerificationKey::from_spki_der(key.spki_der(), algorithm).expect("it reads back");
            assert_eq!(again.spki_der(), key.spki_der());
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = CoreKey::parse(text);
    }
});
