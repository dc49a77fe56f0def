//! One honest intent, altered in every way that the checklist names. Nearly all alterations carry a
//! *correct* signature of the user's key, so that only the rule under test can refuse them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::malicious::Altered;
use crate::signer::{Algorithm, BrowserKey, Draft, Intent, PROOF_TYP, sign_text};
use crate::{Fault, jws};

/// More than the 16 KiB that an intent may have, in bytes.
const TOO_LONG: usize = 17 * 1024;
/// The order of P-256: both halves of a signature must be smaller.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Every alteration of `intent` that must be refused for every request. `key` is the user's key;
/// `now` is the time at which the verifier sees them.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn all(intent: &Intent, key: &BrowserKey, now: i64) -> Result<Vec<Altered<String>>, Fault> {
    let mut all = envelope(intent, key)?;
    all.extend(members_twice(intent, key)?);
    all.extend(header(intent, key)?);
    all.extend(algorithm(intent, key)?);
    all.extend(signature(intent, key)?);
    all.extend(claims(intent, key)?);
    all.extend(times(intent, key, now)?);
    Ok(all)
}

/// V04, V07: text that is not one compact JWS.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn envelope(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let good = intent.sign(key)?;
    let [head, body, tail] = parts(&good)?;
    let std_tail = jws::base64(&jws::from_base64url(tail)?);
    let long = intent.draft(key).with_claim("jti", json!("A".repeat(TOO_LONG))).sign(key)?;
    let deep = format!("{}{}", "[".repeat(12), "]".repeat(12));
    let deep: Value = serde_json::from_str(&deep)?;
    Ok(vec![
        Altered::new("v04_flattened_json", json!({"protected": head, "payload": body, "signature": tail}).to_string()),
        Altered::new(
            "v04_general_json",
            json!({"payload": body, "signatures": [{"protected": head, "signature": tail}]}).to_string(),
        ),
        Altered::new("v04_two_parts", format!("{head}.{body}")),
        Altered::new("v04_four_parts", format!("{good}.{tail}")),
        Altered::new("v04_five_parts", format!("{head}.{tail}.{tail}.{body}.{tail}")),
        Altered::new("v04_empty_header", format!(".{body}.{tail}")),
        Altered::new("v04_empty_claims", format!("{head}..{tail}")),
        Altered::new("v04_empty_signature", format!("{head}.{body}.")),
        Altered::new("v04_space_inside", format!("{head}. {body}.{tail}")),
        Altered::new("v04_tab_inside", format!("{head}.{body}\t.{tail}")),
        Altered::new("v04_padding", format!("{head}.{body}.{tail}=")),
        Altered::new("v04_two_paddings", format!("{head}.{body}.{tail}==")),
        Altered::new("v04_standard_alphabet_padded", format!("{head}.{body}.{std_tail}")),
        Altered::new("v04_spare_bits_set", format!("{head}.{body}.{}", spare_bits_set(tail))),
        Altered::new("v04_two_in_one", format!("{good},{good}")),
        Altered::new("v04_bearer_before", format!("Bearer {good}")),
        Altered::new("v07_too_long", long),
        Altered::new("v07_too_deep", intent.draft(key).with_claim("params", deep).sign(key)?),
        Altered::new("v07_kid_too_long", intent.draft(key).with_header("kid", json!("A".repeat(172))).sign(key)?),
        Altered::new("v07_jti_too_long", intent.draft(key).with_claim("jti", json!("A".repeat(172))).sign(key)?),
    ])
}

/// V05: a repeated member, which readers may resolve to different values.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn members_twice(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let draft = intent.draft(key);
    let (header, claims) = (draft.header_text(), draft.claims_text());
    let opened = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let closed = |text: &str, member: &str| format!("{},{member}}}", text.trim_end_matches('}'));
    let mut all = vec![
        Altered::new("v05_alg_twice", sign_text(&opened(&header, r#""alg":"none""#), &claims, key)?),
        Altered::new("v05_kid_twice", sign_text(&closed(&header, &format!(r#""kid":"{}""#, key.kid())), &claims, key)?),
        Altered::new("v05_username_twice", sign_text(&header, &opened(&claims, r#""username":"mallory#1""#), key)?),
        Altered::new("v05_username_last", sign_text(&header, &closed(&claims, r#""username":"mallory#1""#), key)?),
        Altered::new("v05_escaped_twice", sign_text(&header, &closed(&claims, r#""\u0063all":"files.trash""#), key)?),
        Altered::new("v05_params_twice", sign_text(&header, &closed(&claims, r#""params":["AA"]"#), key)?),
    ];
    for (name, text) in [
        ("v05_claims_then_more", format!("{claims}{{}}")),
        ("v05_claims_not_json", claims.replacen('"', "'", 2)),
        ("v05_claims_a_list", format!("[{claims}]")),
        ("v05_claims_with_nul", format!("{claims}\0")),
        ("v05_claims_with_bom", format!("\u{feff}{claims}")),
    ] {
        all.push(Altered::new(name, sign_text(&header, &text, key)?));
    }
    Ok(all)
}

/// V06, V12, V20, V21: a header other than exactly `alg`, `kid`, `typ`.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn header(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let own = BrowserKey::make(Algorithm::Es256)?;
    let with = |name: &str, value: Value| intent.draft(key).with_header(name, value);
    let cases = [
        ("v06_crit", with("crit", json!(["exp"]))),
        ("v06_crit_empty", with("crit", json!([]))),
        ("v06_b64_false", with("b64", json!(false))),
        ("v06_zip", with("zip", json!("DEF"))),
        ("v06_enc", with("enc", json!("A256GCM"))),
        ("v06_unknown_member", with("x", json!(1))),
        ("v06_cty", with("cty", json!("JWT"))),
        ("v12_jku", with("jku", json!("https://attacker.example/keys"))),
        ("v12_x5u", with("x5u", json!("https://attacker.example/certificate"))),
        ("v12_x5c", with("x5c", json!(["AAAA"]))),
        ("v12_x5t", with("x5t", json!("AAAA"))),
        ("v12_own_jwk_named", with("jwk", key.public_jwk())),
        ("v20_proof_typ", with("typ", json!(PROOF_TYP))),
        ("v20_session_typ", with("typ", json!("ucloud-session+jwt"))),
        ("v21_typ_absent", intent.draft(key).without_header("typ")),
        ("v21_typ_jwt", with("typ", json!("JWT"))),
        ("v21_typ_upper_case", with("typ", json!("UCLOUD-INTENT+JWT"))),
        ("v21_typ_with_application", with("typ", json!("application/ucloud-intent+jwt"))),
        ("v21_typ_null", with("typ", Value::Null)),
        ("v16_kid_absent", intent.draft(key).without_header("kid")),
        ("v16_kid_unknown", with("kid", json!(own.kid()))),
        ("v16_kid_empty", with("kid", json!(""))),
        ("v16_kid_a_number", with("kid", json!(7))),
        ("v16_kid_a_path", with("kid", json!("../../../etc/passwd"))),
    ];
    let mut all = sign_each(cases, key)?;
    // The attacker's key in the header, under the user's key id.
    let embedded = intent.draft(key).with_header("alg", json!("ES256")).with_header("jwk", own.public_jwk());
    all.push(Altered::new("v12_embedded_jwk", embedded.sign(&own)?));
    Ok(all)
}

/// V10, V11: an algorithm other than the recorded one.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn algorithm(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let mut all = Vec::new();
    let text = |alg: &str| {
        let draft = intent.draft(key).with_header("alg", json!(alg));
        (draft.header_text(), draft.claims_text())
    };
    for none in ["none", "None", "NONE", "nOnE"] {
        let (header, claims) = text(none);
        let bare = jws::compact(header.as_bytes(), claims.as_bytes(), |_| Ok(Vec::new()))?;
        all.push(Altered::new(format!("v10_{none}_bare"), bare));
        all.push(Altered::new(format!("v10_{none}_signed"), sign_text(&header, &claims, key)?));
    }
    let spki = key.public_spki()?;
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", jws::base64(&spki));
    let secrets: [(&str, &[u8]); 3] = [("der", &spki), ("pem", pem.as_bytes()), ("empty", b"")];
    for (form, secret) in secrets {
        let (header, claims) = text("HS256");
        let mac = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let forged =
            jws::compact(header.as_bytes(), claims.as_bytes(), |input| Ok(hmac::sign(&mac, input).as_ref().to_vec()))?;
        all.push(Altered::new(format!("v10_hs256_public_key_{form}"), forged));
    }
    for other in ["ES256", "EdDSA", "PS256", "RS256", "ES384", "ES512", "ES256K", "RS512", "es256", ""] {
        if other != key.algorithm().name() {
            let (header, claims) = text(other);
            all.push(Altered::new(format!("v11_says_{other}"), sign_text(&header, &claims, key)?));
        }
    }
    Ok(all)
}

/// V15, V17: unchanged claims with a signature that is not the key's.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn signature(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let good = intent.sign(key)?;
    let [head, body, tail] = parts(&good)?;
    let whole = jws::from_base64url(tail)?;
    let with = |signature: &[u8]| format!("{head}.{body}.{}", jws::base64url(signature));
    let mut flipped = whole.clone();
    if let Some(byte) = flipped.first_mut() {
        *byte ^= 1;
    }
    let mut longer = whole.clone();
    longer.push(0);
    let shorter = whole.split_last().map(|(_, rest)| rest).unwrap_or_default();
    let mut stranger = BrowserKey::make(key.algorithm())?;
    stranger.set_kid(key.kid());
    let mut all = vec![
        Altered::new("v15_bit_flipped", with(&flipped)),
        Altered::new("v15_one_byte_longer", with(&longer)),
        Altered::new("v15_one_byte_shorter", with(shorter)),
        Altered::new("v15_all_zero", with(&vec![0; whole.len()])),
        Altered::new("v17_strangers_key_under_users_kid", intent.sign(&stranger)?),
    ];
    if key.algorithm() == Algorithm::Es256
        && let Some((r, s)) = whole.split_at_checked(32)
    {
        let zero = [0; 32];
        all.extend([
            Altered::new("v15_der", with(&der(r, s))),
            Altered::new("v15_r_zero", with(&[&zero, s].concat())),
            Altered::new("v15_s_zero", with(&[r, &zero].concat())),
            Altered::new("v15_r_order", with(&[&P256_ORDER, s].concat())),
            Altered::new("v15_s_order", with(&[r, &P256_ORDER].concat())),
            Altered::new("v15_halves_swapped", with(&[s, r].concat())),
        ]);
    }
    Ok(all)
}

/// V22 to V27, V35: claims that are absent, of another type, for another recipient, or too many.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn claims(intent: &Intent, key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    let with = |name: &str, value: Value| intent.draft(key).with_claim(name, value);
    let without = |name: &str| intent.draft(key).without_claim(name);
    let other = jws::base64url(&jws::sha256(b"another item"));
    let many: Vec<&str> = std::iter::repeat_n(other.as_str(), 1001).collect();
    let (aud, username, call) = (intent.aud.as_str(), intent.username.as_str(), intent.call.as_str());
    let cases = [
        ("v22_aud_absent", without("aud")),
        ("v22_aud_other", with("aud", json!("https://other.example.org"))),
        ("v22_aud_list", with("aud", json!([aud]))),
        ("v22_aud_with_slash", with("aud", json!(format!("{aud}/")))),
        ("v22_aud_longer", with("aud", json!(format!("{aud}.example.org")))),
        ("v22_aud_upper_case", with("aud", json!(aud.to_uppercase()))),
        ("v22_aud_null", with("aud", Value::Null)),
        ("v23_username_absent", without("username")),
        ("v23_username_other", with("username", json!("mallory#6666"))),
        ("v23_username_with_space", with("username", json!(format!("{username} ")))),
        ("v23_username_null", with("username", Value::Null)),
        ("v23_username_empty", with("username", json!(""))),
        ("v24_project_absent", without("project")),
        ("v24_project_a_number", with("project", json!(7))),
        ("v25_call_absent", without("call")),
        ("v25_call_other", with("call", json!("ssh.keyUploaded"))),
        ("v25_call_as_providers_name", with("call", json!(call.replacen('.', ".provider.", 1)))),
        ("v25_call_upper_case", with("call", json!(call.to_uppercase()))),
        ("v25_call_longer", with("call", json!(format!("{call}s")))),
        ("v26_params_absent", without("params")),
        ("v26_params_null", with("params", Value::Null)),
        ("v26_params_empty", with("params", json!([]))),
        ("v26_params_of_another_item", with("params", json!([other]))),
        ("v26_params_not_strings", with("params", json!([{"id": "/home/x"}]))),
        (
            "v26_params_padded",
            with("params", json!(intent.params.iter().map(|digest| format!("{digest}=")).collect::<Vec<_>>())),
        ),
        ("v27_params_too_many", with("params", json!(many))),
        ("v35_jti_absent", without("jti")),
        ("v35_jti_empty", with("jti", json!(""))),
        ("v35_jti_15_bytes", with("jti", json!(jws::base64url(&[7; 15])))),
        ("v35_jti_65_bytes", with("jti", json!(jws::base64url(&[7; 65])))),
        ("v35_jti_not_base64url", with("jti", json!("+/+/+/+/+/+/+/+/+/+/+w=="))),
        ("v35_jti_a_number", with("jti", json!(12_345_678_901_234_i64))),
        ("v32_unknown_claim", with("sub", json!(username))),
        ("v32_nbf", with("nbf", json!(intent.iat))),
        ("v26_script_of_a_call_without_scripts", with("script", json!(other))),
        ("v32_script_null", with("script", Value::Null)),
        ("v32_script_no_digest", with("script", json!("#!/bin/sh"))),
        ("v32_script_padded", with("script", json!(format!("{other}=")))),
        ("v32_script_a_list", with("script", json!([other]))),
    ];
    sign_each(cases, key)
}

/// V32 to V34: times that are absent, not integers, reversed, too far apart, past or future.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn times(intent: &Intent, key: &BrowserKey, now: i64) -> Result<Vec<Altered<String>>, Fault> {
    let window = |from: i64, to: i64| {
        let (iat, exp) = (now.saturating_add(from), now.saturating_add(to));
        intent.draft(key).with_claim("iat", json!(iat)).with_claim("exp", json!(exp))
    };
    let with = |name: &str, value: Value| intent.draft(key).with_claim(name, value);
    let cases = [
        ("v32_iat_absent", intent.draft(key).without_claim("iat")),
        ("v32_exp_absent", intent.draft(key).without_claim("exp")),
        ("v32_exp_before_iat", window(0, -1)),
        ("v32_exp_is_iat", window(0, 0)),
        ("v32_too_long_a_life", window(0, 3600)),
        ("v33_iat_null", with("iat", Value::Null)),
        ("v33_exp_null", with("exp", Value::Null)),
        ("v33_iat_a_string", with("iat", json!(intent.iat.to_string()))),
        ("v33_exp_a_string", with("exp", json!(intent.exp.to_string()))),
        ("v33_exp_true", with("exp", json!(true))),
        ("v33_exp_half_a_second", with("exp", json!(1_800_000_000.5))),
        ("v33_iat_negative", with("iat", json!(-1))),
        ("v33_exp_huge", with("exp", json!(u64::MAX))),
        ("v33_exp_enormous", with("exp", json!(1e300))),
        ("v33_in_milliseconds", with("iat", json!(now.saturating_mul(1000)))),
        ("v34_expired", window(-31, -1)),
        ("v34_long_expired", window(-86_430, -86_400)),
        ("v34_from_the_future", window(300, 330)),
        ("v34_from_next_year", window(31_536_000, 31_536_030)),
    ];
    let mut all = sign_each(cases, key)?;
    let draft = intent.draft(key);
    let exp = format!("\"exp\":{}", intent.exp);
    for (name, text) in [
        ("v33_exp_with_fraction_zero", format!("{exp}.0")),
        ("v33_exp_with_exponent", format!("{exp}e0")),
        ("v33_exp_nan", "\"exp\":NaN".to_owned()),
        ("v33_exp_with_plus", exp.replace(':', ":+")),
        ("v33_exp_with_zero_before", exp.replace(':', ":0")),
    ] {
        let claims = draft.claims_text().replace(&exp, &text);
        all.push(Altered::new(name, sign_text(&draft.header_text(), &claims, key)?));
    }
    Ok(all)
}

/// The second valid signature of the same text: everyone can make (r, n - s) from (r, s). A
/// verifier that remembers signatures and not token ids accepts it as a new intent. `None` for
/// algorithms without such a twin.
///
/// # Errors
/// [`Fault`] if `intent` is not a compact JWS.
pub fn twin(intent: &str, algorithm: Algorithm) -> Result<Option<String>, Fault> {
    if algorithm != Algorithm::Es256 {
        return Ok(None);
    }
    let [head, body, tail] = parts(intent)?;
    let whole = jws::from_base64url(tail)?;
    let (r, s) = whole.split_at_checked(32).ok_or(Fault::Key)?;
    let mut borrow = false;
    let mut difference: Vec<u8> = P256_ORDER
        .iter()
        .zip(s)
        .rev()
        .map(|(from, what)| {
            let (once, first) = from.overflowing_sub(*what);
            let (twice, second) = once.overflowing_sub(u8::from(borrow));
            borrow = first || second;
            twice
        })
        .collect();
    difference.reverse();
    Ok(Some(format!("{head}.{body}.{}", jws::base64url(&[r, &difference].concat()))))
}

fn sign_each<const N: usize>(cases: [(&str, Draft); N], key: &BrowserKey) -> Result<Vec<Altered<String>>, Fault> {
    cases.into_iter().map(|(name, draft)| Ok(Altered::new(name, draft.sign(key)?))).collect()
}

fn parts(compact: &str) -> Result<[&str; 3], Fault> {
    compact.split('.').collect::<Vec<_>>().try_into().map_err(|_| Fault::Key)
}

/// The same bytes with another last character, whose unused bits are not zero.
fn spare_bits_set(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut changed = text.to_owned();
    let next = changed.pop().and_then(|last| ALPHABET.chars().skip_while(|known| *known != last).nth(1));
    changed.push(next.unwrap_or('-'));
    changed
}

/// The signature in ASN.1 DER, which TLS uses and JWS does not.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let zeros = half.iter().take_while(|byte| **byte == 0).count();
        let mut bytes = half.get(zeros..).unwrap_or_default().to_vec();
        if bytes.first().is_none_or(|first| *first >= 0x80) {
            bytes.insert(0, 0);
        }
        let mut integer = vec![2, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
        integer.append(&mut bytes);
        integer
    };
    let inner = [integer(r), integer(s)].concat();
    let mut sequence = vec![0x30, u8::try_from(inner.len()).unwrap_or(u8::MAX)];
    sequence.extend(inner);
    sequence
}
