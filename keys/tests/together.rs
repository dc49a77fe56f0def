//! Signatures that are checked together: which outcome belongs to which intent.
//!
//! That every altered intent has the same outcome together as alone is asserted wherever
//! [`crate::support::judging::Site`] judges one.

use std::sync::Arc;

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::intent::{
    IntentRejection, PresentedIntent, SignatureCheck, TOGETHER_MAX, Version1, check_together,
};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::request::INTENT_MAX;
use countersign_portal::core::Deed;
use countersign_portal::{BrowserKey, Intent};

use crate::support::judging::{self, AUDIENCE, NOW, Site, at};

/// A user with an Ed25519 key, and an intent that it signed.
struct User {
    username: Username,
    key: Arc<EnrolledKey>,
    browser: BrowserKey,
    text: String,
}

impl User {
    fn new(number: usize) -> Self {
        let name = format!("user#{number}");
        let (username, browser) = (Username::parse(&name).unwrap(), judging::key(Algorithm::EdDsa));
        let text = Self::sign(&name, &browser, "/1/a");
        let spki = VerificationKey::from_spki_der(&browser.public_spki().unwrap(), Algorithm::EdDsa).unwrap();
        let (kid, lifetime) = (KeyId::parse(browser.kid()).unwrap(), (at(NOW - 10), at(NOW + 10_000)));
        let record = KeyRecord::new(username.clone(), kid, &spki, Protocol::V2, lifetime, String::new());
        Self { username, key: Arc::new(EnrolledKey::from_record(&record).unwrap()), browser, text }
    }

    fn sign(name: &str, key: &BrowserKey, path: &str) -> String {
        Intent::of(AUDIENCE, name, &Deed::trash(path), NOW).unwrap().sign(key).unwrap()
    }

    fn check(&self, text: &str) -> SignatureCheck {
        presented(text).signature_check(&self.username, std::slice::from_ref(&self.key)).unwrap()
    }
}

fn presented(text: &str) -> PresentedIntent<'_> {
    PresentedIntent::parse(text, INTENT_MAX, Version1::Refused).unwrap()
}

/// The text with another signature of the same form.
fn altered(text: &str) -> String {
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{first}{}", &signature[1..])
}

#[test]
fn v15_a_bad_signature_is_found_among_good_ones_wherever_it_stands() {
    let users: Vec<_> = (0..2 * TOGETHER_MAX + 3).map(User::new).collect();
    for bad in
        [vec![], vec![0], vec![TOGETHER_MAX - 1, TOGETHER_MAX], vec![2 * TOGETHER_MAX + 2], (0..users.len()).collect()]
    {
        let text = |at: usize| if bad.contains(&at) { altered(&users[at].text) } else { users[at].text.clone() };
        let checks = users.iter().enumerate().map(|(at, user)| user.check(&text(at))).collect();
        let passed: Vec<_> = check_together(checks).iter().map(Option::is_some).collect();
        let want: Vec<_> = (0..users.len()).map(|at| !bad.contains(&at)).collect();
        assert_eq!(passed, want, "{bad:?}");
    }
}

#[test]
fn v15_two_bad_signatures_do_not_make_up_for_each_other() {
    // Their sum is right: R and S of one are off by what R and S of the other are off by.
    let users: Vec<_> = (0..TOGETHER_MAX).map(User::new).collect();
    let parts = |text: &str| text.rsplit_once('.').map(|(signed, signature)| (signed.to_owned(), signature.to_owned()));
    let ((one, of_one), (two, of_two)) = (parts(&users[0].text).unwrap(), parts(&users[1].text).unwrap());
    let mut checks: Vec<_> = users.iter().map(|user| user.check(&user.text)).collect();
    checks[0] = users[0].check(&format!("{one}.{of_two}"));
    checks[1] = users[1].check(&format!("{two}.{of_one}"));
    let passed: Vec<_> = check_together(checks).iter().map(Option::is_some).collect();
    assert_eq!((&passed[..2], passed[2..].iter().all(|passed| *passed)), (&[false, false][..], true));
}

#[test]
fn v17_the_evidence_of_one_intent_serves_no_other() {
    let (alice, bob) = (User::new(1), User::new(2));
    let another = User::sign(alice.username.as_str(), &alice.browser, "/1/b");
    let checks = vec![alice.check(&alice.text), bob.check(&bob.text), alice.check(&another)];
    let outcomes = check_together(checks);
    let terms = &Site::new(Algorithm::EdDsa).policy.terms;
    let verify = |user: &User, text: &str, outcome: usize| {
        let keys = std::slice::from_ref(&user.key);
        presented(text).verify_checked(outcomes[outcome].as_ref(), &user.username, keys, terms, at(NOW)).map(drop)
    };
    assert_eq!(verify(&alice, &alice.text, 0), Ok(()));
    assert_eq!(verify(&bob, &bob.text, 1), Ok(()));
    assert_eq!(verify(&alice, &another, 2), Ok(()));
    for (user, text, outcome) in
        [(&alice, &alice.text, 1), (&alice, &alice.text, 2), (&bob, &bob.text, 0), (&alice, &another, 0)]
    {
        assert_eq!(verify(user, text, outcome), Err(IntentRejection::Signature), "{outcome}: {text}");
    }
}

#[test]
fn v16_an_unknown_key_is_checked_against_a_decoy_and_never_passes() {
    let (alice, bob) = (User::new(1), User::new(2));
    let unknown = presented(&bob.text).signature_check(&alice.username, std::slice::from_ref(&alice.key)).unwrap();
    let mut checks: Vec<_> = (0..5).map(|_| alice.check(&alice.text)).collect();
    checks.push(unknown);
    let passed: Vec<_> = check_together(checks).iter().map(Option::is_some).collect();
    assert_eq!(passed, [true, true, true, true, true, false]);
}

#[test]
fn only_ed25519_is_checked_together() {
    let site = Site::new(Algorithm::Es256);
    let text = Intent::of(AUDIENCE, judging::USER, &Deed::trash("/1/a"), NOW).unwrap().sign(&site.key).unwrap();
    assert!(presented(&text).signature_check(&Username::parse(judging::USER).unwrap(), &[]).is_none());
}
