//! A user's calls about public links and licences: as the user signs them, and as Core sends them.
//! Core adds the whole resource, of which nothing is signed but its number and what the user asked
//! for.

use serde_json::{Value, json};

use super::rewriting;
use crate::signer::Projection;

/// What a user creates at UCloud beside drives and jobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// A public link.
    Link,
    /// A licence.
    Licence,
}

/// A call about one public link or licence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResourceDeed {
    /// Creates it: the number that Core has assigned, and the specification that the user asked
    /// for.
    Create(Resource, String, Value),
    /// Removes it, by its number.
    Delete(Resource, String),
    /// Changes its labels: number, all labels after the change.
    Relabel(Resource, String, Value),
}

impl Resource {
    /// The specification that Core sends for what a user asked for.
    fn specification(self, asked: &Value) -> Value {
        match self {
            Self::Link => rewriting::link(asked),
            Self::Licence => rewriting::licence(asked),
        }
    }

    /// The specification that Core sends of one that exists.
    fn known(self, labels: &Value) -> Value {
        match self {
            Self::Link => json!({"domain": "", "product": null, "labels": labels}),
            Self::Licence => json!({"product": null, "labels": labels}),
        }
    }
}

impl ResourceDeed {
    /// The name of the call that the user signs.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match self {
            Self::Create(Resource::Link, ..) => "ingresses.create",
            Self::Delete(Resource::Link, _) => "ingresses.delete",
            Self::Relabel(Resource::Link, ..) => "ingresses.updateLabels",
            Self::Create(Resource::Licence, ..) => "licenses.create",
            Self::Delete(Resource::Licence, _) => "licenses.delete",
            Self::Relabel(Resource::Licence, ..) => "licenses.updateLabels",
        }
    }

    /// The path after `/ucloud/{provider}/`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(Resource::Link, ..) | Self::Delete(Resource::Link, _) => "ingresses",
            Self::Relabel(Resource::Link, ..) => "ingresses/onUpdatedLabels",
            Self::Create(Resource::Licence, ..) | Self::Delete(Resource::Licence, _) => "licenses",
            Self::Relabel(Resource::Licence, ..) => "licenses/onUpdatedLabels",
        }
    }

    /// The bound parameters, as the user's browser signs them.
    #[must_use]
    pub fn projection(&self) -> Projection {
        match self {
            Self::Create(of, _, asked) => {
                Projection::new([("specification", rewriting::without_zeros(&of.specification(asked)))])
            }
            Self::Delete(_, number) => Projection::new([("id", json!(number))]),
            Self::Relabel(_, number, labels) => {
                Projection::new([("id", json!(number)), ("labels", rewriting::labels(Some(labels)))])
            }
        }
    }

    /// The body of the Go Core's request.
    #[must_use]
    pub fn body(&self, username: &str) -> Value {
        let (number, specification) = match self {
            Self::Create(of, number, asked) => (number, of.specification(asked)),
            Self::Delete(of, number) => (number, of.known(&json!({}))),
            Self::Relabel(of, number, labels) => (number, of.known(&rewriting::labels(Some(labels)))),
        };
        json!({"items": [{
            "id": number, "createdAt": 1_700_000_000_000_i64, "owner": {"createdBy": username, "project": null},
            "permissions": {"myself": ["ADMIN", "READ", "EDIT"], "others": []}, "specification": specification,
            "status": {"boundTo": [], "state": "READY", "resolvedSupport": null, "resolvedProduct": null},
            "updates": null,
        }]})
    }
}
