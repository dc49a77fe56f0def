//! The Go Core's changes to a user's request before the provider sees it, and the part that the
//! user's browser signs.
//!
//! Each change is a fact of `docs/ucloud-wire.md`, section 6.9. `portal/tests/core2_wire.rs`
//! compares the result with bodies of the real Core.

use serde_json::{Map, Value, json};

/// The parameter that Core adds to every job.
const SAMPLE_RATE: &str = "ucMetricSampleRate";

/// A new job's specification as Core sends it. `may_edit` says for a drive's number whether the
/// user may change files on the drive; Core overwrites the user's value with it.
#[must_use]
pub fn job(asked: &Value, may_edit: impl Fn(&str) -> bool) -> Value {
    let mut parameters: Map<String, Value> = members(asked.get("parameters"))
        .map(|(name, value)| (name.clone(), parameter_value(value, &may_edit)))
        .collect();
    let rate = parameter_value(&json!({"type": "text", "value": "0ms"}), &may_edit);
    parameters.entry(SAMPLE_RATE).or_insert(rate);
    let resources: Vec<Value> =
        elements(asked.get("resources")).map(|value| parameter_value(value, &may_edit)).collect();
    let as_asked = |name: &str| asked.get(name).cloned().unwrap_or(Value::Null);
    let mut job = json!({
        "product": as_asked("product"), "labels": labels(asked.get("labels")), "application": as_asked("application"),
        "hostname": as_asked("hostname"), "replicas": as_asked("replicas"), "allowDuplicateJob": false,
        "parameters": parameters, "resources": resources, "timeAllocation": as_asked("timeAllocation"),
    });
    // Go omits these if they are empty. Core does not keep the member that asks for restarts.
    let name = asked.get("name").and_then(Value::as_str).unwrap_or_default().trim();
    for (member, value) in
        [("name", json!(name)), ("openedFile", as_asked("openedFile")), ("sshEnabled", as_asked("sshEnabled"))]
    {
        if let Some(members) = job.as_object_mut().filter(|_| !is_zero(&value)) {
            members.insert(member.to_owned(), value);
        }
    }
    job
}

/// One value of a job's parameters or resources, with every member of the Go type.
fn parameter_value(asked: &Value, may_edit: impl Fn(&str) -> bool) -> Value {
    let mut value = json!({
        "type": "", "path": "", "mountPath": "", "readOnly": false, "value": null, "hostname": "", "jobId": "", "id": "",
        "specification": {
            "applicationName": "", "language": "", "init": null, "job": null, "readme": null, "inputs": null,
        },
        "modules": null, "port": 0, "tls": false, "server": "", "token": "", "tokenType": "",
    });
    if let Some(whole) = value.as_object_mut() {
        for (name, member) in members(Some(asked)) {
            let trimmed = matches!(name.as_str(), "hostname" | "server" | "token" | "tokenType");
            let text = member.as_str().filter(|_| trimmed).map(|text| json!(text.trim()));
            whole.insert(name.clone(), text.unwrap_or_else(|| member.clone()));
        }
        if asked.get("type").and_then(Value::as_str) == Some("file") {
            let path = asked.get("path").and_then(Value::as_str).unwrap_or_default();
            let drive = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
            whole.insert("readOnly".to_owned(), json!(!may_edit(drive)));
        }
    }
    value
}

/// Labels with names in lower case and trimmed.
#[must_use]
pub fn labels(asked: Option<&Value>) -> Value {
    members(asked).map(|(name, value)| (name.to_lowercase().trim().to_owned(), value.clone())).collect()
}

/// A public link's specification with the domain in lower case.
#[must_use]
pub fn link(asked: &Value) -> Value {
    with(asked, &["domain"], |text| text.to_lowercase())
}

/// A licence's specification, of which Core changes nothing but the labels.
#[must_use]
pub fn licence(asked: &Value) -> Value {
    with(asked, &[], str::to_owned)
}

/// A private network's specification with names trimmed and the subdomain in lower case.
#[must_use]
pub fn private_network(asked: &Value) -> Value {
    let trimmed = with(asked, &["name", "subdomain"], |text| text.trim().to_owned());
    with(&trimmed, &["subdomain"], |text| text.to_lowercase())
}

/// A drive's specification with the title trimmed.
#[must_use]
pub fn drive(asked: &Value) -> Value {
    with(asked, &["title"], |text| text.trim().to_owned())
}

fn with(asked: &Value, names: &[&str], change: impl Fn(&str) -> String) -> Value {
    let mut made: Map<String, Value> =
        members(Some(asked)).map(|(name, value)| (name.clone(), value.clone())).collect();
    for name in names {
        if let Some(text) = made.get(*name).and_then(Value::as_str).map(&change) {
            made.insert((*name).to_owned(), json!(text));
        }
    }
    made.insert("labels".to_owned(), labels(asked.get("labels")));
    Value::Object(made)
}

/// The part of a new job's specification that the user signs: without what Core decides and without
/// Go's zero values.
#[must_use]
pub fn signed_job(asked: &Value) -> Value {
    let mut signed = with(asked, &["name"], |text| text.trim().to_owned());
    if let Some(members) = signed.as_object_mut() {
        members.remove("allowDuplicateJob");
        members.remove("restartOnExit");
    }
    if let Some(parameters) = signed.get_mut("parameters").and_then(Value::as_object_mut) {
        parameters.remove(SAMPLE_RATE);
        parameters.values_mut().for_each(without_read_only);
    }
    if let Some(resources) = signed.get_mut("resources").and_then(Value::as_array_mut) {
        resources.iter_mut().for_each(without_read_only);
    }
    without_zeros(&signed)
}

fn without_read_only(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        members.remove("readOnly");
    }
}

/// A tree as it is signed: without members that are null, false, 0, "", [] or {}, at every depth.
#[must_use]
pub fn without_zeros(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), without_zeros(member)))
            .filter(|(_, member)| !is_zero(member))
            .collect(),
        Value::Array(elements) => elements.iter().map(without_zeros).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn elements(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
