//! Dependencies: licences, sources and versions as deny.toml has them, and the trust boundaries
//! between the product's crates.
//!
//! `cargo deny` knows more (advisories, what a licence's file really says) and takes minutes to
//! install: it is run with each release (docs/release.md). These rules are the ones that a changed
//! dependency breaks from one day to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{assert_none, root};

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn deny() -> toml::Table {
    fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(list: &toml::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The crates that are really built for Linux, by their id.
fn packages(metadata: &Value) -> BTreeMap<String, &Value> {
    let built: BTreeSet<String> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| text(&node["id"])).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.map(|package| (text(&package["id"]), package)).filter(|(id, _)| built.contains(id)).collect()
}

/// Whether an SPDX expression can be met by licences that are allowed. `/` is how `OR` was written
/// once.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'t> = std::iter::Peekable<std::str::SplitWhitespace<'t>>;

fn any_of(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words, allowed);
        return words.next() == Some(")") && met;
    }
    let licence = words.next().unwrap_or_default();
    match words.next_if_eq(&"WITH") {
        Some(_) => allowed.contains(&format!("{licence} WITH {}", words.next().unwrap_or_default())),
        None => allowed.contains(licence),
    }
}

#[test]
fn a_licence_is_met_by_what_is_allowed_and_nothing_else() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let check = |expression: &str, want: bool| assert_eq!(is_met(expression, &allowed), want, "{expression}");
    check("MIT", true);
    check("GPL-3.0-only", false);
    check("GPL-3.0-only OR MIT", true);
    check("GPL-3.0-only/MIT", true);
    check("GPL-3.0-only AND MIT", false);
    check("(GPL-3.0-only OR MIT) AND ISC", true);
    check("ISC AND (GPL-3.0-only OR Zlib)", false);
    check("Apache-2.0 WITH LLVM-exception", true);
    check("Apache-2.0", false);
    check("", false);
    check("(MIT", false);
    check("MIT MIT", false);
}

#[test]
fn every_crate_has_a_licence_that_is_allowed() {
    let (metadata, deny) = (metadata(), deny());
    let allowed = texts(&deny["licenses"]["allow"]);
    let exceptions: BTreeMap<&str, BTreeSet<String>> = deny["licenses"]["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|exception| (exception["crate"].as_str().unwrap(), texts(&exception["allow"])))
        .collect();
    let packages = packages(&metadata);
    let names: BTreeSet<String> = packages.values().map(|package| text(&package["name"])).collect();
    let mut found: Vec<String> = packages
        .values()
        .filter(|package| {
            let name = text(&package["name"]);
            let excepted = exceptions.get(name.as_str()).cloned().unwrap_or_default();
            !is_met(&text(&package["license"]), &allowed.union(&excepted).cloned().collect())
        })
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    found.extend(exceptions.keys().filter(|name| !names.contains(**name)).map(|name| format!("{name} is not here")));
    assert_none(&found, "licences that deny.toml does not allow, or exceptions for nothing");
}

#[test]
fn every_crate_comes_from_the_one_registry() {
    let (metadata, deny) = (metadata(), deny());
    let allowed: Vec<String> =
        texts(&deny["sources"]["allow-registry"]).iter().map(|index| format!("registry+{index}")).collect();
    let members: BTreeSet<String> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    // Of every platform, and not what is built alone: the lock file names them all.
    let found = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !members.contains(&text(&package["id"])) && !allowed.contains(&text(&package["source"])));
    let found = found.map(|package| package["id"].to_string()).collect::<Vec<_>>();
    assert_none(&found, "not from crates.io");
}

#[test]
fn of_every_crate_in_the_product_there_is_one_version_or_a_reason() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--workspace", "--all-features", "--edges", "normal,build", "--duplicates"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--depth", "0", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(tree.stdout).unwrap().lines() {
        if let [name, version, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            versions.entry(name.to_owned()).or_default().insert(version.trim_start_matches('v').to_owned());
        }
    }
    // The same version twice is the same crate, for a program and for a build script.
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.contains_key("rsa"), "{versions:?}");

    let deny = deny();
    let reasons: BTreeMap<&str, &str> = deny["bans"]["skip"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skip| (skip["crate"].as_str().unwrap(), skip["reason"].as_str().unwrap_or_default()))
        .collect();
    let is_of = |reason: &str, name: &str, version: &str| {
        reason
            .split_once('@')
            .is_some_and(|(of, from)| of == name && (version == from || version.starts_with(&format!("{from}."))))
    };
    let mut found: Vec<String> = versions
        .iter()
        .filter(|(name, versions)| {
            let explained = |version: &&String| reasons.keys().any(|reason| is_of(reason, name, version));
            versions.iter().filter(explained).count() + 1 < versions.len()
        })
        .map(|(name, versions)| format!("{name}: {versions:?}"))
        .collect();
    let explains = |reason: &str| {
        versions.iter().any(|(name, versions)| versions.iter().any(|version| is_of(reason, name, version)))
    };
    found.extend(reasons.keys().filter(|reason| !explains(reason)).map(|reason| format!("{reason} explains nothing")));
    found.extend(reasons.iter().filter(|(_, why)| why.is_empty()).map(|(reason, _)| format!("{reason}: no reason")));
    assert_none(&found, "several versions without a reason in deny.toml");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let reasons = fs::read_to_string(root().join("docs/decisions/dependencies.md")).unwrap();
    let is_between = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_';
    let named: BTreeSet<&str> = reasons.split(is_between).collect();
    let names = manifest["workspace"]["dependencies"].as_table().unwrap().keys();
    let missing = names.filter(|name| !name.starts_with("countersign-") && !named.contains(name.as_str()));
    assert_none(&missing.cloned().collect::<Vec<_>>(), "no row in docs/decisions/dependencies.md");
}

/// The product's crates and those of them that each may depend on: the trust boundaries
/// (threat-model/boundaries.md).
const MAY_DEPEND_ON: [(&str, &[&str]); 13] = [
    ("keys", &[]),
    ("metrics", &[]),
    ("os", &["keys"]),
    ("audit", &["keys", "os"]),
    ("config", &["audit", "keys", "os"]),
    ("replay", &["keys", "os"]),
    ("ipc", &["config", "keys", "metrics", "os"]),
    ("home", &["config", "keys", "os"]),
    ("slurm", &["keys"]),
    ("applications", &["config", "keys"]),
    ("gateway", &["audit", "config", "ipc", "keys", "metrics", "os", "replay"]),
    ("server", &["audit", "config", "home", "ipc", "keys", "metrics", "os", "replay", "slurm"]),
    ("instance", &["applications", "audit", "config", "home", "ipc", "keys", "os", "replay", "slurm"]),
];

/// What tests alone need: in no process's dependency tree.
const OF_TESTS: [&str; 5] = ["countersign-portal", "proptest", "rcgen", "shuttle", "tempfile"];

/// Crates that are in no dependency tree of a process but the one that needs them.
const NOT_IN: [(&str, &[&str]); 3] = [
    (
        "gateway",
        &["sled", "webauthn-rs", "command-fds", "hyper-rustls", "pty-process", "clap", "minijinja", "countersign-home"],
    ),
    ("server", &["pty-process", "landlock", "seccompiler", "clap", "minijinja", "prometheus-client"]),
    (
        "instance",
        &["sled", "webauthn-rs", "command-fds", "hyper-rustls", "landlock", "seccompiler", "clap", "prometheus-client"],
    ),
];

/// The manifest of one of the product's crates.
fn manifest_of(krate: &str) -> toml::Table {
    let folder = if krate == "keys" { "keys".to_owned() } else { format!("src/{krate}") };
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

#[test]
fn the_fuzz_targets_lock_file_is_in_step() {
    let lock: toml::Table = fs::read_to_string(root().join("fuzz/Cargo.lock")).unwrap().parse().unwrap();
    let locked = |krate: &str| -> Option<BTreeSet<String>> {
        let name = format!("countersign-{krate}");
        let package = lock["package"].as_array()?.iter().find(|package| package["name"].as_str() == Some(&name))?;
        let names = texts(package.get("dependencies")?);
        Some(names.iter().map(|name| name.split(' ').next().unwrap_or_default().to_owned()).collect())
    };
    let mut found = Vec::new();
    for (krate, _) in MAY_DEPEND_ON {
        let manifest = manifest_of(krate);
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let is_optional = |name: &str| dependencies[name].get("optional").is_some();
        let locked = locked(krate).unwrap_or_default();
        let absent = dependencies.keys().filter(|name| !is_optional(name) && !locked.contains(*name));
        found.extend(absent.map(|name| format!("{krate}: {name} is not there")));
        let gone = locked.iter().filter(|name| !dependencies.contains_key(*name));
        found.extend(gone.map(|name| format!("{krate}: {name} is no dependency any more")));
    }
    assert_none(
        &found,
        "differs from the manifests: cargo metadata --manifest-path fuzz/Cargo.toml, and commit fuzz/Cargo.lock",
    );
}

/// The names of all crates that one of the product's crates is built from, itself included.
pub(super) fn tree_of(krate: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", &format!("countersign-{krate}")])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn each_crate_depends_on_those_below_it_alone() {
    let mut found = Vec::new();
    for (krate, may) in MAY_DEPEND_ON {
        let manifest = manifest_of(krate);
        for (name, dependency) in manifest["dependencies"].as_table().unwrap() {
            if name.strip_prefix("countersign-").is_some_and(|other| !may.contains(&other)) {
                found.push(format!("countersign-{krate} depends on {name}"));
            }
            let features = dependency.get("features").and_then(toml::Value::as_array);
            if features.is_some_and(|features| features.iter().any(|feature| feature.as_str() == Some("testing"))) {
                found.push(format!("countersign-{krate} has {name} as tests have it"));
            }
        }
    }
    assert_none(&found, "dependencies that cross a boundary");
}

#[test]
fn no_process_has_what_another_needs() {
    let mut found = Vec::new();
    for (krate, without) in NOT_IN {
        let names = tree_of(krate, &[]);
        assert!(names.contains("countersign-keys") && names.len() > 50, "{names:?}");
        let unwanted = without.iter().chain(&OF_TESTS).filter(|name| names.contains(**name));
        found.extend(unwanted.map(|name| format!("{krate} has {name}")));
    }
    assert_none(&found, "crates in the tree of a process that does not need them");
}

#[test]
fn what_deny_toml_wraps_is_used_by_its_wrappers_alone() {
    let (metadata, deny) = (metadata(), deny());
    let wrapped: BTreeMap<&str, BTreeSet<String>> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ban| Some((ban["crate"].as_str().unwrap(), texts(ban.get("wrappers")?))))
        .collect();
    assert!(wrapped.len() > 8, "the wrappers were not found");
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let is_of_product = |dependency: &&Value| dependency["kind"].is_null();
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(is_of_product) {
            let (user, used) = (text(&package["name"]), text(&dependency["name"]));
            if wrapped.get(used.as_str()).is_some_and(|wrappers| !wrappers.contains(&user)) {
                found.push(format!("{user} depends on {used}"));
            }
        }
    }
    assert_none(&found, "dependencies that deny.toml has for others");
}
