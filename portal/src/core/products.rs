//! Core's products: the provider registers them, and their accounting never changes.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// The members of a category that keep the values of the first registration.
const FIXED: [&str; 3] = ["accountingUnit", "accountingFrequency", "freeToUse"];

/// The registered products. Their number is bounded by the test.
#[derive(Debug, Default)]
pub(super) struct Products(Mutex<Vec<Value>>);

impl Products {
    pub(super) fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers or replaces products. `None` if the list is empty or a member is missing.
    pub(super) fn register(&self, body: &Value) -> Option<Value> {
        let items = body.get("items")?.as_array().filter(|items| !items.is_empty())?;
        let is_whole = |item: &Value| {
            let category = item.get("category")?;
            let unit = category.get("accountingUnit")?;
            let texts = [item.get("name")?, item.get("type")?, item.get("productType")?, category.get("name")?];
            let units = [category.get("provider")?, unit.get("name")?, unit.get("namePlural")?];
            item.get("price")?.as_i64()?;
            category.get("accountingFrequency")?.as_str()?;
            texts.into_iter().chain(units).all(|text| text.as_str().is_some_and(|text| !text.is_empty())).then_some(())
        };
        items.iter().try_for_each(is_whole)?;
        let mut products = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            let mut item = item.clone();
            let same_category = |other: &&Value| other.pointer("/category/name") == item.pointer("/category/name");
            if let Some(first) = products.iter().find(same_category).cloned() {
                for member in FIXED {
                    let kept = first.pointer(&format!("/category/{member}")).cloned().unwrap_or(Value::Null);
                    *item.get_mut("category")?.get_mut(member)? = kept;
                }
            }
            products.retain(|other| {
                other.get("name") != item.get("name")
                    || other.pointer("/category/name") != item.pointer("/category/name")
            });
            products.push(item);
        }
        Some(json!({}))
    }

    /// Whether a category is free to use; `None` if no product of it is registered.
    pub(super) fn is_free(&self, category: &str) -> Option<bool> {
        let products = self.all();
        let product = products.iter().find(|product| product.pointer("/category/name") == Some(&category.into()))?;
        Some(product.pointer("/category/freeToUse").and_then(Value::as_bool).unwrap_or(false))
    }

    /// One product a page, so that every reader must ask for the next page.
    pub(super) fn browse(&self, query: &str) -> Value {
        let next = query.split('&').find_map(|pair| pair.strip_prefix("next="));
        let at: usize = next.and_then(|next| next.parse().ok()).unwrap_or(0);
        let products = self.all();
        let items: Vec<Value> = products.iter().skip(at).take(1).cloned().collect();
        let after = at.saturating_add(1);
        let next = (after < products.len()).then(|| after.to_string());
        json!({ "items": items, "itemsPerPage": 1, "next": next })
    }
}
