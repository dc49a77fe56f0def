//! Core's resources of one provider. Core assigns the number, the provider assigns the id.
//!
//! Core's index of ids is unique across all types of resource of a provider. Numbers increase
//! during the life of Core's process. A restarted process continues after the highest number that
//! remains, so it reuses the numbers of deleted resources (`core2/pkg/orchestrator/resources.go`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Core, Flavour, Request};
use crate::Answer;

/// The number of the first drive. A real Core has assigned other numbers before.
const FIRST: usize = 4711;

/// The paths after `/ucloud/{provider}/` that create a resource with `POST` and delete it with
/// `DELETE`.
const CREATING: [&str; 7] =
    ["files/collections", "ingresses", "jobs", "licenses", "networkips", "private-networks", "shares"];

/// The reason why Core ends when an id repeats: its index of ids is unique.
const REPEATED_ID: &str = "a create was answered with the providerGeneratedId of another resource";

impl Core {
    /// Records what a provider's response says about resources. The Go Core accepts a new id and
    /// answers the user; its process ends when the database refuses the id.
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
    /// Core's number.
    pub id: String,
    /// The id that the provider assigned.
    pub provider_generated_id: String,
    /// The user who created it.
    pub created_by: String,
    /// The title that users see.
    pub title: String,
    /// The product's name.
    pub product: String,
}

/// Another resource of this provider has the id.
#[derive(Debug)]
pub(super) struct TakenId;

/// The resources. Their number is bounded by the test.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Every drive that was registered or inserted.
    drives: Vec<RegisteredDrive>,
    /// Core's number by the provider's id, for all types of resource.
    ids: BTreeMap<String, String>,
    /// The highest number that this process assigned, or found at its start.
    last: Option<usize>,
}

impl Resources {
    /// The drives that providers registered.
    pub(super) fn drives(&self) -> Vec<RegisteredDrive> {
        self.lock().drives.clone()
    }

    /// Records the id with which the provider answered the creation of resource `number`.
    pub(super) fn create(&self, number: &str, provider_generated_id: &str) -> Result<(), TakenId> {
        let mut known = self.lock();
        if known.ids.get(provider_generated_id).is_some_and(|holder| holder != number) {
            return Err(TakenId);
        }
        known.ids.insert(provider_generated_id.to_owned(), number.to_owned());
        Ok(())
    }

    /// Takes the next number.
    pub(super) fn number(&self) -> String {
        self.lock().next_number()
    }

    /// Continues after the highest number that remains, as Core does at its start.
    pub(super) fn restart(&self) {
        let mut known = self.lock();
        known.last = known.ids.values().filter_map(|number| number.parse().ok()).max();
    }

    /// Deletes the resource `number`; its id may be used again.
    pub(super) fn delete(&self, number: &str) {
        self.lock().ids.retain(|_, holder| holder != number);
    }

    /// Registers drives. `None` if a member is missing.
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

    /// Inserts a drive that existed before.
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

    /// Lists drives, with the two filters that providers use.
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
