//! Any change to an accepted request is refused: of bits, members or items. One of several copies
//! passes.
#![allow(clippy::wildcard_enum_match_arm)]

use crate::support::judging::{AUDIENCE, NOW, Site, USER};
use countersign_keys::json::{DEPTH_MAX, Json};
use countersign_keys::keyring::Algorithm;
use countersign_portal::core::{Deed, Flavour};
use countersign_portal::signer::Intent;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn deed() -> Deed {
    Deed::Move(vec![("/home/a".to_owned(), "/home/b".to_owned()), ("/home/c".to_owned(), "/home/d".to_owned())])
}

fn signed(site: &Site) -> String {
    Intent::of(AUDIENCE, USER, &deed(), NOW).unwrap().sign(&site.key).unwrap()
}

fn body() -> Vec<u8> {
    deed().body(USER, "hpc", Flavour::Core2).unwrap().to_vec()
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let byte = bit / 8 % flipped.len();
    flipped[byte] ^= 1 << (bit % 8);
    flipped
}

/// The part of a body that decides: its items' bound parameters. Two bodies with the same meaning
/// are the same request.
fn meaning(body: &[u8]) -> Option<Vec<[Option<Value>; 3]>> {
    Json::parse(body, DEPTH_MAX).ok()?;
    let body: Value = serde_json::from_slice(body).ok()?;
    let items = body.get("items")?.as_array()?;
    Some(items.iter().map(|item| ["oldId", "newId", "conflictPolicy"].map(|name| item.get(name).cloned())).collect())
}

#[test]
fn any_bit_of_the_intent_flipped_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let site = Site::new(algorithm);
        let (intent, body, token) = (signed(&site), body(), site.token());
        for bit in 0..intent.len() * 8 {
            let flipped = flip(intent.as_bytes(), bit);
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            let refused = site.judge_raw("files.move", &body, Some(&flipped), &token, USER);
            assert!(refused.is_err(), "bit {bit} of {intent}");
        }
        site.judge_raw("files.move", &body, Some(&intent), &token, USER).unwrap();
    }
}

#[test]
fn any_bit_of_the_token_flipped_is_refused() {
    let site = Site::new(Algorithm::Es256);
    let (intent, body, token) = (signed(&site), body(), site.token());
    for bit in "Bearer ".len() * 8..token.len() * 8 {
        let Ok(flipped) = String::from_utf8(flip(token.as_bytes(), bit)) else { continue };
        let refused = site.judge_raw("files.move", &body, Some(&intent), &flipped, USER);
        assert!(refused.is_err(), "bit {bit} of the token");
    }
    site.judge_raw("files.move", &body, Some(&intent), &token, USER).unwrap();
}

#[test]
fn any_bit_of_the_body_flipped_is_refused_or_means_the_same() {
    let site = Site::new(Algorithm::Es256);
    let (body, token) = (body(), site.token());
    let mut intent = signed(&site);
    let meant = meaning(&body);
    for bit in 0..body.len() * 8 {
        let flipped = flip(&body, bit);
        if site.judge_raw("files.move", &flipped, Some(&intent), &token, USER).is_ok() {
            assert_eq!(meaning(&flipped), meant, "bit {bit}: {}", String::from_utf8_lossy(&flipped));
            intent = signed(&site);
        }
    }
}

/// The paths of all members and elements in a value.
fn places(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut visit = |name: String, inner: &Value| {
        path.push(name);
        found.push(path.clone());
        places(inner, path, found);
        path.pop();
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| visit(name.clone(), inner)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(at, inner)| visit(at.to_string(), inner)),
        _ => {}
    }
}

#[test]
fn any_member_dropped_renamed_or_repeated_is_refused_or_means_the_same() {
    let site = Site::new(Algorithm::Es256);
    let token = site.token();
    let body: Value = serde_json::from_slice(&body()).unwrap();
    let meant = meaning(body.to_string().as_bytes());
    let mut all = Vec::new();
    places(&body, &mut Vec::new(), &mut all);
    assert!(all.len() > 40);
    let (mut accepted, mut refused) = (0, 0);
    for place in &all {
        let (last, above) = place.split_last().unwrap();
        for change in ["drop", "rename", "null"] {
            let mut changed = body.clone();
            let parent = above.iter().fold(&mut changed, |value, step| match value {
                Value::Array(elements) => &mut elements[step.parse::<usize>().unwrap()],
                value => &mut value[step.as_str()],
            });
            match (parent, change) {
                (Value::Object(members), "drop") => drop(members.remove(last)),
                (Value::Object(members), "rename") => {
                    let value = members.remove(last).unwrap();
                    members.insert(format!("{last}2"), value);
                }
                (Value::Object(members), _) => drop(members.insert(last.clone(), Value::Null)),
                (Value::Array(elements), "drop") => drop(elements.remove(last.parse().unwrap())),
                (Value::Array(elements), _) => elements[last.parse::<usize>().unwrap()] = Value::Null,
                _ => unreachable!("a place has a parent"),
            }
            let text = changed.to_string();
            if site.judge_raw("files.move", text.as_bytes(), Some(&signed(&site)), &token, USER).is_ok() {
                let now = meaning(text.as_bytes()).unwrap();
                assert!(now.iter().all(|item| meant.as_ref().unwrap().contains(item)), "{change} {place:?}: {text}");
                accepted += 1;
            } else {
                refused += 1;
            }
        }
        let repeated = repeat_member(&body, place);
        let outcome = site.judge_raw("files.move", repeated.as_bytes(), Some(&signed(&site)), &token, USER);
        let is_element = last.parse::<usize>().is_ok();
        if is_element && meaning(repeated.as_bytes()) == meant {
            continue; // one of what Core adds
        }
        assert!(outcome.is_err(), "{place:?} repeated: {repeated}");
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}

/// The text of the value with that member or element repeated.
fn repeat_member(value: &Value, place: &[String]) -> String {
    let Some((step, rest)) = place.split_first() else { return value.to_string() };
    let join = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(members) => {
            let text = |members: &Map<String, Value>, name: &String, value: &Value| {
                let inner = if name == step { repeat_member(value, rest) } else { members[name].to_string() };
                let member = format!("{}:{inner}", Value::String(name.clone()));
                if name == step && rest.is_empty() { format!("{member},{member}") } else { member }
            };
            format!("{{{}}}", join(members.iter().map(|(name, value)| text(members, name, value)).collect()))
        }
        Value::Array(elements) => {
            let text = |(at, value): (usize, &Value)| {
                let inner = if at.to_string() == *step { repeat_member(value, rest) } else { value.to_string() };
                if at.to_string() == *step && rest.is_empty() { format!("{inner},{inner}") } else { inner }
            };
            format!("[{}]", join(elements.iter().enumerate().map(text).collect()))
        }
        other => other.to_string(),
    }
}

#[test]
fn members_in_another_order_are_the_same_request() {
    let site = Site::new(Algorithm::Es256);
    let text = String::from_utf8(body()).unwrap();
    let reordered = serde_json::from_str::<Value>(&text).unwrap().to_string(); // by name
    assert_ne!(text, reordered);
    site.judge_raw("files.move", reordered.as_bytes(), Some(&signed(&site)), &site.token(), USER).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Members of the signed texts dropped, repeated or moved, under the old signature.
    #[test]
    fn signed_claims_in_any_other_form_are_refused(order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(), dropped in 0..8_usize, how in 0..3) {
        let site = Site::new(Algorithm::Es256);
        let intent = signed(&site);
        let (head, rest) = intent.split_once('.').unwrap();
        let (claims, tail) = rest.split_once('.').unwrap();
        let claims = countersign_portal::jws::from_base64url(claims).unwrap();
        let Ok(Json::Object(mut members)) = Json::parse(&claims, 4) else { panic!("claims") };
        match how {
            0 => drop(members.remove(dropped)),
            1 => members.push(members[dropped].clone()),
            _ => members = order.iter().map(|at| members[*at].clone()).collect(),
        }
        let changed = serde_json::to_vec(&Json::Object(members)).unwrap();
        prop_assume!(changed != claims);
        let changed = format!("{head}.{}.{tail}", countersign_portal::jws::base64url(&changed));
        prop_assert!(site.judge_raw("files.move", &body(), Some(&changed), &site.token(), USER).is_err());
        prop_assert!(site.judge_raw("files.move", &body(), Some(&intent), &site.token(), USER).is_ok());
    }
}
