//! Replays a request from a JSON file, and prints the outcome of every stage.
//!
//! The file has the form of `tests/vectors/request.json`: provider, time, Core's key, the user's
//! enrolled keys, and the request itself. Nothing else decides. After a change to any value, the
//! stage that checks it refuses the request. A second copy of the request is always refused (P4).
//!
//! ```console
//! cargo run -p countersign-keys --example replay keys/tests/vectors/request.json
//! ```
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a program that reads a file and prints")]

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;

use countersign_keys::bind::Items;
use countersign_keys::call::{CallTable, Method, Route};
use countersign_keys::core_token::{Authenticated, CoreKey, CoreTokens};
use countersign_keys::freshness::Window;
use countersign_keys::identity::{Origin, ProviderId};
use countersign_keys::intent::{IntentRejection, PresentedIntent, Terms, Version1};
use countersign_keys::keyring::{EnrolledKey, KeyRecord};
use countersign_keys::policy::{Policy, StepUp};
use countersign_keys::replay::{ReplayError, ReplayLog, Use, UsedIntents};
use countersign_keys::request::{INTENT_MAX, Presented};
use countersign_keys::time::Timestamp;
use countersign_keys::verify::Rejection;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Fixture {
    provider: ProviderId,
    origin: Origin,
    now: Timestamp,
    core_key: String,
    keys: Vec<KeyRecord>,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Box<RawValue>,
}

/// What the operator has configured, and what a running process remembers.
struct Site {
    calls: CallTable,
    tokens: CoreTokens,
    keys: Vec<Arc<EnrolledKey>>,
    policy: Policy,
    log: MemoryLog,
}

struct MemoryLog(RefCell<UsedIntents>);

impl ReplayLog for MemoryLog {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.0.borrow_mut().insert(used, now)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: replay FILE")?;
    let _outcomes = replay(&std::fs::read_to_string(path)?)?; // printed
    Ok(())
}

/// Judges two copies of the request, as one process would.
pub(crate) fn replay(text: &str) -> Result<[Result<(), Rejection>; 2], Box<dyn Error>> {
    let fixture: Fixture = serde_json::from_str(text)?;
    let keys = fixture.keys.iter().map(|record| EnrolledKey::from_record(record).map(Arc::new));
    let window = Window { lifetime_max_s: 60, future_skew_s: 5 };
    let terms = Terms { audience: fixture.origin.clone(), window, version_1: Version1::Refused };
    let started = fixture.now.plus(-window.retention_max_s());
    let mut site = Site {
        calls: CallTable::new(&fixture.provider, &[])?,
        tokens: CoreTokens::new(CoreKey::parse(&fixture.core_key)?),
        keys: keys.collect::<Result<_, _>>()?,
        policy: Policy { terms, step_up: StepUp::default() },
        log: MemoryLog(RefCell::new(UsedIntents::new(window, 1000, started))),
    };
    Ok(["first copy", "second copy"].map(|copy| {
        println!("{copy}");
        let outcome = judge(&mut site, &fixture);
        match &outcome {
            Ok(()) => println!("  may be forwarded"),
            Err(rejection) => println!("  refused as {:?}: {rejection}", rejection.class()),
        }
        outcome
    }))
}

fn judge(site: &mut Site, fixture: &Fixture) -> Result<(), Rejection> {
    let Some(Route::Private(lane)) = site.calls.route(fixture.method, &fixture.path) else {
        return Err(Rejection::NoSuchCall);
    };
    let headers = fixture.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let presented = Presented::parse(lane, headers, INTENT_MAX)?;
    println!("  Presented      the head is well-formed and unambiguous");
    let Authenticated::User(request) = site.tokens.authenticate(presented, fixture.now)? else {
        return Err(Rejection::NoSuchCall);
    };
    println!("  Authenticated  Core sent it, and names {}", request.username());
    let terms = &site.policy.terms;
    let intent = request.intent().ok_or(IntentRejection::Missing)?;
    let intent = PresentedIntent::parse(intent, INTENT_MAX, terms.version_1)?;
    let intent = intent.verify(request.username(), &site.keys, terms, fixture.now)?;
    let row = Arc::clone(request.row());
    let intended = request.intend(intent)?;
    println!("  Intended       key {} of this user signed {}", intended.kid(), row.call());
    let bound = intended.bind(Items::read(&row, fixture.body.get().as_bytes())?)?;
    println!("  Bound          the parameters are those that the user signed");
    let authorised = site.policy.authorise(bound)?;
    println!("  Authorised     the policy allows it for {}", authorised.username());
    let permit = authorised.consume(&site.policy, &site.log, fixture.now)?;
    println!("  Permit         items: {}", permit.items().digests().len());
    Ok(())
}
