//! The table of calls: what a user may ask, where it stands in the provider's request, and what of it the user's
//! signature binds (protocol, section 4).
//!
//! A call that is in no table is refused: nothing passes by omission (V01). The standard rows are in `rows`.

mod allowed;
mod pointer;
mod rows;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::call::allowed::{Allowed, UnknownMember};
pub use crate::call::pointer::{Pointer, PointerRejection};
use crate::identity::{CallName, ProviderId};

/// A request's method, of those that UCloud uses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `DELETE`, with a JSON body.
    Delete,
}

impl Method {
    /// Reads the method of a request line; no other is served.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GET" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    /// The method as it stands in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call can do, at worst.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Looks.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Deletes, opens a shell, installs a key or starts a job.
    Danger,
}

/// How the call travels.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A request and its answer.
    #[default]
    Http,
    /// A message on a WebSocket.
    WebSocket,
}

/// Where the items of a request stand.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Items {
    /// `{"items": [ … ]}`
    Bulk,
    /// The body is the one item; an absent body is `{}`.
    Whole,
}

/// How a bound parameter's value is taken.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As it stands.
    #[default]
    Plain,
    /// Without the members, at every depth, that Go writes for "absent".
    Tree,
    /// An array of strings whose order means nothing: sorted.
    Set,
}

/// One bound parameter of a call.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSpec {
    /// Its name in the object that the user signs.
    pub name: String,
    /// Where it stands in an item of the provider's request; more than one place for spellings of different Cores.
    pub at: Vec<String>,
    /// How its value is taken.
    #[serde(default)]
    pub kind: Kind,
}

/// One row of the table, as it is written: in `calls.json` for the browser's signer, and by sites in `[[calls]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RowSpec {
    /// The user-side name, which the intent's `call` must equal.
    pub call: CallName,
    /// The method at the provider.
    pub method: Method,
    /// The path at the provider; `{p}` stands for the provider's id.
    pub path: String,
    /// How it travels.
    #[serde(default)]
    pub transport: Transport,
    /// Where the items stand.
    pub items: Items,
    /// What the signature binds.
    pub bound: Vec<BoundSpec>,
    /// What Core adds to an item: the subtrees beneath these pointers are let through and never trusted.
    #[serde(default)]
    pub adds: Vec<String>,
    /// Where an item shows the project, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Where an item repeats the username, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What it can do, at worst.
    pub class: Class,
}

/// Why a row is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowRejection {
    /// A pointer of the row is malformed.
    #[error("call {call}: {pointer:?} is not a JSON pointer: {why}")]
    Pointer {
        /// The row's call.
        call: CallName,
        /// What was written.
        pointer: String,
        /// What is wrong with it.
        why: PointerRejection,
    },
    /// A bound parameter without a place, or two of the same name.
    #[error("call {call}: the bound parameter {name:?} has no place, or stands twice")]
    Bound {
        /// The row's call.
        call: CallName,
        /// The parameter.
        name: String,
    },
    /// The path is not below `/ucloud/`.
    #[error("call {call}: the path must begin with /ucloud/ and have no empty or dotted segments")]
    Path {
        /// The row's call.
        call: CallName,
    },
    /// Two rows of the same call, or of the same method and path.
    #[error("call {call}: another row has the same call, or the same method and path")]
    Twice {
        /// The later row's call.
        call: CallName,
    },
}

/// A bound parameter, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name in the object that the user signs.
    pub name: String,
    /// Where it may stand.
    pub at: Vec<Pointer>,
    /// How its value is taken.
    pub kind: Kind,
}

/// A row, ready to judge with.
#[derive(Clone, Debug)]
pub struct Row {
    spec: RowSpec,
    path: String,
    bound: Vec<Bound>,
    allowed: Allowed,
    project: Option<Pointer>,
    username: Option<Pointer>,
}

impl Row {
    fn new(spec: RowSpec, provider: &ProviderId) -> Result<Self, RowRejection> {
        let call = spec.call.clone();
        let pointer = |text: &String| {
            Pointer::parse(text).map_err(|why| RowRejection::Pointer { call: call.clone(), pointer: text.clone(), why })
        };
        let path = spec.path.replace("{p}", provider.as_str());
        if !path.starts_with("/ucloud/") || path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(RowRejection::Path { call });
        }
        let mut bound: Vec<Bound> = Vec::with_capacity(spec.bound.len());
        for BoundSpec { name, at, kind } in &spec.bound {
            if at.is_empty() || bound.iter().any(|earlier| earlier.name == *name) {
                return Err(RowRejection::Bound { call, name: name.clone() });
            }
            let at = at.iter().map(pointer).collect::<Result<_, _>>()?;
            bound.push(Bound { name: name.clone(), at, kind: *kind });
        }
        let adds = spec.adds.iter().map(pointer).collect::<Result<Vec<_>, _>>()?;
        let project = spec.project.as_ref().map(pointer).transpose()?;
        let username = spec.username.as_ref().map(pointer).transpose()?;
        let allowed =
            Allowed::beneath(bound.iter().flat_map(|bound| &bound.at).chain(&adds).chain(&project).chain(&username));
        Ok(Self { spec, path, bound, allowed, project, username })
    }

    /// The user-side name.
    #[must_use]
    pub const fn call(&self) -> &CallName {
        &self.spec.call
    }

    /// The method at the provider.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.spec.method
    }

    /// The path at the provider, in full.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the items stand.
    #[must_use]
    pub const fn items(&self) -> Items {
        self.spec.items
    }

    /// What it can do, at worst.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.spec.class
    }

    /// How it travels.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.spec.transport
    }

    /// The bound parameters.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What an item may contain.
    #[must_use]
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Where an item shows the project.
    #[must_use]
    pub const fn project(&self) -> Option<&Pointer> {
        self.project.as_ref()
    }

    /// Where an item repeats the username.
    #[must_use]
    pub const fn username(&self) -> Option<&Pointer> {
        self.username.as_ref()
    }

    /// The row as it is written.
    #[must_use]
    pub const fn spec(&self) -> &RowSpec {
        &self.spec
    }
}

/// What Core asks on its own account, with its token alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ServiceCall {
    /// A user wants to connect.
    Connect,
    /// Starts a user's instance and does nothing else.
    Init,
    /// What the provider supports.
    RetrieveManifest,
    /// A user has disconnected.
    Unlinked,
    /// What products there are: one path for each kind of resource.
    RetrieveProducts(ResourceKind),
}

/// The kinds of resource that have products.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResourceKind {
    /// Drives.
    FileCollections,
    /// Files, which share the drives' products.
    Files,
    /// Jobs.
    Jobs,
    /// Public links.
    Ingresses,
    /// Public addresses.
    NetworkIps,
    /// Licences.
    Licenses,
    /// Private networks.
    PrivateNetworks,
    /// Shares.
    Shares,
}

impl ServiceCall {
    /// Every service call, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 12] = [
        (Self::Connect, Method::Post, "integration/connect"),
        (Self::Init, Method::Post, "integration/init"),
        (Self::RetrieveManifest, Method::Get, "integration/retrieveManifest"),
        (Self::Unlinked, Method::Post, "integration/unlinked"),
        (Self::RetrieveProducts(ResourceKind::FileCollections), Method::Get, "files/collections/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Files), Method::Get, "files/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Jobs), Method::Get, "jobs/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Ingresses), Method::Get, "ingresses/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::NetworkIps), Method::Get, "networkips/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Licenses), Method::Get, "licenses/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::PrivateNetworks), Method::Get, "private-networks/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Shares), Method::Get, "shares/retrieveProducts"),
    ];
}

/// What anybody may ask: the connection page, its endpoints, and what the signer needs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PublicCall {
    /// The connection page.
    ConnectPage,
    /// The page that shows a user's keys.
    KeysPage,
    /// The signer's window.
    SignerPage,
    /// What a ticket is for.
    ConnectDescribe,
    /// Offers a key.
    ConnectOffer,
    /// How far a connection has come.
    ConnectStatus,
    /// Tries a new key.
    ConnectProbe,
    /// Leaves an intent for a request that will come through Core.
    DepositIntent,
    /// This table, for the signer.
    Calls,
}

impl PublicCall {
    /// Every public call, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 9] = [
        (Self::ConnectPage, Method::Get, "connect"),
        (Self::KeysPage, Method::Get, "keys"),
        (Self::SignerPage, Method::Get, "signer"),
        (Self::ConnectDescribe, Method::Post, "connect/describe"),
        (Self::ConnectOffer, Method::Post, "connect/offer"),
        (Self::ConnectStatus, Method::Post, "connect/status"),
        (Self::ConnectProbe, Method::Post, "connect/probe"),
        (Self::DepositIntent, Method::Post, "intents"),
        (Self::Calls, Method::Get, "intent/calls.json"),
    ];
}

/// Where a request belongs.
#[derive(Clone, Debug)]
pub enum Route {
    /// Anybody may ask.
    Public(PublicCall),
    /// Core may ask, or a user through Core.
    Private(Lane),
}

/// The two lanes behind Core's token.
#[derive(Clone, Debug)]
pub enum Lane {
    /// Core itself.
    Service(ServiceCall),
    /// A user, by an intent.
    User(Arc<Row>),
}

/// Every call that is served.
#[derive(Debug)]
pub struct CallTable {
    routes: HashMap<Method, HashMap<Box<str>, Route>>,
    rows: Vec<Arc<Row>>,
}

impl CallTable {
    /// The standard rows for a provider, and the site's own after them.
    ///
    /// # Errors
    /// If a row is malformed, or says again what another says.
    pub fn new(provider: &ProviderId, site_rows: &[RowSpec]) -> Result<Self, RowRejection> {
        let mut table = Self { routes: HashMap::new(), rows: Vec::new() };
        for (call, method, path) in PublicCall::ALL {
            table.add(method, &format!("/ucloud/{provider}/{path}"), Route::Public(call));
        }
        for (call, method, path) in ServiceCall::ALL {
            table.add(method, &format!("/ucloud/{provider}/{path}"), Route::Private(Lane::Service(call)));
        }
        for spec in rows::standard().into_iter().chain(site_rows.iter().cloned()) {
            let row = Arc::new(Row::new(spec, provider)?);
            let is_known = table.rows.iter().any(|earlier| earlier.call() == row.call());
            let is_added = row.transport() == Transport::WebSocket
                || table.add(row.method(), row.path(), Route::Private(Lane::User(Arc::clone(&row))));
            if is_known || !is_added {
                return Err(RowRejection::Twice { call: row.call().clone() });
            }
            table.rows.push(row);
        }
        Ok(table)
    }

    /// Where a request of that method and path belongs; `None` if nothing of the kind is served. Slashes are folded
    /// as UCloud's own servers fold them: `//` is `/`, and one at the end is none.
    #[must_use]
    pub fn route(&self, method: Method, path: &str) -> Option<&Route> {
        self.routes.get(&method)?.get(fold_slashes(path).as_ref())
    }

    /// The user calls, in the table's order.
    #[must_use]
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }

    /// The row of that call.
    #[must_use]
    pub fn row(&self, call: &str) -> Option<&Arc<Row>> {
        self.rows.iter().find(|row| row.call().as_str() == call)
    }

    /// The rows as they are written, for people and for the signer.
    pub fn specs(&self) -> impl Iterator<Item = &RowSpec> {
        self.rows.iter().map(|row| row.spec())
    }

    fn add(&mut self, method: Method, path: &str, route: Route) -> bool {
        let of_method = self.routes.entry(method).or_default();
        let is_free = !of_method.contains_key(path);
        if is_free {
            of_method.insert(path.into(), route);
        }
        is_free
    }
}

fn fold_slashes(path: &str) -> Cow<'_, str> {
    let mut folded = Cow::Borrowed(path);
    while folded.contains("//") {
        folded = Cow::Owned(folded.replace("//", "/"));
    }
    match folded {
        Cow::Borrowed(path) => Cow::Borrowed(path.strip_suffix('/').unwrap_or(path)),
        Cow::Owned(path) => Cow::Owned(path.strip_suffix('/').unwrap_or(&path).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table() -> CallTable {
        CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
    }

    #[test]
    fn v25_calls_are_found_by_an_exact_table() {
        let table = table();
        let check = |method: Method, path: &str, want: Option<&str>| {
            let got = match table.route(method, path) {
                Some(Route::Private(Lane::User(row))) => Some(row.call().as_str()),
                Some(Route::Private(Lane::Service(_))) => Some("service"),
                Some(Route::Public(_)) => Some("public"),
                None => None,
            };
            assert_eq!(got, want, "{method:?} {path}");
        };
        check(Method::Post, "/ucloud/hpc/files/move", Some("files.move"));
        check(Method::Post, "/ucloud//hpc/files///move/", Some("files.move"));
        check(Method::Get, "/ucloud/hpc/files/move", None);
        check(Method::Post, "/ucloud/hpc/files/move2", None);
        check(Method::Post, "/ucloud/hpc/files/Move", None);
        check(Method::Post, "/ucloud/other/files/move", None);
        check(Method::Post, "/ucloud/hpc/files/%6dove", None);
        check(Method::Post, "/ucloud/hpc/x/../files/move", None);
        check(Method::Post, "/ucloud/hpc/jobs", Some("jobs.create"));
        check(Method::Post, "/ucloud/hpc/jobs/", Some("jobs.create"));
        check(Method::Post, "/ucloud/hpc/integration/connect", Some("service"));
        check(Method::Get, "/ucloud/hpc/jobs/retrieveProducts", Some("service"));
        check(Method::Post, "/ucloud/hpc/intents", Some("public"));
        check(Method::Get, "/", None);
        check(Method::Get, "", None);
    }

    #[test]
    fn v01_every_user_call_binds_something_or_reads() {
        for row in table().rows() {
            assert!(
                !row.bound().is_empty() || row.class() == Class::Read,
                "{} changes something that no signature binds",
                row.call()
            );
        }
    }

    #[test]
    fn a_site_row_that_repeats_another_is_refused() {
        let provider = ProviderId::parse("hpc").unwrap();
        let mut row = rows::standard().remove(0);
        let twice = CallTable::new(&provider, std::slice::from_ref(&row)).unwrap_err();
        assert_eq!(twice, RowRejection::Twice { call: row.call.clone() });
        row.call = CallName::parse("site.own").unwrap();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
        row.path = "/ucloud/{p}/integration/init".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
        row.path = "/ucloud/{p}/site/own".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_ok());
        row.path = "/elsewhere".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
    }

    #[test]
    fn the_table_reads_back_as_it_is_written() {
        for spec in table().specs() {
            let text = serde_json::to_string(spec).unwrap();
            assert_eq!(&serde_json::from_str::<RowSpec>(&text).unwrap(), spec);
        }
    }
}
