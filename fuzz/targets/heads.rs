//! The head of a request, and the names in it.
#![no_main]

use arbitrary::Arbitrary;
use countersign_keys::call::{CallTable, Lane, Method, Route, ServiceCall};
use countersign_keys::identity::{CallName, KeyId, Origin, ProviderId, Username};
use countersign_keys::request::{INTENT_MAX, Presented, PresentedDirect};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CALLS: LazyLock<CallTable> =
    LazyLock::new(|| CallTable::new(&ProviderId::parse("hpc").expect("an id"), &[]).expect("the standard table"));

/// The headers that matter are frequent, so that the fuzzer need not guess their names.
#[derive(Arbitrary, Debug)]
enum Name<'a> {
    Authorization,
    Username,
    Intent,
    Connection,
    Other(&'a str),
}

impl Name<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Authorization => "authorization",
            Self::Username => "ucloud-username",
            Self::Intent => "ucloud-signed-intent",
            Self::Connection => "connection",
            Self::Other(name) => name,
        }
    }
}

fuzz_target!(|head: Vec<(Name<'_>, &[u8])>| {
    let times = |wanted: &str| head.iter().filter(|(name, _)| name.text() == wanted).count();
    let Some(Route::Direct(row)) = CALLS.route(Method::Post, "/ucloud/hpc/keys/list") else { panic!("a direct row") };
    let own = PresentedDirect::parse(row, head.iter().map(|(name, value)| (name.text(), *value)));
    let has_cores = times("authorization") + times("ucloud-username") > 0;
    assert!(own.is_err() || !has_cores && times("ucloud-signed-intent") <= 1, "nothing of Core's");
    let row = CALLS.core_row("files.move").expect("a row");
    for lane in [Lane::User(row), Lane::Service(ServiceCall::ALL[0].0)] {
        let headers = head.iter().map(|(name, value)| (name.text(), *value));
        let taken = Presented::parse(&lane, headers, INTENT_MAX).is_ok();
        assert!(!taken || (times("authorization") == 1 && times("ucloud-signed-intent") <= 1), "V02");
    }
    for (_, value) in &head {
        if let Ok(username) = Username::from_header(value) {
            assert_eq!(Username::from_header(username.to_header().as_bytes()).expect("it reads back"), username);
        }
        let Ok(text) = std::str::from_utf8(value) else { continue };
        let _ = (Username::from_hint(text), Origin::parse(text), CallName::parse(text), ProviderId::parse(text));
        if let Ok(kid) = KeyId::parse(text) {
            assert_eq!(kid.to_string(), text);
        }
    }
});
