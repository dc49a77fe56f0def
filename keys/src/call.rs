//! The table of calls: each call a user may make, its place in the provider's request, and the
//! parameters that the user's signature binds (protocol, section 4).
//!
//! Refuses a call that has no row (V01). The standard rows are in `rows`.

mod allowed;
mod ask;
mod changes;
mod draft;
mod fixed;
mod method;
pub mod names;
mod pointer;
mod row;
mod rows;
mod user_side;
mod words;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

pub use crate::call::allowed::{Allowed, UnknownMember};
pub use crate::call::ask::{AskRule, Condition, is_hidden, is_startup, needs_asking};
pub use crate::call::changes::{Change, ChangeSpec, Collision, How};
use crate::call::fixed::proves_session_use;
pub use crate::call::fixed::{INTERFACE_PAGE, PublicCall, ResourceKind, ServiceCall, SessionEndpoint};
pub use crate::call::method::{Method, Transport};
pub use crate::call::pointer::{Pointer, PointerRejection};
pub use crate::call::row::{Bound, BoundSpec, Class, Destination, Items, Kind, Row, RowRejection, RowSpec, Sender};
pub use crate::call::user_side::{
    Effect, Found, InProject, ListChange, Listed, Place, Signed, Split, Subject, Take, Unsignable, UserSide,
    UserSideRejection,
};
pub use crate::call::words::{Words, WordsRejection};
use crate::identity::ProviderId;

/// The revision of the standard rows, one more with each change of a row. The browser extension
/// packs these rows and tells its user which side is older (`web/js/packed-table.js`).
pub const REVISION: u32 = 1;

/// A row for a request that Core sends for a user: it needs Core's token and the user's intent.
/// Only [`CallTable`] makes one.
#[derive(Clone, Debug)]
pub struct CoreRow(Arc<Row>);

/// A row for a request that the user's own browser sends: it needs the user's intent and refuses
/// Core's token. Only [`CallTable`] makes one.
#[derive(Clone, Debug)]
pub struct DirectRow {
    row: Arc<Row>,
    destination: Destination,
}

impl CoreRow {
    /// The row.
    #[must_use]
    pub const fn row(&self) -> &Arc<Row> {
        &self.0
    }
}

impl DirectRow {
    /// The row.
    #[must_use]
    pub const fn row(&self) -> &Arc<Row> {
        &self.row
    }

    /// The process that handles the call.
    #[must_use]
    pub const fn destination(&self) -> Destination {
        self.destination
    }
}

/// The lane of a request.
#[derive(Clone, Debug)]
pub enum Route {
    /// Anyone may call.
    Public(PublicCall),
    /// Core may call, for itself or for a user.
    Private(Lane),
    /// The user's own browser may call, without Core.
    Direct(DirectRow),
    /// The holder of a one-time token from the user's own instance may call, with the user's proof.
    Session(SessionEndpoint),
    /// A WebSocket. Each message on it is a call: see [`CallTable::socket_row`].
    Socket,
}

/// The two lanes behind Core's token.
#[derive(Clone, Debug)]
pub enum Lane {
    /// Core on its own account.
    Service(ServiceCall),
    /// A user, with an intent.
    User(CoreRow),
}

/// The number of calls in each class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Calls that only read.
    pub read: usize,
    /// Calls that make a reversible change.
    pub write: usize,
    /// Calls that are dangerous whatever their items.
    pub danger: usize,
    /// Calls of the first two classes in which an item can be dangerous.
    pub raised: usize,
}

/// Every call that is served.
#[derive(Debug)]
pub struct CallTable {
    routes: HashMap<Method, HashMap<Box<str>, Route>>,
    rows: Vec<Arc<Row>>,
    provider: ProviderId,
}

impl CallTable {
    /// Builds the table: the standard rows for a provider, then the site's own.
    ///
    /// # Errors
    /// A row is malformed, or repeats another row's call or place.
    pub fn new(provider: &ProviderId, site_rows: &[RowSpec]) -> Result<Self, RowRejection> {
        let mut table = Self { routes: HashMap::new(), rows: Vec::new(), provider: provider.clone() };
        for (endpoint, method, path) in SessionEndpoint::ALL {
            table.add(method, &format!("/ucloud/{provider}/{path}"), Route::Session(endpoint));
        }
        for (call, method, path) in PublicCall::ALL {
            table.add(method, &format!("/ucloud/{provider}/{path}"), Route::Public(call));
        }
        for (call, method, path) in ServiceCall::ALL {
            table.add(method, &format!("/ucloud/{provider}/{path}"), Route::Private(Lane::Service(call)));
        }
        for spec in rows::standard().into_iter().chain(site_rows.iter().cloned()) {
            let row = Arc::new(Row::new(spec, provider)?);
            let is_known = table.rows.iter().any(|earlier| earlier.call() == row.call());
            let is_added = match (row.transport(), row.spec().to) {
                // A proof has no separate path: it arrives with a token at the token's endpoint.
                (Transport::Http, Some(Destination::Session)) => proves_session_use(row.call()),
                (Transport::Http, None) => {
                    table.add(row.method(), row.path(), Route::Private(Lane::User(CoreRow(Arc::clone(&row)))))
                }
                (Transport::Http, Some(destination)) => {
                    table.add(row.method(), row.path(), Route::Direct(DirectRow { row: Arc::clone(&row), destination }))
                }
                (Transport::WebSocket, _) => table.add_socket(&row),
            };
            if is_known || !is_added || table.has_user_request(&row) {
                return Err(RowRejection::Twice { call: row.call().clone() });
            }
            table.rows.push(row);
        }
        Ok(table)
    }

    /// The route of a request; `None` if no row matches. Slashes are folded as UCloud's own servers
    /// fold them: `//` becomes `/`, and a trailing slash is dropped.
    #[must_use]
    pub fn route(&self, method: Method, path: &str) -> Option<&Route> {
        self.routes.get(&method)?.get(fold_slashes(path).as_ref())
    }

    /// The rows of the user calls, in order.
    #[must_use]
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }

    /// The row of that call.
    #[must_use]
    pub fn row(&self, call: &str) -> Option<&Arc<Row>> {
        self.rows.iter().find(|row| row.call().as_str() == call)
    }

    /// The row of that call if Core sends it. For messages, which have no separate path.
    #[must_use]
    pub fn core_row(&self, call: &str) -> Option<CoreRow> {
        self.row(call).filter(|row| row.sender() == Sender::Core).map(|row| CoreRow(Arc::clone(row)))
    }

    /// The row of a message on the WebSocket at that path, by the call name on the wire:
    /// `files.provider.{p}.streamingSearch` is `files.streamingSearch`.
    #[must_use]
    pub fn socket_row(&self, path: &str, wire_call: &str) -> Option<CoreRow> {
        let path = fold_slashes(path);
        let is_meant = |row: &&Arc<Row>| {
            row.transport() == Transport::WebSocket
                && row.path() == path
                && row.call().as_str().rsplit_once('.').is_some_and(|(prefix, last)| {
                    wire_call.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(".provider.")).is_some_and(
                        |rest| {
                            rest.strip_prefix(self.provider.as_str()).and_then(|rest| rest.strip_prefix('.'))
                                == Some(last)
                        },
                    )
                })
        };
        self.rows.iter().find(is_meant).map(|row| CoreRow(Arc::clone(row)))
    }

    /// The row of a session proof: the session's first request, or a later one.
    #[must_use]
    pub(crate) fn session_row(&self, call: &str) -> Option<&Arc<Row>> {
        self.row(call).filter(|row| row.spec().to == Some(Destination::Session))
    }

    /// Counts the calls of each class, and those in which an item can be raised to danger.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows {
            let of_class = match row.least_class() {
                Class::Read => &mut tally.read,
                Class::Write => &mut tally.write,
                Class::Danger => &mut tally.danger,
            };
            *of_class += 1;
            tally.raised += usize::from(row.may_be_raised());
        }
        tally
    }

    /// The specifications of the rows, for display and for the signer.
    pub fn specs(&self) -> impl Iterator<Item = &RowSpec> {
        self.rows.iter().map(|row| row.spec())
    }

    /// Several calls may share a WebSocket path. No plain request may have the same path.
    fn add_socket(&mut self, row: &Row) -> bool {
        let of_method = self.routes.entry(row.method()).or_default();
        matches!(of_method.entry(row.path().into()).or_insert(Route::Socket), Route::Socket)
    }

    /// Whether an earlier row, or the row itself, has one of its user's requests twice.
    fn has_user_request(&self, row: &Row) -> bool {
        let sides = &row.spec().user;
        let mut earlier = self.rows.iter().flat_map(|row| &row.spec().user);
        let is_earlier = earlier.any(|known| sides.iter().any(|side| side.is_same_request(known)));
        let is_twice =
            |(at, side): (usize, &UserSide)| sides.iter().skip(at + 1).any(|other| side.is_same_request(other));
        is_earlier || sides.iter().enumerate().any(is_twice)
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
    use super::*;
    use crate::identity::CallName;

    fn table() -> CallTable {
        CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
    }

    #[test]
    fn v25_calls_are_found_by_an_exact_table() {
        let table = table();
        let check = |method: Method, path: &str, want: Option<&str>| {
            let got = match table.route(method, path) {
                Some(Route::Private(Lane::User(row))) => Some(row.row().call().as_str()),
                Some(Route::Private(Lane::Service(_))) => Some("service"),
                Some(Route::Direct(_)) => Some("direct"),
                Some(Route::Public(_)) => Some("public"),
                Some(Route::Session(_)) => Some("session"),
                Some(Route::Socket) => Some("socket"),
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
        check(Method::Post, "/ucloud/hpc/keys/list", Some("direct"));
        check(Method::Get, "/ucloud/hpc/keys/list", None);
        check(Method::Get, "/ucloud/hpc/download", Some("session"));
        check(Method::Post, "/ucloud/hpc/chunked/upload", Some("session"));
        check(Method::Post, "/ucloud/hpc/download", None);
        check(Method::Get, "/ucloud/hpc/files", Some("socket"));
        check(Method::Get, "/ucloud/jobs.provider.hpc/websocket", Some("socket"));
        check(Method::Post, "/ucloud/hpc/session/open", None);
        check(Method::Get, "/", None);
        check(Method::Get, "", None);
    }

    #[test]
    fn a_message_is_a_call_by_its_name_on_the_wire_and_at_its_own_socket() {
        let table = table();
        let check = |path: &str, wire: &str, want: Option<&str>| {
            let row = table.socket_row(path, wire);
            assert_eq!(row.as_ref().map(|row| row.row().call().as_str()), want, "{path} {wire}");
        };
        let (files, jobs) = ("/ucloud/hpc/files", "/ucloud/jobs.provider.hpc/websocket");
        check(files, "files.provider.hpc.streamingSearch", Some("files.streamingSearch"));
        check(jobs, "jobs.provider.hpc.follow", Some("jobs.follow"));
        check("/ucloud//hpc/files/", "files.provider.hpc.streamingSearch", Some("files.streamingSearch"));
        check(jobs, "files.provider.hpc.streamingSearch", None);
        check(files, "files.provider.other.streamingSearch", None);
        check(files, "files.provider.hpc.browse", None);
        check(files, "files.streamingSearch", None);
        check(files, "files.provider.hpc.xstreamingSearch", None);
        check(files, "", None);
    }

    #[test]
    fn v01_every_user_call_binds_something_or_reads() {
        for row in table().rows() {
            assert!(
                !row.bound().is_empty() || row.spec().class == Class::Read,
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
        row.user.clear(); // users' requests are looked at too: see below
        row.path = "/ucloud/{p}/integration/init".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
        row.path = "/ucloud/{p}/site/own".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_ok());
        row.user = rows::standard().remove(0).user;
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
        row.user.clear();
        row.path = "/elsewhere".to_owned();
        assert!(CallTable::new(&provider, std::slice::from_ref(&row)).is_err());
    }

    #[test]
    fn a_row_says_of_its_sender_what_there_is_to_say() {
        let provider = ProviderId::parse("hpc").unwrap();
        let standard = rows::standard();
        let own =
            standard.iter().find(|row| row.from == Sender::User && row.to == Some(Destination::Instance)).unwrap();
        let check = |alter: &dyn Fn(&mut RowSpec), want: bool| {
            let mut row = own.clone();
            row.call = CallName::parse("site.own").unwrap();
            row.path = "/ucloud/{p}/site/own".to_owned();
            alter(&mut row);
            let made = CallTable::new(&provider, std::slice::from_ref(&row));
            assert_eq!(made.is_ok(), want, "{row:?}");
        };
        check(&|_| {}, true);
        check(&|row| row.to = Some(Destination::Server), true);
        check(&|row| row.to = Some(Destination::Session), false);
        check(&|row| row.to = None, false);
        check(&|row| row.from = Sender::Core, false);
        check(&|row| (row.from, row.to) = (Sender::Core, None), true);
        check(&|row| row.method = Method::Get, false);
        check(&|row| row.transport = Transport::WebSocket, false);
        check(&|row| row.items = Items::Bulk, false);
        check(&|row| row.adds = vec!["/x".to_owned()], false);
        check(&|row| row.project = Some("/x".to_owned()), false);
        check(&|row| row.username = Some("/x".to_owned()), false);
    }

    #[test]
    fn the_table_reads_back_as_it_is_written() {
        for spec in table().specs() {
            let text = serde_json::to_string(spec).unwrap();
            assert_eq!(&serde_json::from_str::<RowSpec>(&text).unwrap(), spec);
        }
    }

    #[test]
    fn three_methods_are_served_each_by_its_one_name() {
        for (method, name) in [(Method::Get, "GET"), (Method::Post, "POST"), (Method::Delete, "DELETE")] {
            assert_eq!((Method::parse(name), method.as_str()), (Some(method), name));
        }
        assert!(
            ["get", "HEAD", "PUT", "PATCH", "OPTIONS", "CONNECT", ""].iter().all(|name| Method::parse(name).is_none())
        );
    }
}
