//! Tokens that are almost Core's: tokens that anyone can make, and tokens that Core signed for
//! another purpose.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::core::{core2_claims, provider_claims, token_header};
use crate::malicious::Altered;
use crate::{CoreKeys, Fault, jws};

/// Every token that must be refused. Most carry a correct signature of Core's key.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn all(keys: &CoreKeys, now: i64) -> Result<Vec<Altered<String>>, Fault> {
    let claims = core2_claims(now);
    let with = |name: &str, value: Value| set(&claims, name, Some(value));
    let without = |name: &str| set(&claims, name, None);
    let head = |name: &str, value: Value| set(&token_header(), name, Some(value));
    let by_claims = [
        ("providers_own_token", provider_claims(keys.provider(), now)),
        ("subject_of_a_user", with("sub", json!("alice#1234"))),
        ("subject_in_lower_case", with("sub", json!("_ucloud"))),
        ("subject_absent", without("sub")),
        ("role_of_a_user", with("role", json!("USER"))),
        ("role_of_a_provider", with("role", json!("PROVIDER"))),
        ("role_absent", without("role")),
        ("issuer_other", with("iss", json!("cloud.example.org"))),
        ("issuer_absent", without("iss")),
        ("audience_other", with("aud", json!(["files:read"]))),
        ("audience_absent", without("aud")),
        ("expired", set(&with("iat", json!(now.saturating_sub(660))), "exp", Some(json!(now.saturating_sub(60))))),
        ("never_ends", without("exp")),
        ("never_began", without("iat")),
        (
            "from_the_future",
            set(&with("iat", json!(now.saturating_add(600))), "exp", Some(json!(now.saturating_add(1200)))),
        ),
        ("not_yet", with("nbf", json!(now.saturating_add(600)))),
        ("end_a_string", with("exp", json!(now.saturating_add(600).to_string()))),
        ("end_a_fraction", with("exp", json!(1_900_000_000.5))),
        ("lives_a_year", with("exp", json!(now.saturating_add(31_536_000)))),
    ];
    let mut all = Vec::new();
    for (name, claims) in by_claims {
        all.push(Altered::new(name, keys.token(&token_header(), &claims)?));
    }
    for (name, header) in [
        ("says_rs512", head("alg", json!("RS512"))),
        ("says_ps256", head("alg", json!("PS256"))),
        ("says_es256", head("alg", json!("ES256"))),
        ("crit", head("crit", json!(["exp"]))),
        ("intent_typ", head("typ", json!("ucloud-intent+jwt"))),
    ] {
        all.push(Altered::new(name, keys.token(&header, &claims)?));
    }
    all.extend(forged(keys, &claims)?);
    Ok(all)
}

/// Tokens of an attacker who does not have Core's key.
fn forged(keys: &CoreKeys, claims: &Value) -> Result<Vec<Altered<String>>, Fault> {
    let text = claims.to_string();
    let compact = |alg: &str, mac: Option<&hmac::Key>| {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        jws::compact(header.as_bytes(), text.as_bytes(), |input| {
            Ok(mac.map(|mac| hmac::sign(mac, input).as_ref().to_vec()).unwrap_or_default())
        })
    };
    let stranger = CoreKeys::generate(keys.provider())?;
    let pem = hmac::Key::new(hmac::HMAC_SHA256, keys.public_pem()?.as_bytes());
    let good = keys.token(&token_header(), claims)?;
    let cut = good.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap_or_default();
    Ok(vec![
        Altered::new("another_key", stranger.token(&token_header(), claims)?),
        Altered::new("alg_none", compact("none", None)?),
        Altered::new("hs256_with_public_key", compact("HS256", Some(&pem))?),
        Altered::new("signature_cut", cut),
        Altered::new("not_a_token", "garbage".to_owned()),
        Altered::new("empty", String::new()),
    ])
}

fn set(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut changed = object.clone();
    if let Some(members) = changed.as_object_mut() {
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
    }
    changed
}
