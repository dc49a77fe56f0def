//! The applications that the stand-in Core knows, as the Go Core sends them with a job.
//!
//! The real Core treats the invocation of a name and version as immutable, and only administrators
//! of UCloud upload applications. A taken-over Core sends what it likes.

use serde_json::{Value, json};

/// One parameter's name, type, default and whether it may be left out.
type Parameter = (&'static str, &'static str, Value, bool);

/// Every application of the catalogue, by name and version, for the page.
pub const CATALOGUE: [(&str, &str, &str); 4] = [
    ("hello-native", "1.0", "Say hello"),
    ("count", "2.1", "Count to a number, slowly"),
    ("board", "1.0", "Show a page of your own"),
    ("own-script", "1", "Run your own script"),
];

/// Serves one page at the port that the job was given.
const BOARD: &str = "mkdir board && cd board\nprintf '<!doctype html><title>Board</title><h1>%s</h1>\\n' {{ title }} >index.html\n\
     exec python3 -u -m http.server --bind 127.0.0.1 \"$UCLOUD_PORT\"\n";

/// The application of this name and version as Core sends it; null if Core has none.
#[must_use]
pub fn resolved(name: &str, version: &str) -> Value {
    let known = CATALOGUE.iter().find(|(known, its, _)| (*known, *its) == (name, version));
    let Some((name, version, title)) = known else { return Value::Null };
    let (invocation, parameters): (Value, Vec<Parameter>) = match *name {
        "hello-native" => {
            (json!([word("echo"), word("hello"), variable("word")]), vec![("word", "text", json!("world"), true)])
        }
        "count" => (
            json!([jinja(
                "for i in $(seq 1 {{ numbers }}); do\n  echo \"$i\"\n  echo \"number $i\" >&2\n  sleep 1\ndone\n"
            )]),
            vec![("numbers", "integer", json!(3), false)],
        ),
        "board" => (json!([jinja(BOARD)]), vec![("title", "text", json!("A board"), true)]),
        _ => (json!([]), vec![("workflow", "workflow", Value::Null, false)]),
    };
    let mut application = application(name, version, title, &invocation, &parameters);
    if *name == "board"
        && let Some(invocation) = application.get_mut("invocation").and_then(Value::as_object_mut)
    {
        invocation.insert("applicationType".to_owned(), json!("WEB"));
        invocation.insert("web".to_owned(), json!({"port": 8080}));
    }
    application
}

/// The application with another invocation: what a taken-over Core sends in its place.
#[must_use]
pub fn swapped(application: &Value, script: &str) -> Value {
    let mut swapped = application.clone();
    if let Some(place) = swapped.pointer_mut("/invocation/invocation") {
        *place = json!([jinja(script)]);
    }
    swapped
}

fn application(name: &str, version: &str, title: &str, invocation: &Value, parameters: &[Parameter]) -> Value {
    let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
    json!({
        "metadata": {
            "name": name, "version": version, "authors": ["UCloud"], "title": title, "description": title,
            "website": null, "public": true, "flavorName": null, "group": null, "createdAt": 1_700_000_000_000_i64,
        },
        "invocation": {
            "tool": {
                "name": name, "version": version,
                "tool": {
                    "owner": "_ucloud", "createdAt": 1_700_000_000_000_i64, "modifiedAt": 1_700_000_000_000_i64,
                    "description": {
                        "info": {"name": name, "version": version}, "defaultNumberOfNodes": 1,
                        "defaultTimeAllocation": {"hours": 1, "minutes": 0, "seconds": 0}, "requiredModules": [],
                        "authors": ["UCloud"], "title": title, "description": title, "backend": "NATIVE", "license": "",
                        "image": null, "container": null, "supportedProviders": null, "loadInstructions": null,
                    },
                },
            },
            "invocation": invocation, "ucx": null, "parameters": parameters, "outputFileGlobs": [],
            "applicationType": "BATCH", "vnc": null, "web": null, "ssh": null, "inference": null, "container": null,
            "environment": {}, "allowAdditionalMounts": null, "allowAdditionalPeers": null, "allowMultiNode": null,
            "allowPublicIp": null, "allowPublicLink": null, "jobAuditLogIsEnabled": null, "fileExtensions": [],
            "licenseServers": [], "modules": null, "sbatch": null,
        },
        "favorite": false, "versions": [version],
    })
}

/// One element of an invocation, with every member of the Go type.
fn element(kind: &str, member: &str, value: Value) -> Value {
    let mut element = json!({
        "type": kind, "variable": "", "word": "", "variableNames": null, "prefixGlobal": "", "suffixGlobal": "",
        "prefixVariable": "", "suffixVariable": "", "isPrefixVariablePartOfArg": false,
        "isSuffixVariablePartOfArg": false, "variableName": "", "flag": "", "template": "",
    });
    if let Some(members) = element.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
    element
}

fn word(word: &str) -> Value {
    element("word", "word", json!(word))
}

fn variable(name: &str) -> Value {
    element("var", "variableNames", json!([name]))
}

fn jinja(template: &str) -> Value {
    element("jinja", "template", json!(template))
}

fn parameter((name, kind, default, is_optional): &Parameter) -> Value {
    json!({
        "type": kind, "name": name, "optional": is_optional, "defaultValue": default, "title": name,
        "description": "", "min": null, "max": null, "step": null, "unitName": null, "trueValue": "", "falseValue": "",
        "options": null, "tagged": null, "supportedModules": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_of_the_catalogue_is_sent_whole() {
        for (name, version, title) in CATALOGUE {
            let application = resolved(name, version);
            assert_eq!(application.pointer("/metadata/title"), Some(&json!(title)));
            assert!(application.pointer("/invocation/tool/tool/description/backend").is_some());
        }
        assert_eq!(resolved("count", "2.0"), Value::Null);
        let swapped = swapped(&resolved("count", "2.1"), "rm -rf ~\n");
        assert_eq!(swapped.pointer("/invocation/invocation/0/template"), Some(&json!("rm -rf ~\n")));
        assert_ne!(swapped, resolved("count", "2.1"));
    }
}
