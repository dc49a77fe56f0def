//! Core's books of usage, as a provider reports it.
//!
//! Books the items of a request in their order, and stops at the first bad one: those before it
//! stay booked. An absolute report with a scope replaces the share of that scope alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::products::Products;
use crate::site::{Body, json as reply};

/// Usage of an owner in a category.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BookedUsage {
    /// A username, or the id of a project.
    pub owner: String,
    /// The category's name.
    pub category: String,
    /// The provider's key for this share of the usage; empty for none.
    pub scope: String,
    /// The usage, in the category's unit.
    pub usage: i64,
}

/// Why a report is refused. Earlier items of the request are booked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NotBooked {
    /// Another provider's category, one that is not registered, an owner whom Core does not know,
    /// or a negative usage.
    Forbidden(&'static str),
    /// The request is not of its form. Nothing is booked.
    Malformed,
}

/// The books. Bounded by the test.
#[derive(Debug, Default)]
pub struct Usage(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// By owner, category and scope.
    booked: BTreeMap<(String, String, String), i64>,
    /// Every item that was booked, also repeated ones.
    items: usize,
    unknown: BTreeSet<String>,
    locked: BTreeSet<String>,
}

/// One item of a request.
struct Item {
    is_delta: bool,
    owner: String,
    category: String,
    provider: String,
    scope: String,
    usage: i64,
}

impl Usage {
    /// What is booked.
    #[must_use]
    pub fn all(&self) -> Vec<BookedUsage> {
        let books = self.lock();
        let booked = books.booked.iter().map(|((owner, category, scope), usage)| BookedUsage {
            owner: owner.clone(),
            category: category.clone(),
            scope: scope.clone(),
            usage: *usage,
        });
        booked.collect()
    }

    /// How many items were booked, repeated ones counted each time.
    #[must_use]
    pub fn items(&self) -> usize {
        self.lock().items
    }

    /// Knows an owner no more, or again.
    pub fn set_known(&self, owner: &str, is_known: bool) {
        let mut books = self.lock();
        if is_known {
            books.unknown.remove(owner)
        } else {
            books.unknown.insert(owner.to_owned())
        };
    }

    /// Says of an owner that nothing is left of the allocation.
    pub fn set_locked(&self, owner: &str) {
        self.lock().locked.insert(owner.to_owned());
    }

    /// Books a request, and answers it.
    pub(super) fn answer(&self, provider: &str, products: &Products, body: &Value) -> Response<Body> {
        match self.report(provider, products, body) {
            Ok(answer) => reply(StatusCode::OK, &answer),
            Err(NotBooked::Forbidden(why)) => reply(StatusCode::FORBIDDEN, &json!({ "why": why })),
            Err(NotBooked::Malformed) => reply(StatusCode::BAD_REQUEST, &json!({ "why": "Malformed" })),
        }
    }

    fn report(&self, provider: &str, products: &Products, body: &Value) -> Result<Value, NotBooked> {
        let items = body.get("items").and_then(Value::as_array).ok_or(NotBooked::Malformed)?;
        let items: Option<Vec<Item>> = items.iter().map(Item::read).collect();
        let mut answers = Vec::new();
        for item in items.ok_or(NotBooked::Malformed)? {
            answers.push(self.book(provider, products, item)?);
        }
        Ok(json!({ "responses": answers }))
    }

    /// Books an item, and returns whether its owner has something left.
    fn book(&self, provider: &str, products: &Products, item: Item) -> Result<bool, NotBooked> {
        let Item { is_delta, owner, category, scope, usage, .. } = item;
        if item.provider != provider {
            return Err(NotBooked::Forbidden("You cannot report usage for this product"));
        }
        let Some(is_free) = products.is_free(&category) else {
            return Err(NotBooked::Forbidden("This category does not exist"));
        };
        let mut books = self.lock();
        if books.unknown.contains(&owner) {
            return Err(NotBooked::Forbidden("This user/project does not exist"));
        }
        if !is_delta && usage < 0 {
            return Err(NotBooked::Forbidden("Absolute usage cannot be negative"));
        }
        books.items = books.items.saturating_add(1);
        if is_free {
            return Ok(true);
        }
        let is_open = !books.locked.contains(&owner);
        let share = books.booked.entry((owner, category, scope)).or_default();
        *share = if is_delta { share.saturating_add(usage) } else { usage };
        Ok(is_open)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    /// Reads an item with every member of Go's form, and no other type in any of them.
    fn read(item: &Value) -> Option<Self> {
        let text = |path: &str| item.pointer(path).and_then(Value::as_str);
        let owner = match text("/owner/type")? {
            "user" => text("/owner/username")?,
            "project" => text("/owner/projectId")?,
            _ => return None,
        };
        let scope = item.pointer("/description/scope")?;
        let scope = if scope.is_null() { "" } else { scope.as_str()? };
        Some(Self {
            is_delta: item.get("isDeltaCharge")?.as_bool()?,
            owner: owner.to_owned(),
            category: text("/categoryIdV2/name")?.to_owned(),
            provider: text("/categoryIdV2/provider")?.to_owned(),
            scope: scope.to_owned(),
            usage: item.get("usage")?.as_i64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products() -> Products {
        let products = Products::default();
        let category = |name: &str, free: bool| {
            json!({
                "name": name, "type": "compute", "productType": "COMPUTE", "price": 1,
                "category": {
                    "name": name, "provider": "hpc", "accountingFrequency": "PERIODIC_HOUR", "freeToUse": free,
                    "accountingUnit": { "name": "Core", "namePlural": "Core" },
                },
            })
        };
        products.register(&json!({ "items": [category("small", false), category("gift", true)] })).unwrap();
        products
    }

    fn item(owner: &str, category: &str, scope: &str, usage: i64) -> Value {
        json!({
            "isDeltaCharge": false, "owner": { "type": "user", "username": owner, "projectId": "" },
            "categoryIdV2": { "name": category, "provider": "hpc" }, "usage": usage,
            "description": { "scope": scope, "description": null },
        })
    }

    #[test]
    fn a_share_is_replaced_and_what_stands_before_a_bad_item_is_booked() {
        let (usage, products) = (Usage::default(), products());
        let report = |items: &[Value]| usage.report("hpc", &products, &json!({ "items": items }));
        let shares = || usage.all().into_iter().map(|booked| (booked.scope, booked.usage)).collect::<Vec<_>>();
        let first =
            [item("alice#1", "small", "a", 7), item("alice#1", "small", "b", 2), item("alice#1", "gift", "c", 9)];
        assert_eq!(report(&first).unwrap(), json!({ "responses": [true, true, true] }));
        report(&[item("alice#1", "small", "a", 8)]).unwrap();
        assert_eq!(shares(), [("a".to_owned(), 8), ("b".to_owned(), 2)]);
        usage.set_known("carol#1", false);
        for bad in [
            item("alice#1", "large", "a", 1),
            item("carol#1", "small", "a", 1),
            item("alice#1", "small", "a", -1),
            json!({ "categoryIdV2": { "name": "small", "provider": "other" }, "isDeltaCharge": false, "usage": 1,
                "owner": { "type": "user", "username": "alice#1" }, "description": { "scope": null } }),
        ] {
            let refused = report(&[item("alice#1", "small", "b", 3), bad.clone(), item("alice#1", "small", "b", 4)]);
            assert!(matches!(refused, Err(NotBooked::Forbidden(_))), "{bad}");
            assert_eq!(shares(), [("a".to_owned(), 8), ("b".to_owned(), 3)], "{bad}");
        }
        usage.set_known("carol#1", true);
        usage.set_locked("carol#1");
        assert_eq!(report(&[item("carol#1", "small", "a", 1)]).unwrap(), json!({ "responses": [false] }));
        let mut text = item("alice#1", "small", "a", 1);
        text["usage"] = json!("1");
        assert_eq!(report(&[item("alice#1", "small", "a", 9), text]), Err(NotBooked::Malformed));
        assert_eq!(shares()[0], ("a".to_owned(), 8), "nothing of what cannot be read");
    }
}
