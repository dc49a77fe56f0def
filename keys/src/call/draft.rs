//! Builds the standard rows. A row that Core sends is complete only when its user side is said: a
//! [`Draft`] is no row, so a row without that decision does not compile.

use crate::call::user_side::{
    Effect, Found, InProject, ListChange, Listed, Place, Signed, Split, Subject, Take, Unsignable, UserSide,
};
use crate::call::{
    AskRule, BoundSpec, ChangeSpec, Class, Condition, Destination, How, Items, Kind, Method, RowSpec, Sender, Transport,
};
use crate::identity::CallName;

/// A row without its user side.
pub(super) struct Draft(RowSpec);

/// A user side without its bound parameters: it takes them from the row.
pub(super) struct Request {
    method: Method,
    path: String,
    message: Option<String>,
    place: Place,
    split: Split,
    project: InProject,
    takes: Vec<Take>,
}

pub(super) fn row(call: &str, method: Method, path: &str, items: Items, class: Class) -> Draft {
    Draft(RowSpec {
        call: call_name(call),
        method,
        path: format!("/ucloud/{{p}}/{path}"),
        from: Sender::Core,
        to: None,
        transport: Transport::Http,
        items,
        bound: Vec::new(),
        adds: Vec::new(),
        project: None,
        username: None,
        class,
        ask_if: Vec::new(),
        words: None,
        user: Vec::new(),
    })
}

/// The names above are constants, and a test parses each of them.
#[allow(clippy::expect_used, reason = "a constant of this file, not input")]
fn call_name(name: &str) -> CallName {
    CallName::parse(name).expect("a standard call's name is well-formed")
}

impl Draft {
    pub(super) fn bind(self, name: &str, at: &str) -> Self {
        self.bind_at(name, &[at], Kind::Plain)
    }

    /// Binds a parameter that is left out of what is signed if it is absent.
    pub(super) fn optional(mut self, name: &str, at: &str) -> Self {
        let (name, at) = (name.to_owned(), vec![at.to_owned()]);
        self.0.bound.push(BoundSpec { name, at, kind: Kind::Plain, changes: Vec::new(), optional: true });
        self
    }

    pub(super) fn bind_tree(self, name: &str, at: &str) -> Self {
        self.bind_at(name, &[at], Kind::Tree)
    }

    pub(super) fn bind_at(mut self, name: &str, at: &[&str], kind: Kind) -> Self {
        let at = at.iter().map(|&pointer| pointer.to_owned()).collect();
        self.0.bound.push(BoundSpec { name: name.to_owned(), at, kind, changes: Vec::new(), optional: false });
        self
    }

    /// Adds a change that Core makes to the last bound parameter.
    pub(super) fn changed(mut self, at: &str, how: How) -> Self {
        if let Some(bound) = self.0.bound.last_mut() {
            bound.changes.push(ChangeSpec { at: at.to_owned(), how });
        }
        self
    }

    /// The changes for a value of a job's parameters or resources.
    pub(super) fn changed_value(self, at: &str) -> Self {
        self.changed(&format!("{at}/readOnly"), How::Dropped)
            .changed(&format!("{at}/hostname"), How::Trimmed)
            .changed(&format!("{at}/server"), How::Trimmed)
            .changed(&format!("{at}/token"), How::Trimmed)
            .changed(&format!("{at}/tokenType"), How::Trimmed)
    }

    pub(super) fn adds(mut self, pointers: &[&str]) -> Self {
        // A bound place is not added.
        let is_bound = |pointer: &&&str| !self.0.bound.iter().any(|bound| bound.at.iter().any(|at| at == **pointer));
        let added: Vec<String> = pointers.iter().filter(is_bound).map(|&pointer| pointer.to_owned()).collect();
        self.0.adds.extend(added);
        self
    }

    pub(super) fn project(mut self, pointer: &str) -> Self {
        self.0.project = Some(pointer.to_owned());
        self
    }

    /// An item is dangerous if this path is hidden, or if programs start from it.
    pub(super) fn ask_at(self, path: &str) -> Self {
        self.ask(path, Condition::Hidden).ask(path, Condition::Startup)
    }

    /// An item is dangerous if it replaces an existing file or folder.
    pub(super) fn ask_if_it_replaces(self) -> Self {
        self.ask("conflictPolicy", Condition::Replaces)
    }

    pub(super) fn ask(mut self, parameter: &str, when: Condition) -> Self {
        self.0.ask_if.push(AskRule { parameter: parameter.to_owned(), when });
        self
    }

    pub(super) fn username(mut self, pointer: &str) -> Self {
        self.0.username = Some(pointer.to_owned());
        self
    }

    pub(super) fn over_websocket(mut self) -> Self {
        self.0.transport = Transport::WebSocket;
        self
    }

    pub(super) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.0.path);
        self
    }
}

/// One provider request for each provider that these values name.
pub(super) fn by_provider(by: Subject, at: &str) -> Split {
    Split::Provider(found(by, at))
}

/// One provider request for each item.
pub(super) fn by_item(by: Subject, at: &str) -> Split {
    Split::Item(found(by, at))
}

pub(super) fn found(by: Subject, at: &str) -> Found {
    Found { by, at: at.to_owned() }
}

/// A request with `{"items": [ … ]}`.
pub(super) fn items(method: Method, path: &str, split: Split) -> Request {
    Request::new(method, path, Place::Items, split)
}

/// A `POST` whose body is the only item.
pub(super) fn body(path: &str, split: Split) -> Request {
    Request::new(Method::Post, path, Place::Body, split)
}

/// A `GET` with the parameters in its query.
pub(super) fn query(path: &str, split: Split) -> Request {
    Request::new(Method::Get, path, Place::Query, split)
}

/// A message on a WebSocket.
pub(super) fn message(path: &str, call: &str, split: Split) -> Request {
    Request { message: Some(call.to_owned()), ..Request::new(Method::Get, path, Place::Payload, split) }
}

/// A WebSocket that no signer can take part in.
pub(super) fn unsignable_socket(path: &str, why: Unsignable) -> UserSide {
    UserSide { transport: Transport::WebSocket, ..unsigned(Method::Get, path, Effect::Unsignable(why)) }
}

/// A `POST` of which no user can sign the consequences.
pub(super) fn unsignable(path: &str, why: Unsignable) -> UserSide {
    unsigned(Method::Post, path, Effect::Unsignable(why))
}

/// A request that Core answers by itself.
pub(super) fn core_alone(method: Method, path: &str) -> UserSide {
    unsigned(method, path, Effect::Core)
}

fn unsigned(method: Method, path: &str, effect: Effect) -> UserSide {
    UserSide { method, path: at_ucloud(path), transport: Transport::Http, message: None, effect }
}

fn at_ucloud(path: &str) -> String {
    format!("/api/{path}")
}

impl Request {
    fn new(method: Method, path: &str, place: Place, split: Split) -> Self {
        let project = match &split {
            Split::Provider(found) | Split::Item(found) => match found.by {
                Subject::Path | Subject::Drive | Subject::Job | Subject::Resource => InProject::Owner(found.clone()),
                // Nothing that exists has an owner yet, or the provider's request shows none.
                Subject::Provider | Subject::Task | Subject::Token => InProject::Acting,
            },
            Split::Every => InProject::Acting,
        };
        Self { method, path: at_ucloud(path), message: None, place, split, project, takes: Vec::new() }
    }

    pub(super) fn project(mut self, project: InProject) -> Self {
        self.project = project;
        self
    }

    /// Takes a parameter from another place than that of its name. Empty: the whole item.
    pub(super) fn take(mut self, name: &str, from: &str) -> Self {
        self.takes.push(Take { name: name.to_owned(), from: from.to_owned(), keeps: Vec::new(), list: None });
        self
    }

    /// Of the last parameter taken, Core keeps only these subtrees.
    pub(super) fn keeps<'p>(mut self, pointers: impl IntoIterator<Item = &'p str>) -> Self {
        if let Some(take) = self.takes.last_mut() {
            take.keeps.extend(pointers.into_iter().map(str::to_owned));
        }
        self
    }

    /// The last parameter taken is a list that Core holds, changed by the request.
    pub(super) fn changes_list(mut self, browse: &str, each: &str, change: ListChange) -> Self {
        if let Some(take) = self.takes.last_mut() {
            take.list = Some(Listed { browse: at_ucloud(browse), each: each.to_owned(), change });
        }
        self
    }

    /// The parameters of these names alone are in the request.
    fn into_side(mut self, names: &[&str]) -> UserSide {
        for name in names {
            if !self.takes.iter().any(|take| take.name == *name) {
                self = self.take(name, &format!("/{name}"));
            }
        }
        let transport = if self.place == Place::Payload { Transport::WebSocket } else { Transport::Http };
        let effect =
            Effect::Signed(Signed { place: self.place, split: self.split, project: self.project, takes: self.takes });
        UserSide { method: self.method, path: self.path, transport, message: self.message, effect }
    }
}

impl Draft {
    /// A row of this user's request. Each bound parameter has its own name there, unless the
    /// request takes it from another place.
    pub(super) fn asked(self, request: Request) -> RowSpec {
        self.0.or_asked(request)
    }

    /// A row whose user's request has only these parameters.
    pub(super) fn asked_with(self, names: &[&str], request: Request) -> RowSpec {
        RowSpec { user: vec![request.into_side(names)], ..self.0 }
    }

    /// A row of a request that no signer signs.
    pub(super) fn unsigned(self, side: UserSide) -> RowSpec {
        RowSpec { user: vec![side], ..self.0 }
    }

    /// A row that the user's own browser sends to the provider: UCloud does not see it.
    pub(super) fn direct(self, to: Destination) -> RowSpec {
        RowSpec { from: Sender::User, to: Some(to), ..self.0 }
    }
}

impl RowSpec {
    /// The user causes the same call by another request too.
    pub(super) fn or_asked(self, request: Request) -> Self {
        let names: Vec<&str> = self.bound.iter().map(|bound| bound.name.as_str()).collect();
        let side = request.into_side(&names);
        self.or(side)
    }

    /// The user causes the same call by another request too, which no signer signs.
    pub(super) fn or(mut self, side: UserSide) -> Self {
        self.user.push(side);
        self
    }
}
