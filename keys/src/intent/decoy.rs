//! Keys whose checks take time and decide nothing: a refusal for an unknown key takes as long as
//! one for a bad signature (V61).

use std::sync::LazyLock;

use crate::jws::Algorithm;
use crate::keyring::VerificationKey;

/// A published test key of that algorithm. It can vouch for nothing: the result of its check is
/// ignored and the intent refused. From RFC 6979, appendix A.2.5; RFC 8037, appendix A.2; RFC 7515,
/// appendix A.2.1.
pub(super) fn decoy(algorithm: Algorithm) -> Option<&'static VerificationKey> {
    const EC: &[u8] = br#"{"kty":"EC","crv":"P-256","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"}"#;
    const ED: &[u8] = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const RSA: &[u8] = br#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
    type Decoy = LazyLock<Option<VerificationKey>>;
    static ES256: Decoy = LazyLock::new(|| VerificationKey::from_jwk(EC, Algorithm::Es256).ok());
    static EDDSA: Decoy = LazyLock::new(|| VerificationKey::from_jwk(ED, Algorithm::EdDsa).ok());
    static PS256: Decoy = LazyLock::new(|| VerificationKey::from_jwk(RSA, Algorithm::Ps256).ok());
    static RS256: Decoy = LazyLock::new(|| VerificationKey::from_jwk(RSA, Algorithm::Rs256).ok());
    let decoy = match algorithm {
        Algorithm::Es256 => &ES256,
        Algorithm::EdDsa => &EDDSA,
        Algorithm::Ps256 => &PS256,
        Algorithm::Rs256 => &RS256,
    };
    decoy.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v61_each_algorithm_has_a_decoy_that_takes_the_time_of_a_check() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256] {
            assert_eq!(decoy(algorithm).map(VerificationKey::algorithm), Some(algorithm));
        }
        // The RFCs' own signatures: what verifies has taken the time of a check.
        let check = |algorithm: Algorithm, jws: &str| {
            let (input, signature) = jws.rsplit_once('.').unwrap_or_default();
            let verifies = |key: &VerificationKey| key.signature_key().verify(input.as_bytes(), signature);
            assert!(decoy(algorithm).is_some_and(verifies), "{algorithm:?}");
        };
        check(
            Algorithm::EdDsa,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
             hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        check(
            Algorithm::Rs256,
            "eyJhbGciOiJSUzI1NiJ9.\
             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
             cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
             jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb\
             1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO\
             YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        );
    }
}
