//! Tests of the allow-list.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn machine() -> Machine {
    Machine { cpu: 8, memory_gb: 32, gpu: 2, ..Machine::default() }
}

fn set(name: &str, value: &str) -> Result<Vec<(Directive, String)>, DirectiveRejection> {
    all(&[(name, value)])
}

fn all(asked: &[(&str, &str)]) -> Result<Vec<(Directive, String)>, DirectiveRejection> {
    let machine = machine();
    let machines = Machines { machine: &machine, nodes: 2 };
    let mut directives = Directives::default();
    for (name, value) in asked {
        directives.set(name, value, Asker::Approved, machines)?;
    }
    directives.finish(machines)
}

/// The one directive's value.
fn check(name: &str, value: &str, want: &str) {
    let set = set(name, value).unwrap_or_else(|refused| panic!("{name}={value}: {refused}"));
    let found = set.iter().find(|(directive, _)| directive.option() == name);
    assert_eq!(found.map(|(_, value)| value.as_str()), Some(want), "{name}={value}");
}

#[test]
fn what_an_application_may_ask_for() {
    for (name, value, want) in [
        ("ntasks", "16", "16"),
        ("ntasks-per-node", "8", "8"),
        ("ntasks-per-socket", "4", "4"),
        ("cpus-per-task", "08", "8"),
        ("cpus-per-gpu", "4", "4"),
        ("gpus-per-node", "2", "2"),
        ("gpus-per-task", "1", "1"),
        ("gpu-bind", "verbose,single:1", "verbose,single:1"),
        ("gpu-bind", "closest", "closest"),
        ("mem", "32000", "32000M"),
        ("mem", "31G", "31744M"),
        ("mem-per-cpu", "4000M", "4000M"),
        ("mem-per-gpu", "15G", "15360M"),
        ("exclusive", "", ""),
        ("hint", "nomultithread", "nomultithread"),
        ("threads-per-core", "1", "1"),
        ("constraint", "skylake&ib", "skylake&ib"),
        ("distribution", "block:cyclic,Pack", "block:cyclic,Pack"),
        ("distribution", "plane=4", "plane=4"),
        ("signal", "B:USR1@300", "B:USR1@300"),
        ("signal", "15", "15"),
        ("requeue", "", ""),
        ("no-requeue", "true", ""),
    ] {
        check(name, value, want);
    }
}

#[test]
fn every_other_option_is_refused_by_its_name() {
    for name in [
        "output",
        "error",
        "input",
        "chdir",
        "export",
        "export-file",
        "mail-user",
        "mail-type",
        "dependency",
        "reservation",
        "bb",
        "bbf",
        "wait",
        "get-user-env",
        "account",
        "partition",
        "qos",
        "comment",
        "parsable",
        "job-name",
        "time",
        "time-min",
        "nodes",
        "nodelist",
        "exclude",
        "uid",
        "gid",
        "wrap",
        "array",
        "begin",
        "deadline",
        "licenses",
        "container",
        "propagate",
        "prefer",
        "nice",
        "priority",
        "hold",
        "open-mode",
        "clusters",
        "gres",
        "spread-job",
        "no-kill",
        "tmp",
        "wckey",
        "x11",
        "Mem",
        "mem ",
        " mem",
        "mem=1",
        "--mem",
        "m",
        "",
    ] {
        let refused = set(name, "1").unwrap_err();
        assert_eq!(refused, DirectiveRejection::NotAllowed(shorten(name)));
        assert!(refused.to_string().contains(&format!("{name:?}")), "{refused}");
    }
}

#[test]
fn values_have_one_syntax_each() {
    for (name, value) in [
        ("ntasks", "0"),
        ("ntasks", "-1"),
        ("ntasks", "+1"),
        ("ntasks", "0x2"),
        ("ntasks", "1.5"),
        ("ntasks", ""),
        ("ntasks", " 1"),
        ("ntasks", "1\n"),
        ("ntasks", "1 --mail-user=x"),
        ("ntasks", "١"),
        ("ntasks", "9999999999999"),
        ("mem", "0"),
        ("mem", "0G"),
        ("mem", "G"),
        ("mem", "1GG"),
        ("mem", "1K"),
        ("mem", "1 G"),
        ("mem", "-1"),
        ("mem-per-cpu", "0"),
        ("exclusive", "user"),
        ("requeue", "no"),
        ("hint", "fast"),
        ("gpu-bind", "map_gpu:0,1"),
        ("gpu-bind", "single:"),
        ("constraint", ""),
        ("constraint", "a|b"),
        ("constraint", "[a*2]"),
        ("constraint", "a&"),
        ("constraint", "a b"),
        ("constraint", "-a"),
        ("distribution", "arbitrary"),
        ("distribution", "block:block:block:block"),
        ("distribution", "block,Pack,NoPack"),
        ("signal", "KILL"),
        ("signal", "USR1@99999"),
        ("signal", "B:USR1@"),
        ("signal", "0"),
        ("signal", "$(id)"),
        ("threads-per-core", "9999"),
    ] {
        assert!(set(name, value).is_err(), "{name}={value:?}");
    }
}

#[test]
fn numbers_are_bounded_by_the_product() {
    for (name, value, max) in [
        ("ntasks", "17", 16),
        ("ntasks-per-node", "9", 8),
        ("cpus-per-task", "9", 8),
        ("cpus-per-gpu", "5", 4),
        ("gpus-per-node", "3", 2),
        ("gpus-per-task", "3", 2),
        ("mem", "32001", 32_000),
        ("mem", "1T", 32_000),
        ("mem-per-cpu", "4001", 4_000),
        ("mem-per-gpu", "16001", 16_000),
    ] {
        let refused = set(name, value).unwrap_err();
        assert!(
            matches!(refused, DirectiveRejection::TooMuch { max: most, .. } if most == max),
            "{name}={value}: {refused}"
        );
    }
    for together in [
        &[("ntasks-per-node", "4"), ("cpus-per-task", "3")][..],
        &[("ntasks", "16"), ("cpus-per-task", "2")],
        &[("ntasks-per-node", "2"), ("gpus-per-task", "2")],
        &[("ntasks", "9"), ("ntasks-per-node", "4")],
        &[("mem", "1G"), ("mem-per-cpu", "1G")],
    ] {
        assert!(matches!(all(together), Err(DirectiveRejection::Together(_))), "{together:?}");
    }
}

#[test]
fn several_tasks_share_the_machine() {
    let want = [
        (Directive::NtasksPerNode, "4".to_owned()),
        (Directive::CpusPerTask, "2".to_owned()),
        (Directive::GpusPerNode, "2".to_owned()),
    ];
    assert_eq!(set("ntasks-per-node", "4").unwrap(), want);
    assert_eq!(set("ntasks-per-node", "1").unwrap().len(), 1);
}

#[test]
fn the_later_one_counts() {
    assert_eq!(all(&[("mem", "1G"), ("mem", "2G")]).unwrap(), [(Directive::Mem, "2048M".to_owned())]);
}

#[test]
fn a_workflow_cannot_take_the_whole_node() {
    assert!(matches!(Directive::parse("exclusive", Asker::Workflow), Err(DirectiveRejection::NotForWorkflows(_))));
    assert_eq!(Directive::parse("exclusive", Asker::Approved), Ok(Directive::Exclusive));
    assert_eq!(Directive::parse("mem", Asker::Workflow), Ok(Directive::Mem));
}
