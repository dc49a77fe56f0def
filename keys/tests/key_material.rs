//! Limits of strength and form for verification keys, and the members of a JWK.

use std::iter::repeat_n;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::keyring::{
    Algorithm, EnrolledKey, KeyRecord, KeyRejection, KeyStanding, KeyState, Protocol, VerificationKey,
};
use countersign_keys::time::Timestamp;
use countersign_portal::{BrowserKey, signer};
use rsa::BigUint;
use serde_json::{Value, json};

const EXPONENT: u32 = 65_537;

fn jwk(algorithm: signer::Algorithm) -> Value {
    BrowserKey::make(algorithm).unwrap().public_jwk()
}

fn read(jwk: &Value, algorithm: Algorithm) -> Result<(), KeyRejection> {
    VerificationKey::from_jwk(jwk.to_string().as_bytes(), algorithm).map(drop)
}

fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut changed = jwk.clone();
    changed.as_object_mut().unwrap().insert(name.to_owned(), value);
    changed
}

#[test]
fn v13_a_jwk_that_says_what_it_is_for_says_this() {
    let [es256, ed25519, rsa] = [signer::Algorithm::Es256, signer::Algorithm::EdDsa, signer::Algorithm::Ps256].map(jwk);
    let purpose = || Err(KeyRejection::Purpose);
    for (jwk, algorithm, member, value, want) in [
        (&es256, Algorithm::Es256, "use", json!("sig"), Ok(())),
        (&es256, Algorithm::Es256, "use", json!("enc"), purpose()),
        (&es256, Algorithm::Es256, "use", json!(1), purpose()),
        (&es256, Algorithm::Es256, "alg", json!("ES256"), Ok(())),
        (&es256, Algorithm::Es256, "alg", json!("ECDH-ES"), purpose()),
        (&es256, Algorithm::Es256, "alg", json!("Ed25519"), purpose()),
        (&ed25519, Algorithm::EdDsa, "alg", json!("EdDSA"), Ok(())),
        (&ed25519, Algorithm::EdDsa, "alg", json!("Ed25519"), Ok(())),
        (&ed25519, Algorithm::EdDsa, "alg", json!("Ed448"), purpose()),
        (&rsa, Algorithm::Ps256, "alg", json!("PS256"), Ok(())),
        (&rsa, Algorithm::Ps256, "alg", json!("RS256"), purpose()),
        (&rsa, Algorithm::Ps256, "alg", json!("RSA-OAEP"), purpose()),
        (&es256, Algorithm::Es256, "key_ops", json!(["verify"]), Ok(())),
        (&es256, Algorithm::Es256, "key_ops", json!(["verify", "sign"]), purpose()),
        (&es256, Algorithm::Es256, "key_ops", json!(["deriveKey"]), purpose()),
        (&es256, Algorithm::Es256, "key_ops", json!("verify"), purpose()),
        (&es256, Algorithm::Es256, "kid", json!("mine"), Ok(())),
        (&es256, Algorithm::Es256, "ext", json!(true), Ok(())),
        (&es256, Algorithm::Es256, "x5u", json!("https://example.org"), Err(KeyRejection::Form)),
        (&es256, Algorithm::Es256, "n", json!("AQAB"), Err(KeyRejection::Form)),
        (&ed25519, Algorithm::EdDsa, "y", json!("AQAB"), Err(KeyRejection::Form)),
    ] {
        assert_eq!(read(&with(jwk, member, value.clone()), algorithm), want, "{algorithm:?} {member} {value}");
    }
}

#[test]
fn a_curve_is_the_algorithms() {
    let [es256, ed25519] = [signer::Algorithm::Es256, signer::Algorithm::EdDsa].map(jwk);
    for (jwk, algorithm, curves) in [
        (&es256, Algorithm::Es256, ["P-384", "secp256k1", "Ed25519"]),
        (&ed25519, Algorithm::EdDsa, ["X25519", "Ed448", "P-256"]),
    ] {
        assert_eq!(read(jwk, algorithm), Ok(()));
        for curve in curves {
            assert_eq!(read(&with(jwk, "crv", json!(curve)), algorithm), Err(KeyRejection::Form), "{curve}");
        }
        for kty in ["RSA", "EC", "OKP"].iter().filter(|kty| jwk["kty"] != **kty) {
            assert_eq!(read(&with(jwk, "kty", json!(kty)), algorithm), Err(KeyRejection::Form), "{kty}");
        }
    }
}

#[test]
fn v07_the_text_of_a_key_has_4_kib_at_most() {
    let mut text = jwk(signer::Algorithm::Es256).to_string();
    text.extend(repeat_n(' ', 4096 - text.len()));
    assert!(VerificationKey::from_jwk(text.as_bytes(), Algorithm::Es256).is_ok());
    text.push(' ');
    assert_eq!(VerificationKey::from_jwk(text.as_bytes(), Algorithm::Es256), Err(KeyRejection::Form));
}

/// An odd number of that many bits that the generator of CVE-2017-15361 did not make.
fn modulus(bits: usize) -> BigUint {
    (BigUint::from(1_u8) << (bits - 1)) + BigUint::from(3_u8)
}

fn read_rsa(modulus: &BigUint, exponent: &BigUint) -> Result<(), KeyRejection> {
    let number = |number: &BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    read(&json!({"kty": "RSA", "n": number(modulus), "e": number(exponent)}), Algorithm::Ps256)
}

#[test]
fn v13_an_rsa_key_has_2048_to_4096_bits_and_one_exponent() {
    let weak = || Err(KeyRejection::RsaStrength);
    for (bits, want) in [(2_047, weak()), (2_048, Ok(())), (4_096, Ok(())), (4_097, weak())] {
        assert_eq!(read_rsa(&modulus(bits), &EXPONENT.into()), want, "{bits}");
    }
    for exponent in [1_u32, 3, 65_535, 65_539] {
        assert_eq!(read_rsa(&modulus(2_048), &exponent.into()), weak(), "{exponent}");
    }
    let even = modulus(2_048) + BigUint::from(1_u8);
    assert_eq!(read_rsa(&even, &EXPONENT.into()), weak());
}

/// A power of 65537 has the property modulo every prime, as the primes of that generator and their
/// products do.
#[test]
fn v13_a_key_of_the_broken_generator_is_refused() {
    let power = (0..128).fold(BigUint::from(1_u8), |power, _| power * BigUint::from(EXPONENT));
    assert_eq!(power.bits(), 2_049);
    assert_eq!(read_rsa(&power, &EXPONENT.into()), Err(KeyRejection::RsaGenerator));
    assert_eq!(read_rsa(&(power + BigUint::from(2_u8)), &EXPONENT.into()), Ok(()));
}

#[test]
fn v13_numbers_are_written_in_the_fewest_octets() {
    let padded = |number: &BigUint| URL_SAFE_NO_PAD.encode([&[0], number.to_bytes_be().as_slice()].concat());
    let plain = |number: &BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    let (n, e) = (modulus(2_048), BigUint::from(EXPONENT));
    for (n, e) in [(padded(&n), plain(&e)), (plain(&n), padded(&e))] {
        assert_eq!(read(&json!({"kty": "RSA", "n": n, "e": e}), Algorithm::Ps256), Err(KeyRejection::Form));
    }
}

#[test]
fn a_pem_is_one_public_key_and_nothing_else() {
    let key = BrowserKey::make(signer::Algorithm::Es256).unwrap();
    let body = STANDARD.encode(key.public_spki().unwrap());
    let read = |text: &str| VerificationKey::from_pem(text, Algorithm::Es256).map(|key| key.spki_der().to_vec());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----");
    assert_eq!(read(&pem), Ok(key.public_spki().unwrap()));
    assert_eq!(read(&format!("\n{}\r\n", pem.replace('\n', "\r\n"))), Ok(key.public_spki().unwrap()));
    assert_eq!(read(&pem.replace("PUBLIC KEY", "EC PRIVATE KEY")), Err(KeyRejection::Private));
    for refused in [
        pem.replace("PUBLIC KEY", "CERTIFICATE"),
        format!("x{pem}"),
        format!("{pem}x"),
        pem.replace(&body, ""),
        pem.replace(&body, &format!("{body}\n{body}")),
    ] {
        assert_eq!(read(&refused), Err(KeyRejection::Form), "{refused}");
    }
}

#[test]
fn v18_a_key_speaks_until_its_last_second_and_never_once_revoked() {
    let key =
        VerificationKey::from_jwk(jwk(signer::Algorithm::EdDsa).to_string().as_bytes(), Algorithm::EdDsa).unwrap();
    let at = |seconds: i64| Timestamp::from_seconds(seconds);
    let (owner, kid) = (Username::parse("alice#1").unwrap(), KeyId::from_bytes([7; 16]));
    let mut record = KeyRecord::new(owner.clone(), kid, &key, Protocol::V1, (at(100), at(200)), "laptop".to_owned());
    let enrolled = EnrolledKey::from_record(&record).unwrap();
    assert_eq!((enrolled.owner(), enrolled.kid(), enrolled.protocol()), (&owner, kid, Protocol::V1));
    assert_eq!(enrolled.key(), &key);
    assert_eq!(enrolled.standing(at(199)), Ok(()));
    assert_eq!(enrolled.standing(at(200)), Err(KeyStanding::Expired));
    record.state = KeyState::Revoked;
    let revoked = EnrolledKey::from_record(&record).unwrap();
    assert_eq!(revoked.standing(at(150)), Err(KeyStanding::Revoked));
}

#[test]
fn protocols_have_numbers() {
    assert_eq!([Protocol::V1, Protocol::V2].map(u8::from), [1, 2]);
    assert_eq!([1, 2].map(|number| Protocol::try_from(number).unwrap()), [Protocol::V1, Protocol::V2]);
    assert!([0, 3, 255].iter().all(|number| Protocol::try_from(*number).is_err()));
}

#[test]
fn two_keys_are_one_if_algorithm_and_bytes_are() {
    let rsa = jwk(signer::Algorithm::Ps256).to_string();
    let read = |text: &str, algorithm: Algorithm| VerificationKey::from_jwk(text.as_bytes(), algorithm).unwrap();
    assert_eq!(read(&rsa, Algorithm::Ps256), read(&rsa, Algorithm::Ps256));
    assert_ne!(read(&rsa, Algorithm::Ps256), read(&rsa, Algorithm::Rs256));
    let other = jwk(signer::Algorithm::Ps256).to_string();
    assert_ne!(read(&rsa, Algorithm::Ps256), read(&other, Algorithm::Ps256));
}
