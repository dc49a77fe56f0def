//! The user side of the table, interpreted: what a user's request to UCloud makes Core send.
//! Compared with what the real Core sent (`vectors/real.json`), and with cases by hand
//! (`vectors/user-side.json`). `tests/web/user-side.test.mjs` reads the same files.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::bind::Items;
use countersign_keys::call::{
    CallTable, Effect, Found, InProject, ListChange, Method, Place, Pointer, REVISION, Row, RowRejection, RowSpec,
    Sender, Signed, Split, Subject, Take, Transport, UserSide,
};
use countersign_keys::identity::ProviderId;
use countersign_keys::jws::sha256;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct ByHand {
    /// By kind and id: the provider, and the project of the owner.
    owners: HashMap<String, HashMap<String, (String, Option<String>)>>,
    providers: Vec<String>,
    lists: HashMap<String, Vec<Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    what: String,
    request: Sent,
    #[serde(default)]
    makes: Option<Vec<Makes>>,
    #[serde(default)]
    refused: bool,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    transport: Transport,
    method: Method,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    body: Value,
}

/// A request of Core to a provider. `items` has the canonical text of the bound parameters of each.
#[derive(Debug, Deserialize, Eq, PartialEq)]
struct Makes {
    provider: String,
    project: Option<String>,
    call: String,
    items: Vec<String>,
}

#[derive(Deserialize)]
struct Real {
    fixtures: Vec<Fixture>,
    unsent: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Fixture {
    call: String,
    asked: Asked,
    digests: Vec<String>,
}

#[derive(Deserialize)]
struct Asked {
    method: Method,
    path: String,
    body: Value,
}

/// What a signer knows beside the table.
trait Known {
    fn owner(&self, kind: &str, id: &str) -> Option<(String, Option<String>)>;
    fn providers(&self) -> Vec<String>;
    fn list(&self, path: &str) -> Vec<Value>;
}

impl Known for ByHand {
    fn owner(&self, kind: &str, id: &str) -> Option<(String, Option<String>)> {
        self.owners.get(kind)?.get(id).cloned()
    }

    fn providers(&self) -> Vec<String> {
        self.providers.clone()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        self.lists[path].clone()
    }
}

/// Everything is the one provider's, outside of projects.
struct OneProvider;

impl Known for OneProvider {
    fn owner(&self, _: &str, _: &str) -> Option<(String, Option<String>)> {
        Some(("hpc".to_owned(), None))
    }

    fn providers(&self) -> Vec<String> {
        vec!["hpc".to_owned()]
    }

    fn list(&self, _: &str) -> Vec<Value> {
        vec![json!({"id": "1", "specification": {"title": "key 1", "key": "ssh-ed25519 AAAAC3Nz b"}})]
    }
}

fn table() -> CallTable {
    CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
}

/// The row and side of a request; `None` if the table does not have it.
fn find<'t>(table: &'t CallTable, sent: &Sent) -> Option<(&'t Row, &'t UserSide)> {
    let path = path_of(&sent.url);
    let message = sent.body.get("call").and_then(Value::as_str).filter(|_| sent.transport == Transport::WebSocket);
    let is_meant = |side: &&UserSide| {
        (side.transport, side.method, side.path.as_str(), side.message.as_deref())
            == (sent.transport, sent.method, path.as_str(), message)
    };
    table.rows().iter().find_map(|row| Some((row.as_ref(), row.spec().user.iter().find(is_meant)?)))
}

fn path_of(url: &str) -> String {
    let after_host = url.split_once("://").map_or(url, |(_, rest)| &rest[rest.find('/').unwrap()..]);
    after_host.split('?').next().unwrap().to_owned()
}

/// `None` if the request cannot be signed.
fn interpreted(row: &Row, signed: &Signed, sent: &Sent, known: &dyn Known) -> Option<Vec<Makes>> {
    let items = items_of(signed, sent)?;
    let acting = match sent.transport {
        Transport::Http => sent.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("project")).map(|(_, v)| v),
        Transport::WebSocket => None,
    };
    let mut made: Vec<(Makes, Vec<Value>)> = Vec::new();
    let project = |item: &Value| match &signed.project {
        InProject::Acting => Some(acting.cloned()),
        InProject::None => Some(None),
        InProject::Owner(found) => owner_of(found, item, known).map(|(_, project)| project),
    };
    let request = |provider, project| Makes { provider, project, call: row.call().to_string(), items: Vec::new() };
    let (found, is_grouped) = match &signed.split {
        Split::Provider(found) => (found, true),
        Split::Item(found) => (found, false),
        Split::Every => {
            let of_all = known.providers().into_iter().map(|provider| {
                let mut makes = request(provider, project(&Value::Null)?);
                makes.items = texts(row, &signed.takes, &items, known);
                Some(makes)
            });
            return of_all.collect();
        }
    };
    for item in items {
        let provider = if found.by == Subject::Provider {
            // Core asks no provider if none is named.
            let Value::String(provider) = at(&item, &found.at) else { continue };
            provider
        } else {
            owner_of(found, &item, known)?.0
        };
        let project = project(&item)?;
        match made.iter_mut().find(|(makes, _)| is_grouped && makes.provider == provider) {
            Some((makes, _)) if makes.project != project => return None,
            Some((_, items)) => items.push(item),
            None => made.push((request(provider, project), vec![item])),
        }
    }
    let whole =
        made.into_iter().map(|(makes, items)| Makes { items: texts(row, &signed.takes, &items, known), ..makes });
    Some(whole.collect())
}

fn items_of(signed: &Signed, sent: &Sent) -> Option<Vec<Value>> {
    let items = match signed.place {
        Place::Items => sent.body.get("items")?.as_array()?.clone(),
        Place::Body => vec![sent.body.clone()],
        Place::Payload => vec![sent.body.get("payload")?.clone()],
        Place::Query => {
            let query = sent.url.split_once('?').map_or("", |(_, query)| query);
            let mut members = Map::new();
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                members.entry(decoded(name)).or_insert_with(|| decoded(value).into());
            }
            vec![Value::Object(members)]
        }
    };
    items.iter().all(Value::is_object).then_some(items)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn owner_of(found: &Found, item: &Value, known: &dyn Known) -> Option<(String, Option<String>)> {
    let value = at(item, &found.at);
    let value =
        value.as_str().map_or_else(|| value.as_u64().map(|number| number.to_string()), |text| Some(text.to_owned()))?;
    let kind = match found.by {
        Subject::Path | Subject::Drive => "drive",
        Subject::Job => "job",
        Subject::Resource => "resource",
        Subject::Task => "task",
        Subject::Token => "token",
        Subject::Provider => return None,
    };
    let id = if found.by == Subject::Path { value.strip_prefix('/')?.split('/').next()? } else { &value };
    known.owner(kind, id)
}

/// The canonical texts of the bound parameters of one provider request, by way of the body that the
/// provider receives.
fn texts(row: &Row, takes: &[Take], items: &[Value], known: &dyn Known) -> Vec<String> {
    let texts = params(takes, items, known).into_iter().map(|item| {
        let body = provider_body(row, &item);
        let read = Items::read(row, body.to_string().as_bytes()).map(|read| read.projections()[0].canonical());
        String::from_utf8(read.unwrap_or_else(|error| panic!("{}: {error}: {body}", row.call()))).unwrap()
    });
    texts.collect()
}

fn digests(row: &Row, takes: &[Take], items: &[Value], known: &dyn Known) -> Vec<String> {
    let digests = params(takes, items, known).into_iter().map(|item| {
        let body = provider_body(row, &item).to_string();
        URL_SAFE_NO_PAD.encode(Items::read(row, body.as_bytes()).unwrap().digests()[0])
    });
    digests.collect()
}

/// The bound parameters of each item by name.
fn params(takes: &[Take], items: &[Value], known: &dyn Known) -> Vec<Map<String, Value>> {
    if let [Take { name, from, list: Some(list), .. }] = takes {
        let said: Vec<Value> = items.iter().map(|item| at(item, from)).collect();
        let listed = known.list(&list.browse);
        let values: Vec<Value> = match &list.change {
            ListChange::Add => listed.iter().map(|one| at(one, &list.each)).chain(said).collect(),
            ListChange::Remove(key) => {
                listed.iter().filter(|one| !said.contains(&at(one, key))).map(|one| at(one, &list.each)).collect()
            }
        };
        return vec![Map::from_iter([(name.clone(), Value::Array(values))])];
    }
    let of_item = |item: &Value| {
        let taken = |take: &Take| {
            let pointers: Vec<Vec<&str>> =
                take.keeps.iter().map(|pointer| pointer.split('/').skip(1).collect()).collect();
            let value = at(item, &take.from);
            (take.name.clone(), if pointers.is_empty() { value } else { kept(&value, &pointers) })
        };
        takes.iter().map(taken).collect()
    };
    items.iter().map(of_item).collect()
}

fn kept(value: &Value, pointers: &[Vec<&str>]) -> Value {
    if pointers.iter().any(Vec::is_empty) {
        return value.clone();
    }
    let below = |name: &str| -> Vec<Vec<&str>> {
        let fits = pointers.iter().filter(|pointer| pointer[0] == name || pointer[0] == "*");
        fits.map(|pointer| pointer[1..].to_vec()).collect()
    };
    match value {
        Value::Array(elements) => elements.iter().map(|element| kept(element, &below("*"))).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !below(name).is_empty());
            Value::Object(kept.map(|(name, value)| (name.clone(), self::kept(value, &below(name)))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The body of the provider's request with these bound parameters and nothing else.
fn provider_body(row: &Row, params: &Map<String, Value>) -> Value {
    let mut item = json!({});
    for bound in &row.spec().bound {
        if let Some(value) = params.get(&bound.name) {
            let steps: Vec<&str> = bound.at[0].split('/').skip(1).collect();
            place(&mut item, &steps, value.clone());
        }
    }
    match row.items() {
        countersign_keys::call::Items::Bulk => json!({"items": [item]}),
        countersign_keys::call::Items::Whole => item,
    }
}

fn place(item: &mut Value, steps: &[&str], value: Value) {
    match (steps, value) {
        ([], value) => *item = value,
        (["*", rest @ ..], Value::Array(elements)) => {
            let placed = elements.into_iter().map(|element| {
                let mut each = json!({});
                place(&mut each, rest, element);
                each
            });
            *item = placed.collect();
        }
        ([name, rest @ ..], value) => place(&mut item[*name], rest, value),
    }
}

/// The value at a pointer; null if there is none.
fn at(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn c06_what_the_real_core_sends_follows_from_the_users_request() {
    let table = table();
    let Real { fixtures, unsent } = serde_json::from_str(include_str!("vectors/real.json")).unwrap();
    let mut compared = BTreeSet::new();
    for Fixture { call, asked: Asked { method, path, body }, digests: want } in fixtures {
        // Calls that Core's token alone admits have no row.
        let Some(row) = table.row(&call) else { continue };
        let transport = row.transport();
        let sent = Sent { transport, method, url: path, headers: HashMap::new(), body };
        let (found, side) = find(&table, &sent).unwrap_or_else(|| panic!("{call}: the user's request is not found"));
        assert_eq!(found.call(), row.call());
        let Effect::Signed(signed) = &side.effect else {
            assert!(unsent.contains(&call) || call == "files.transfer", "{call}");
            continue;
        };
        assert!(!unsent.contains(&call), "{call}");
        let made = interpreted(row, signed, &sent, &OneProvider).unwrap();
        // A fixture has one request of Core.
        assert_eq!(made.len(), 1, "{call}: {made:?}");
        assert_eq!(made[0].provider, "hpc", "{call}");
        assert_eq!(digests(row, &signed.takes, &items_of(signed, &sent).unwrap(), &OneProvider), want, "{call}");
        compared.insert(call);
    }
    let from_core = table.rows().iter().filter(|row| row.sender() == Sender::Core).map(|row| row.call().to_string());
    let left: BTreeSet<String> = from_core.filter(|call| !compared.contains(call)).collect();
    let expected: BTreeSet<String> = unsent.into_iter().chain(["files.transfer".to_owned()]).collect();
    assert_eq!(left, expected);
}

#[test]
fn a_users_request_makes_the_provider_requests_of_the_cases() {
    let table = table();
    let by_hand: ByHand = serde_json::from_str(include_str!("vectors/user-side.json")).unwrap();
    for Case { what, request, makes, refused } in &by_hand.cases {
        let made = match find(&table, request) {
            None => {
                assert!(makes.is_none() && !refused, "{what}: not found");
                continue;
            }
            Some((_, UserSide { effect: Effect::Core, .. })) => Some(Vec::new()),
            Some((_, UserSide { effect: Effect::Unsignable(_), .. })) => None,
            Some((row, UserSide { effect: Effect::Signed(signed), .. })) => interpreted(row, signed, request, &by_hand),
        };
        assert_eq!(&made, makes, "{what}");
        assert_eq!(made.is_none(), *refused, "{what}");
    }
}

#[test]
fn the_table_of_the_vectors_is_the_table() {
    let rows: Vec<RowSpec> = serde_json::from_str(include_str!("vectors/calls.json")).unwrap();
    let table = table();
    for (row, spec) in rows.iter().zip(table.specs()) {
        assert_eq!(row, spec, "{}: make the vectors anew (vectors/README.md)", spec.call);
    }
    assert_eq!(rows.len(), table.specs().count());
}

/// The digest of the standard rows at each revision. Extended, never changed: signers of an earlier
/// revision are in use.
const REVISIONS: [&str; 1] = ["ApxDuNTbJe_2JfcS5tJ7e10eYsFYy3QmYfomLPhw3y0"];

#[test]
fn rows_that_change_raise_the_revision() {
    let rows = URL_SAFE_NO_PAD.encode(sha256(&[include_bytes!("vectors/calls.json")]));
    assert_eq!(
        REVISIONS.last(),
        Some(&rows.as_str()),
        "raise REVISION (call.rs, packed-table.js), and add this digest"
    );
    assert_eq!(REVISIONS.len(), usize::try_from(REVISION).unwrap());
    let signer = include_str!("../../web/js/packed-table.js");
    assert!(signer.contains(&format!("export const REVISION = {};", REVISION)));
}

#[test]
fn a_row_with_an_unfit_user_side_is_refused() {
    let provider = ProviderId::parse("hpc").unwrap();
    let taken =
        |take: Value| json!({"signed": {"place": "items", "split": "every", "project": "none", "takes": [take]}});
    let signed = |place: &str| json!({"signed": {"place": place, "split": "every", "project": "none", "takes": []}});
    let good = || {
        json!({"method": "POST", "path": "/api/site/own",
               "effect": taken(json!({"name": "id", "from": "/id", "keeps": ["/a/*/b"]}))})
    };
    let made = |sides: Value| {
        let row = json!({
            "call": "site.own", "method": "POST", "path": "/ucloud/{p}/site/own", "items": "bulk", "class": "write",
            "bound": [{"name": "id", "at": ["/id"]}], "user": sides,
        });
        let row: RowSpec = serde_json::from_value(row).map_err(|_| None)?;
        CallTable::new(&provider, &[row]).map(|_| ()).map_err(Some)
    };
    assert_eq!(made(json!([good()])), Ok(()));
    let check = |member: &str, value: Value| {
        let mut side = good();
        side[member] = value;
        let refused = made(json!([side])).unwrap_err();
        assert!(matches!(refused, Some(RowRejection::User { .. })), "{member}: {refused:?}");
    };
    check("path", json!("/elsewhere"));
    check("path", json!("/api/a/../b"));
    check("message", json!("site.own"));
    check("method", json!("GET"));
    check("transport", json!("websocket"));
    check("effect", signed("query"));
    check("effect", signed("payload"));
    check("effect", taken(json!({"name": "other", "from": ""})));
    check("effect", taken(json!({"name": "id", "from": "id"})));
    check("effect", taken(json!({"name": "id", "from": "", "keeps": [""]})));
    check("effect", taken(json!({"name": "id", "from": "", "list": {"browse": "/x", "each": "/a", "change": "add"}})));
    check(
        "effect",
        taken(json!({"name": "id", "from": "", "list": {"browse": "/api/x", "each": "", "change": "add"}})),
    );
    // A request of one row is no other's, nor twice its own.
    let twice = |sides| assert!(matches!(made(sides), Err(Some(RowRejection::Twice { .. }))));
    twice(json!([good(), good()]));
    twice(json!([{"method": "POST", "path": "/api/files/move", "effect": "core"}]));
    // A direct call has none.
    let own = json!({
        "call": "site.own", "method": "POST", "path": "/ucloud/{p}/site/own", "from": "user", "to": "server",
        "items": "whole", "class": "write", "bound": [{"name": "id", "at": ["/id"]}], "user": [good()],
    });
    let own: RowSpec = serde_json::from_value(own).unwrap();
    assert!(matches!(CallTable::new(&provider, &[own]), Err(RowRejection::Sender { .. })));
    assert_eq!(made(json!([{"method": "POST", "path": "/api/x", "effect": "guessed"}])), Err(None));
    assert!(Pointer::parse("/a/*/b").is_ok());
}
