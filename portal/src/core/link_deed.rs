//! A user's calls about public links: as the user signs them, and as Core sends them. Core adds the
//! whole resource, of which nothing is signed but its number and what the user asked for.

use serde_json::{Value, json};

use super::rewriting;
use crate::signer::Projection;

/// A call about one public link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkDeed {
    /// Creates it: the number that Core has assigned, and the specification that the user asked
    /// for.
    Create(String, Value),
    /// Removes it, by its number.
    Delete(String),
    /// Changes its labels: number, all labels after the change.
    Relabel(String, Value),
}

impl LinkDeed {
    /// The name of the call that the user signs.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match self {
            Self::Create(..) => "ingresses.create",
            Self::Delete(_) => "ingresses.delete",
            Self::Relabel(..) => "ingresses.updateLabels",
        }
    }

    /// The path after `/ucloud/{provider}/`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(..) | Self::Delete(_) => "ingresses",
            Self::Relabel(..) => "ingresses/onUpdatedLabels",
        }
    }

    /// The bound parameters, as the user's browser signs them.
    #[must_use]
    pub fn projection(&self) -> Projection {
        match self {
            Self::Create(_, asked) => {
                Projection::new([("specification", rewriting::without_zeros(&rewriting::link(asked)))])
            }
            Self::Delete(number) => Projection::new([("id", json!(number))]),
            Self::Relabel(number, labels) => {
                Projection::new([("id", json!(number)), ("labels", rewriting::labels(Some(labels)))])
            }
        }
    }

    /// The body of the Go Core's request.
    #[must_use]
    pub fn body(&self, username: &str) -> Value {
        let link = |number: &str, specification: Value| {
            json!({"items": [{
                "id": number, "createdAt": 1_700_000_000_000_i64, "owner": {"createdBy": username, "project": null},
                "permissions": {"myself": ["ADMIN", "READ", "EDIT"], "others": []}, "specification": specification,
                "status": {"boundTo": [], "state": "READY", "resolvedSupport": null, "resolvedProduct": null},
                "updates": null,
            }]})
        };
        match self {
            Self::Create(number, asked) => link(number, rewriting::link(asked)),
            Self::Delete(number) => link(number, json!({"domain": "", "product": null, "labels": {}})),
            Self::Relabel(number, labels) => {
                link(number, json!({"domain": "", "product": null, "labels": rewriting::labels(Some(labels))}))
            }
        }
    }
}
