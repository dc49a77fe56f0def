//! Core's drives: registered by the provider, numbered here.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// The number of the first drive; Core's have had others before.
const FIRST: usize = 4711;

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

/// Another resource of this provider has that id: Core's index of them is unique.
pub(super) struct TakenId;

/// All of them; as many as a test registers.
#[derive(Debug, Default)]
pub(super) struct Drives(Mutex<Vec<RegisteredDrive>>);

impl Drives {
    pub(super) fn all(&self) -> Vec<RegisteredDrive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers what is asked. `None` where something is missing.
    pub(super) fn register(&self, body: &Value) -> Option<Result<Value, TakenId>> {
        let mut drives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = |item: &Value| {
            let id = item.get("providerGeneratedId").and_then(Value::as_str);
            drives.iter().any(|drive| Some(drive.provider_generated_id.as_str()) == id)
        };
        if body.get("items")?.as_array()?.iter().any(is_taken) {
            return Some(Err(TakenId));
        }
        let mut responses = Vec::new();
        for item in body.get("items")?.as_array()? {
            let text = |pointer: &str| item.pointer(pointer)?.as_str().map(str::to_owned);
            let id = drives.len().saturating_add(FIRST).to_string();
            text("/spec/product/category")?;
            text("/spec/product/provider")?;
            drives.push(RegisteredDrive {
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
        let mut drives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = drives.len().saturating_add(FIRST).to_string();
        drives.push(RegisteredDrive {
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
            .all()
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
}
