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

/// All of them; as many as a test registers.
#[derive(Debug, Default)]
pub(super) struct Drives(Mutex<Vec<RegisteredDrive>>);

impl Drives {
    pub(super) fn all(&self) -> Vec<RegisteredDrive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers whatever is asked, the same twice if asked twice: as Core does. `None` where something is missing.
    pub(super) fn register(&self, body: &Value) -> Option<Value> {
        let mut drives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        Some(json!({ "responses": responses }))
    }

    /// What is there, by the two filters that providers use.
    pub(super) fn browse(&self, query: &str) -> Value {
        let wanted = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.replace("%23", "#"))
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
