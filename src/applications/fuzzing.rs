//! Fuzz target of scripts: an application, and a signed specification.
//!
//! The result depends on the input alone; the text that is shown holds no job's id; the script is
//! what is shown with one more line; directives come only from the allow-list; and the shell reads
//! each placed value back as it was, or it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use countersign_config::{Accounting, Frequency, Machine, Placement, Product, ProductKind};
use countersign_keys::json::Json;

use crate::catalogue::Startable;
use crate::differences::{contents, differences};
use crate::invocation::Invocation;
use crate::render::{Rendered, Site, render};
use crate::shell::{MARK_END, MARK_START, place};

/// Deepest nesting of a request's body.
const DEPTH_MAX: u8 = 32;

/// Reads two lines: an invocation, and a specification of "app" version "1".
pub fn script(text: &str) {
    let (invocation, specification) = text.split_once('\n').unwrap_or((text, "{}"));
    placed(text);
    let Ok(specification) = Json::parse(specification.as_bytes(), DEPTH_MAX) else { return };
    holds(&Startable::workflow_without_configuration("app", "1"), &specification);
    let Ok(invocation) = Invocation::parse(invocation.as_bytes()) else { return };
    let again = Invocation::parse(invocation.canonical()).expect("its own canonical form");
    assert_eq!(again.digest(), invocation.digest());
    assert_eq!(
        Invocation::parse(invocation.indented().as_bytes()).expect("its own text").digest(),
        invocation.digest()
    );
    assert!(differences(&invocation, &again).is_empty());
    let _ = contents(&invocation);
    holds(&Startable::approved_without_file("app", "1", invocation), &specification);
}

fn holds(application: &Startable, specification: &Json<'_>) {
    let of_job = |job_id| with_site(job_id, |site| render(application, specification, site));
    let preview = of_job(None);
    assert_eq!(preview, of_job(None), "not deterministic");
    let Ok(Rendered { script, directives, shown, .. }) = preview else { return };
    let started = of_job(Some("54112")).expect("what was previewed");
    assert_eq!(started.shown, shown);
    assert_eq!(started.directives, directives);
    assert_eq!(started.script.replacen("export UCLOUD_JOB_ID=54112\n", "", 1), script);
    // sbatch reads directives up to the first command.
    assert!(script.starts_with("#!/bin/bash -l\nexport "));
    for (directive, value) in &directives {
        assert!(!value.contains(char::is_whitespace), "{directive:?} {value:?}");
        assert_eq!(directive.is_bare(), value.is_empty(), "{directive:?} {value:?}");
    }
    assert!(!script.contains([MARK_START, MARK_END, '\0']));
}

/// Text with a value in it: what is placed has the value in quotes, or only plain characters.
fn placed(text: &str) {
    let Some((value, template)) = text.split_once('\n') else { return };
    let marked = template.replace('@', &format!("{MARK_START}0{MARK_END}"));
    if let Ok(script) = place(&marked, &[value.to_owned()]) {
        let is_plain = value.chars().all(|one| one.is_ascii_alphanumeric() || "_.,:/@%+-".contains(one));
        let quoted = format!("'{}'", value.replace('\'', r"'\''"));
        assert!(is_plain || !template.contains('@') || script.contains(&quoted), "{script:?}");
    }
}

fn with_site<R>(job_id: Option<&str>, act: impl FnOnce(&Site<'_>) -> R) -> R {
    let product = Product {
        name: "node".to_owned(),
        category: "cluster".to_owned(),
        kind: ProductKind::Compute,
        description: String::new(),
        price: 1,
        accounting: Accounting {
            unit: "Core".to_owned(),
            unit_plural: "Cores".to_owned(),
            frequency: Frequency::Minute,
            is_free: false,
        },
        is_hidden: false,
        machine: Machine { cpu: 8, memory_gb: 32, gpu: 2, ..Machine::default() },
        placement: Placement::default(),
        licence: None,
    };
    act(&Site {
        job_id,
        product: &product,
        partition: Some("short"),
        qos: None,
        local_path: &|path| Ok(format!("/home/{path}")),
        licence: &|id| (id == "1").then(|| "licences:27000".to_owned()),
    })
}

/// The seeds run with the unit tests too, and so do changes of single characters.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEEDS: [&str; 3] = [
        include_str!("../../fuzz/seeds/script/arguments"),
        include_str!("../../fuzz/seeds/script/template"),
        include_str!("../../fuzz/seeds/script/workflow"),
    ];

    #[test]
    fn the_seeds_make_scripts() {
        for seed in SEEDS {
            script(seed);
            let (invocation, specification) = seed.split_once('\n').unwrap();
            let invocation = Invocation::parse(invocation.as_bytes()).unwrap();
            let application = if invocation.is_workflow_only() {
                Startable::workflow_without_configuration("app", "1")
            } else {
                Startable::approved_without_file("app", "1", invocation)
            };
            let specification = Json::parse(specification.as_bytes(), DEPTH_MAX).unwrap();
            with_site(None, |site| render(&application, &specification, site)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn changed_seeds_keep_the_rules(seed in 0..3_usize, at in any::<prop::sample::Index>(), with in "\\PC{0,3}|[\n'\"$`{}@#<\\\\]") {
            let mut text: Vec<char> = SEEDS.get(seed).unwrap().chars().collect();
            let at = at.index(text.len());
            text.splice(at..=at, with.chars());
            script(&text.into_iter().collect::<String>());
        }
    }
}
