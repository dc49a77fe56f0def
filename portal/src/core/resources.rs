//! Core's resources of one provider: numbered by Core, each with the id that the provider gave it.
//!
//! No two resources of a provider have the same id, whatever their kinds: Core's index of them is
//! unique. Numbers go up as long as Core's process lives; when it starts, it goes on after the
//! highest that is left (`core2/pkg/orchestrator/resources.go`), and so gives those of deleted ones
//! again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Core, Flavour, Request};
use crate::Answer;

/// The number of the first drive; Core's have had others before.
const FIRST: usize = 4711;

/// The paths of calls that create a resource with `POST` and delete it with `DELETE`, after
/// `/ucloud/{provider}/`.
const CREATING: [&str; 7] =
    ["files/collections", "ingresses", "jobs", "licenses", "networkips", "private-networks", "shares"];

/// What ends Core: its index of the ids of resources, of all kinds, is unique.
const REPEATED_ID: &str = "a create was answered with the providerGeneratedId of another resource";

impl Core {
    /// Notes what a provider's answer says of resources. The Go Core takes a new one's id as it is
    /// and answers the user; it ends when the database refuses the id.
    pub(super) fn note_resources(&self, request: &Request, answer: &Answer) {
        let is_of_a_resource = || CREATING.iter().any(|kind| request.path == self.path(kind));
        if self.flavour == Flavour::Core1 || !is_of_a_resource() || !answer.is_ok() {
            return;
        }
        let (body, answered) = (request.json(), answer.json());
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match request.method.as_str() {
            "POST" => {
                let id = text(&answered, "/responses/0/id").filter(|id| !id.is_empty());
                let (Some(number), Some(id)) = (text(&body, "/items/0/id"), id) else { return };
                if self.process.resources.create(&number, &id).is_err() {
                    self.process.end(REPEATED_ID);
                }
            }
            "DELETE" => {
                let items = body.pointer("/items").and_then(Value::as_array).into_iter().flatten();
                for number in items.filter_map(|item| text(item, "/id")) {
                    self.process.resources.delete(&number);
                }
            }
            _ => {}
        }
    }
}

/// A drive that a provider registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredDrive {
    /// Its number.
    pub id: String,
    /// What the provider calls it.
    pub provider_generated_id: String,
    /// Whose it is.
    pub created_by: String,
    /// What users see.
    pub title: String,
    /// The product's name.
    pub product: String,
}

/// Another resource of this provider has that id.
#[derive(Debug)]
pub(super) struct TakenId;

/// All of them; as many as a test makes.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Every drive that was ever registered or inserted.
    drives: Vec<RegisteredDrive>,
    /// Core's number by the provider's id, of every kind of resource.
    ids: BTreeMap<String, String>,
    /// The highest number that this process has given, or found when it started.
    last: Option<usize>,
}

impl Resources {
    /// The drives that providers registered.
    pub(super) fn drives(&self) -> Vec<RegisteredDrive> {
        self.lock().drives.clone()
    }

    /// Notes the id that the provider answered to the creation of the resource of this number.
    pub(super) fn create(&self, number: &str, provider_generated_id: &str) -> Result<(), TakenId> {
        let mut known = self.lock();
        if known.ids.get(provider_generated_id).is_some_and(|holder| holder != number) {
            return Err(TakenId);
        }
        known.ids.insert(provider_generated_id.to_owned(), number.to_owned());
        Ok(())
    }

    /// Gives a resource its number.
    pub(super) fn number(&self) -> String {
        self.lock().next_number()
    }

    /// Goes on after the highest number that is left, as Core does when it starts.
    pub(super) fn restart(&self) {
        let mut known = self.lock();
        known.last = known.ids.values().filter_map(|number| number.parse().ok()).max();
    }

    /// Forgets the resource of this number; its id is free again.
    pub(super) fn delete(&self, number: &str) {
        self.lock().ids.retain(|_, holder| holder != number);
    }

    /// Registers what is asked. `None` where something is missing.
    pub(super) fn register(&self, body: &Value) -> Option<Result<Value, TakenId>> {
        let mut known = self.lock();
        let is_taken = |item: &Value| {
            let id = item.get("providerGeneratedId").and_then(Value::as_str);
            id.is_some_and(|id| known.ids.contains_key(id))
        };
        if body.get("items")?.as_array()?.iter().any(is_taken) {
            return Some(Err(TakenId));
        }
        let mut responses = Vec::new();
        for item in body.get("items")?.as_array()? {
            let text = |pointer: &str| item.pointer(pointer)?.as_str().map(str::to_owned);
            let id = known.next_number();
            text("/spec/product/category")?;
            text("/spec/product/provider")?;
            known.insert(RegisteredDrive {
                id: id.clone(),
                provider_generated_id: text("/providerGeneratedId")?,
                created_by: text("/createdBy")?,
                title: text("/spec/title")?,
                product: text("/spec/product/id")?,
            });
            responses.push(json!({ "id": id }));
        }
        Some(Ok(json!({ "responses": responses })))
    }

    /// A drive that is there already.
    pub(super) fn insert(&self, provider_generated_id: &str, created_by: &str) {
        let mut known = self.lock();
        let id = known.next_number();
        known.insert(RegisteredDrive {
            id,
            provider_generated_id: provider_generated_id.to_owned(),
            created_by: created_by.to_owned(),
            title: provider_generated_id.to_owned(),
            product: "disk".to_owned(),
        });
    }

    /// What is there, by the two filters that providers use.
    pub(super) fn browse(&self, query: &str) -> Value {
        let wanted = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.replace("%23", "#").replace("%3A", ":"))
        };
        let (created_by, ids) = (wanted("filterCreatedBy"), wanted("filterProviderIds"));
        let is_wanted = |drive: &RegisteredDrive| {
            created_by.as_ref().is_none_or(|name| drive.created_by == *name)
                && ids.as_ref().is_none_or(|ids| ids.split(',').any(|id| drive.provider_generated_id == id))
        };
        let items: Vec<Value> = self
            .drives()
            .into_iter()
            .filter(is_wanted)
            .map(|drive| {
                json!({
                    "id": drive.id, "createdAt": 1_700_000_000_000_i64,
                    "owner": {"createdBy": drive.created_by, "project": null}, "permissions": null,
                    "providerGeneratedId": drive.provider_generated_id,
                    "specification": {"title": drive.title, "product": {"id": drive.product}, "labels": null},
                    "updates": null, "status": {"preferredDrive": false},
                })
            })
            .collect();
        json!({ "items": items, "itemsPerPage": 250, "next": null })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn next_number(&mut self) -> String {
        let number = self.last.map_or(FIRST, |last| last.saturating_add(1));
        self.last = Some(number);
        number.to_string()
    }

    fn insert(&mut self, drive: RegisteredDrive) {
        self.ids.insert(drive.provider_generated_id.clone(), drive.id.clone());
        self.drives.push(drive);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn c16_core_gives_numbers_again_after_a_restart() {
        let resources = Resources::default();
        resources.insert("h-alice:home", "alice");
        let make = |id: &str| {
            let number = resources.number();
            resources.create(&number, id).unwrap();
            number
        };
        assert_eq!((make("one"), make("two")), ("4712".to_owned(), "4713".to_owned()));
        resources.delete("4713");
        assert_eq!(make("three"), "4714", "not as long as its process lives");
        resources.delete("4714");
        resources.restart();
        assert_eq!(make("four"), "4713");
        resources.delete("4712");
        resources.restart();
        assert_eq!(make("five"), "4714", "and only at the top");
    }
}
