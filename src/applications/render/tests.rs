//! Tests of whole scripts: what a shell makes of them, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, Stdio};

use countersign_config::{Accounting, Frequency, Machine, Placement, ProductKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::invocation::Invocation;

const GROMACS: &str = include_str!("../samples/gromacs.json");
const TEMPLATE: &str = include_str!("../samples/template.json");

/// Printed by the program of the samples: its arguments, each with a NUL after it.
const PROGRAM: &str = "module() { :; }\nprogram() { printf '%s\\0' \"$@\"; }\ngmx() { program \"$@\"; }\n\
                       srun() { \"$@\"; }\n";

/// What would run if a value got out of its word.
const PROOF: &str = "/tmp/countersign-value-ran";

fn product() -> Product {
    let [unit, unit_plural] = ["Core", "Cores"].map(str::to_owned);
    Product {
        name: "cluster-4-vcpu".to_owned(),
        category: "cluster".to_owned(),
        kind: ProductKind::Compute,
        description: String::new(),
        price: 4,
        accounting: Accounting { unit, unit_plural, frequency: Frequency::Minute, is_free: false },
        is_hidden: false,
        machine: Machine { cpu: 4, cpu_model: "EPYC 7742".to_owned(), memory_gb: 16, ..Machine::default() },
        placement: Placement::default(),
        licence: None,
    }
}

fn local_path(path: &str) -> Result<String, String> {
    match path.strip_prefix("/1/") {
        Some(rest) => Ok(format!("/home/alice/{rest}")),
        None => Err("the drive does not exist".to_owned()),
    }
}

fn licence(id: &str) -> Option<String> {
    (id == "31").then(|| "licences.example.org:27000/key".to_owned())
}

fn with_site<R>(job_id: Option<&str>, act: impl FnOnce(&Site<'_>) -> R) -> R {
    let product = product();
    act(&Site {
        job_id,
        product: &product,
        partition: Some("short"),
        qos: None,
        local_path: &local_path,
        licence: &licence,
    })
}

fn render_as(application: &Startable, specification: &Value, job_id: Option<&str>) -> Result<Rendered, RenderFailure> {
    let text = serde_json::to_vec(specification).unwrap();
    let specification = Json::parse(&text, 32).unwrap();
    with_site(job_id, |site| render(application, &specification, site))
}

fn application(text: &str) -> Startable {
    Startable::approved_without_file("app", "1", Invocation::parse(text.as_bytes()).unwrap())
}

fn specification(parameters: &Value) -> Value {
    json!({
        "application": {"name": "app", "version": "1"}, "name": "n", "replicas": 1, "parameters": parameters,
        "product": {"id": "c", "category": "c", "provider": "p"}, "timeAllocation": {"hours": 1},
    })
}

fn rendered(text: &str, parameters: &Value) -> Result<Rendered, RenderFailure> {
    render_as(&application(text), &specification(parameters), Some("54112"))
}

fn file(path: &str) -> Value {
    json!({"type": "file", "path": path})
}

fn text(value: &str) -> Value {
    json!({"type": "text", "value": value})
}

/// Runs a script without a login shell, and returns the arguments that its program got.
fn run(script: &str) -> Vec<String> {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let bash = |arguments: &[&str], script: &str| {
        let mut child = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let checked = bash(&["-n"], script);
    assert!(checked.status.success(), "{}\n{script}", String::from_utf8_lossy(&checked.stderr));
    let output = bash(&["-s"], &format!("{PROGRAM}{script}"));
    assert!(!std::path::Path::new(PROOF).exists(), "a value ran:\n{script}");
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.split_terminator('\0').map(str::to_owned).collect()
}

const SHOWN: &str = "\
#!/bin/bash -l
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=2
export SLURM_EXPORT_ENV=ALL
export UCLOUD_APPLICATION_NAME=app
export UCLOUD_APPLICATION_VERSION=1
export UCLOUD_MACHINE_CATEGORY=cluster
export UCLOUD_MACHINE_CPU=4
export UCLOUD_MACHINE_CPU_MODEL='EPYC 7742'
export UCLOUD_MACHINE_GPU=0
export UCLOUD_MACHINE_GPU_MODEL=''
export UCLOUD_MACHINE_MEMORY_IN_GIGS=16
export UCLOUD_MACHINE_MEMORY_MODEL=''
export UCLOUD_MACHINE_NAME=cluster-4-vcpu
export UCLOUD_NODES=1
export UCLOUD_PARTITION=short
export GMX_NOTE='a '\\''b'\\'''
export OMP_NUM_THREADS='4'
module purge
module load 'GROMACS/2024.1'

'gmx' 'mdrun' '-s' '/home/alice/x.tpr' '--steps=1000' '-scale' '0.5' '--mode=fast' '-v' '[a '\\''b'\\'']' \"${OMP_NUM_THREADS}\"
";

fn usual() -> Value {
    json!({
        "input": file("/1/x.tpr"), "note": text("a 'b'"), "verbose": {"type": "boolean", "value": true},
        "scale": {"type": "floating_point", "value": 0.5},
    })
}

#[test]
fn the_whole_script() {
    let rendered = rendered(GROMACS, &usual()).unwrap();
    assert_eq!(rendered.shown, SHOWN);
    let want = SHOWN.replace("#SBATCH --ntasks-per-node=2\n#SBATCH --cpus-per-task=2\n", "");
    let want = want.replacen("ENV=ALL\n", "ENV=ALL\nexport UCLOUD_JOB_ID=54112\n", 1);
    assert_eq!(rendered.script, want);
    let directives = [(Directive::NtasksPerNode, "2".to_owned()), (Directive::CpusPerTask, "2".to_owned())];
    assert_eq!(rendered.directives, directives);
    let want =
        ["mdrun", "-s", "/home/alice/x.tpr", "--steps=1000", "-scale", "0.5", "--mode=fast", "-v", "[a 'b']", "4"];
    assert_eq!(run(&rendered.script), want);
}

#[test]
fn the_id_of_the_job_is_not_part_of_what_is_shown() {
    let application = application(TEMPLATE);
    let specification = specification(&json!({"folder": file("/1/d")}));
    let preview = render_as(&application, &specification, None).unwrap();
    let one = render_as(&application, &specification, Some("1")).unwrap();
    let other = render_as(&application, &specification, Some("9999999999999999999")).unwrap();
    assert_eq!(preview.shown, one.shown);
    assert_eq!(one.shown, other.shown);
    assert_eq!(one.script.replace("UCLOUD_JOB_ID=1\n", "UCLOUD_JOB_ID=9999999999999999999\n"), other.script);
    for id in ["", "1;id", "1\n", "-1", "12345678901234567890", "x", "१"] {
        assert_eq!(render_as(&application, &specification, Some(id)), Err(RenderFailure::JobId), "{id:?}");
    }
}

#[test]
fn text_of_directives_in_a_script_has_no_power() {
    // sbatch reads directives up to the first command, and those on its command line count before
    // them. The second line of every script is a command.
    let hostile = "\n#SBATCH --mail-user=mallory\n#SBATCH --output=/tmp/x";
    let mut parameters = usual();
    parameters["extra"] = text(hostile);
    let rendered = rendered(GROMACS, &parameters).unwrap();
    let before: Vec<&str> = rendered.script.lines().take_while(|line| line.starts_with('#')).collect();
    assert_eq!(before, ["#!/bin/bash -l"]);
    assert_eq!(rendered.directives.len(), 2);
    let arguments = run(&rendered.script);
    assert!(arguments.contains(&hostile.to_owned()), "{arguments:?}");
    // What is shown names as directives only what is one.
    let shown: Vec<&str> = rendered.shown.lines().skip(1).take_while(|line| line.starts_with("#SBATCH ")).collect();
    assert_eq!(shown, ["#SBATCH --ntasks-per-node=2", "#SBATCH --cpus-per-task=2"]);
}

#[test]
fn a_template_makes_words_and_asks_for_directives() {
    let parameters = json!({
        "folder": file("/1/my data"), "tasks": {"type": "integer", "value": 4}, "note": text("it's; $(id)"),
        "verbose": {"type": "boolean", "value": true}, "mode": text("Fast"), "text": text("one\n$HOME `id`"),
    });
    let rendered = rendered(TEMPLATE, &parameters).unwrap();
    let tail = rendered.script.split("\n\n").last().unwrap();
    let want = "\nset -x\ncd '/home/alice/my data'\nsrun program '--note' 'it'\\''s; $(id)' '-v' '--mode=Fast' -- \
                'one\n$HOME `id`'\n";
    assert!(rendered.script.ends_with(want), "{tail}");
    assert!(rendered.script.contains("export TITLE='it'\\''s; $(id)!'\n"), "{}", rendered.script);
    let directives = [
        (Directive::NtasksPerNode, "4".to_owned()),
        (Directive::CpusPerTask, "1".to_owned()),
        (Directive::Hint, "nomultithread".to_owned()),
    ];
    assert_eq!(rendered.directives, directives);
    let target = Target { rank: 0, kind: template::TargetKind::Web, name: "Dashboard".to_owned(), port: 8080 };
    assert_eq!(rendered.targets, [target]);
    let want = ["--note", "it's; $(id)", "-v", "--mode=Fast", "--", "one\n$HOME `id`"];
    assert_eq!(run(&rendered.script), want);
}

#[test]
fn an_application_with_a_port_chooses_it_on_the_node() {
    let rendered = rendered(TEMPLATE, &json!({"folder": file("/1/d")})).unwrap();
    let script =
        format!("{}\nprogram \"$UCLOUD_PORT\" \"$UCLOUD_WEB_PORT\" \"$(cat allocated-port.txt)\"", rendered.script);
    let ports = run(&script.replace("\ncd ", "\n: "));
    let ports: Vec<u16> = ports.iter().rev().take(3).map(|port| port.parse().unwrap()).collect();
    assert!(ports[0] >= 10_000 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

/// A value for a parameter of each kind that takes text from the user.
fn hostile_values(value: &str) -> Value {
    json!({"input": file(&format!("/1/{value}")), "note": text(value), "extra": text(value), "mode": text("Fast")})
}

#[test]
fn no_value_of_any_kind_gets_out_of_its_word() {
    for value in [
        "'",
        "\"",
        "$(touch /tmp/countersign-value-ran)",
        "`touch /tmp/countersign-value-ran`",
        "a b",
        ";",
        "&",
        "|",
        "\\",
        "'; touch /tmp/countersign-value-ran; '",
        "\"; touch /tmp/countersign-value-ran; \"",
        "$HOME",
        "${HOME}",
        "{{ 7*7 }}",
        "{% raw %}",
        "{- systemLoad -}",
        "#SBATCH --output=/x",
        "é😀\u{202e}\u{fb33}",
        "-rf",
        "--",
        "*",
        "~",
        "!!",
        "%s",
        "a'b'c'd",
        "x\u{a0}#y",
        "<<EOF",
        "EOF",
        "))",
        "}",
    ] {
        let rendered = rendered(GROMACS, &hostile_values(value)).unwrap();
        let want = [
            "mdrun",
            "-s",
            &format!("/home/alice/{value}"),
            "--steps=1000",
            "--mode=fast",
            &format!("[{value}]"),
            "--",
            value,
            "4",
        ];
        assert_eq!(run(&rendered.script), want, "{value:?}");
    }
    // Line breaks in the kinds that may have them.
    let value = "a\n#SBATCH --output=/x\n'\ntouch /tmp/countersign-value-ran\n\t$(id)";
    let rendered = rendered(GROMACS, &json!({"input": file(&format!("/1/{value}")), "extra": text(value)})).unwrap();
    let arguments = run(&rendered.script);
    assert_eq!(arguments.get(2).map(String::as_str), Some(format!("/home/alice/{value}").as_str()));
    assert_eq!(arguments.get(6).map(String::as_str), Some(value));
}

/// The refusal of one parameter's value.
fn refused(parameters: &Value) -> String {
    rendered(GROMACS, parameters).unwrap_err().to_string()
}

#[test]
fn values_are_what_the_application_declares() {
    for (name, value, want) in [
        (
            "note",
            json!({"type": "integer", "value": 1}),
            "the parameter \"note\" has a value of the type \"integer\", and needs a text",
        ),
        ("note", json!({"type": "text", "value": 7}), "the parameter \"note\" is not in the form of its type"),
        ("note", text("a\nb"), "the parameter \"note\" has a line break or a control character, which it cannot have"),
        (
            "note",
            text("a\u{0}b"),
            "the parameter \"note\" has a line break or a control character, which it cannot have",
        ),
        (
            "note",
            text("a\u{1}0\u{2}"),
            "the parameter \"note\" has a line break or a control character, which it cannot have",
        ),
        (
            "extra",
            text("a\u{0}b"),
            "the parameter \"extra\" has a line break or a control character, which it cannot have",
        ),
        (
            "extra",
            text("a\u{1b}b"),
            "the parameter \"extra\" has a line break or a control character, which it cannot have",
        ),
        ("extra", text(&"x".repeat(70_000)), "the parameter \"extra\" is too long"),
        ("steps", json!({"type": "integer"}), "the parameter \"steps\" is smaller than the application allows"),
        (
            "steps",
            json!({"type": "integer", "value": 1_000_001}),
            "the parameter \"steps\" is larger than the application allows",
        ),
        ("steps", json!({"type": "integer", "value": 1.5}), "the parameter \"steps\" is not in the form of its type"),
        ("steps", json!({"type": "integer", "value": "1"}), "the parameter \"steps\" is not in the form of its type"),
        (
            "steps",
            json!({"type": "integer", "value": 9_007_199_254_740_993_i64}),
            "the parameter \"steps\" is not in the form of its type",
        ),
        (
            "scale",
            json!({"type": "floating_point", "value": 0.25}),
            "the parameter \"scale\" is smaller than the application allows",
        ),
        (
            "scale",
            json!({"type": "floating_point", "value": 2.5}),
            "the parameter \"scale\" is larger than the application allows",
        ),
        (
            "scale",
            json!({"type": "floating_point", "value": "1"}),
            "the parameter \"scale\" is not in the form of its type",
        ),
        (
            "verbose",
            json!({"type": "boolean", "value": "true"}),
            "the parameter \"verbose\" is not in the form of its type",
        ),
        ("mode", text("fast"), "the parameter \"mode\" cannot be \"fast\": it is none of its options"),
        ("mode", text(""), "the parameter \"mode\" cannot be \"\": it is none of its options"),
        ("input", file("/2/x"), "the parameter \"input\": the drive does not exist"),
        (
            "input",
            json!({"type": "file", "path": "/1/x", "mountPath": "/opt/x"}),
            "the parameter \"input\" has a place in a container, which jobs at this computing centre do not have",
        ),
        ("input", json!({"type": "file"}), "the parameter \"input\" is not in the form of its type"),
        ("nothing", text("x"), "the application has no parameter \"nothing\""),
        ("INPUT", file("/1/x"), "the application has no parameter \"INPUT\""),
    ] {
        let mut parameters = usual();
        parameters[name] = value;
        assert_eq!(refused(&parameters), want);
    }
    assert_eq!(refused(&json!({})), "the parameter \"input\" has no value, and needs one");
}

#[test]
fn what_core_and_the_provider_add_is_no_value_of_the_application() {
    let mut parameters = usual();
    parameters["ucMetricSampleRate"] = text("0ms");
    parameters["_injected_slurmAccount"] = text("$(id)");
    assert_eq!(rendered(GROMACS, &parameters).unwrap().shown, SHOWN);
    parameters["_injected_modules"] = json!({"type": "modules", "modules": ["R/4.4", "zlib"]});
    let with_modules = rendered(GROMACS, &parameters).unwrap();
    assert!(with_modules.script.contains("module load 'GROMACS/2024.1'\nmodule load 'R/4.4'\nmodule load 'zlib'\n"));
    for module in ["-l", "a b", "a;b", "$(id)", "", "a\nb", "/x", "x'"] {
        parameters["_injected_modules"] = json!({"type": "modules", "modules": [module]});
        assert_eq!(
            refused(&parameters),
            "the parameter \"_injected_modules\" is not in the form of its type",
            "{module:?}"
        );
    }
}

#[test]
fn what_a_slurm_site_does_not_have_is_refused() {
    for (kind, value, want) in [
        ("peer", json!({"type": "peer", "hostname": "h", "jobId": "7"}), "a connection to another job"),
        ("network_ip", json!({"type": "network", "id": "7"}), "a public address"),
        ("private_network", json!({"type": "private_network", "id": "7"}), "a private network"),
    ] {
        let text = GROMACS.replacen(
            "\"type\":\"text\",\"name\":\"note\"",
            &format!("\"type\":\"{kind}\",\"name\":\"note\""),
            1,
        );
        let mut parameters = usual();
        parameters["note"] = value;
        let refused = rendered(&text, &parameters).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("the parameter \"note\" has {want}, which jobs at this computing centre do not have")
        );
    }
    for (resource, want) in [
        (file("/1/x"), "a folder that is mounted into a container"),
        (json!({"type": "peer", "jobId": "1"}), "a connection to another job"),
        (json!({"type": "network", "id": "1"}), "a public address"),
        (json!({"type": "private_network", "id": "1"}), "a private network"),
        (json!({"type": "block_storage", "id": "1"}), "a block device"),
        (json!({"type": "api_server", "token": "x"}), "a server of UCloud's interface"),
        (json!({"type": "gpu"}), "a resource of an unknown type"),
    ] {
        let mut specification = specification(&usual());
        specification["resources"] = json!([resource]);
        let refused = render_as(&application(GROMACS), &specification, None);
        assert_eq!(refused, Err(RenderFailure::NoMeaning(want)));
    }
    for (find, replace, want) in [
        ("\"ucx\":null", "\"ucx\":{}", "a UCX application"),
        ("\"inference\":null", "\"inference\":{\"mode\":\"x\"}", "an inference application"),
        ("\"NATIVE\"", "\"DOCKER\"", "a container (DOCKER)"),
        ("\"NATIVE\"", "\"VIRTUAL_MACHINE\"", "a virtual machine"),
        ("\"NATIVE\"", "\"UCX\"", "a UCX application"),
    ] {
        assert_eq!(rendered(&GROMACS.replacen(find, replace, 1), &usual()), Err(RenderFailure::Unsupported(want)));
    }
}

#[test]
fn licences_come_from_the_sites_table() {
    let text =
        GROMACS.replacen("\"type\":\"text\",\"name\":\"note\"", "\"type\":\"license_server\",\"name\":\"note\"", 1);
    let mut parameters = usual();
    parameters["note"] = json!({"type": "license_server", "id": "31"});
    assert!(rendered(&text, &parameters).unwrap().script.contains("'[licences.example.org:27000/key]'"));
    parameters["note"] = json!({"type": "license_server", "id": "32"});
    let refused = rendered(&text, &parameters).unwrap_err().to_string();
    assert_eq!(refused, "the parameter \"note\" names the licence \"32\", which this computing centre does not have");
}

#[test]
fn an_application_sets_no_other_directive() {
    for name in ["output", "chdir", "export", "mail-user", "account", "partition", "time", "job-name", "comment"] {
        let of_map = GROMACS.replacen("\"ntasks-per-node\"", &format!("\"{name}\""), 1);
        let want = format!("an application cannot set the option {name:?} of sbatch");
        assert_eq!(rendered(&of_map, &usual()).unwrap_err().to_string(), want);
        let of_template = TEMPLATE.replacen(
            "sbatch(\\\"hint\\\", \\\"nomultithread\\\")",
            &format!("sbatch(\\\"{name}\\\", text)"),
            1,
        );
        assert_ne!(of_template, TEMPLATE);
        let refused = rendered(&of_template, &json!({"folder": file("/1/d")})).unwrap_err();
        assert_eq!(refused.to_string(), want);
    }
    // A value of a user cannot add an option to the one that it belongs to.
    let of_template =
        TEMPLATE.replacen("sbatch(\\\"hint\\\", \\\"nomultithread\\\")", "sbatch(\\\"constraint\\\", text)", 1);
    for value in ["a --output=/x", "a\n#SBATCH --output=/x", "$(id)", "a|b", "--mail-user=x"] {
        let refused = rendered(&of_template, &json!({"folder": file("/1/d"), "text": text(value)})).unwrap_err();
        assert!(matches!(refused, RenderFailure::Directive(DirectiveRejection::Value { .. })), "{value:?}: {refused}");
    }
}

#[test]
fn the_evidence_is_of_the_application_that_was_signed() {
    for (name, version) in [("app", "2"), ("other", "1"), ("App", "1")] {
        let mut specification = specification(&usual());
        specification["application"] = json!({"name": name, "version": version});
        assert_eq!(render_as(&application(GROMACS), &specification, None), Err(RenderFailure::OtherApplication));
    }
    for (member, value, want) in [
        ("application", json!(null), RenderFailure::Specification),
        ("application", json!({"name": "app"}), RenderFailure::Specification),
        ("parameters", json!([1]), RenderFailure::Specification),
        ("replicas", json!(-1), RenderFailure::Nodes),
        ("replicas", json!(1_000_000), RenderFailure::Nodes),
        ("replicas", json!("1"), RenderFailure::Nodes),
    ] {
        let mut specification = specification(&usual());
        specification[member] = value;
        assert_eq!(render_as(&application(GROMACS), &specification, None), Err(want));
    }
}

#[test]
fn an_application_cannot_say_what_describes_the_job() {
    let text = GROMACS.replacen("\"GMX_NOTE\":", "\"UCLOUD_JOB_ID\":", 1);
    assert_eq!(rendered(&text, &usual()), Err(RenderFailure::Variable("UCLOUD_JOB_ID".to_owned())));
}

fn workflow(job: &str, inputs: &Value) -> Value {
    let specification = json!({"applicationName": "wf", "language": "JINJA2", "job": job, "inputs": inputs});
    json!({"type": "workflow", "specification": specification})
}

fn workflow_only(parameters: &Value) -> Result<Rendered, RenderFailure> {
    let application = Startable::workflow_without_configuration("app", "1");
    render_as(&application, &specification(parameters), Some("7"))
}

#[test]
fn a_workflow_runs_what_the_user_signed_and_nothing_else() {
    let inputs = json!([
        {"type": "text", "name": "who", "optional": true, "defaultValue": "you"},
        {"type": "enumeration", "name": "how", "optional": true, "options": [{"name": "Loud", "value": "!"}]},
    ]);
    let job = "program {{ who }} {{ how }}{{ sbatch(\"mem\", \"2G\") }}";
    let parameters = json!({"workflow": workflow(job, &inputs), "how": text("Loud")});
    let rendered = workflow_only(&parameters).unwrap();
    assert_eq!(run(&rendered.script), ["you", "Loud"]);
    assert_eq!(rendered.directives, [(Directive::Mem, "2048M".to_owned())]);
    for (parameters, want) in [
        (json!({}), "the application runs a workflow, and the job has none"),
        (json!({"a": workflow("x", &json!([])), "b": workflow("y", &json!([]))}), "the job has two workflows"),
        (json!({"a": workflow(" ", &json!([]))}), "the application has an empty command"),
        (json!({"a": workflow("x\u{1}0\u{2}", &json!([]))}), "the workflow is no text, or has control characters"),
        (
            json!({"a": workflow("x", &json!([{"type": "text"}]))}),
            "the workflow has an input that is not in the form of one",
        ),
        (json!({"a": workflow("x", &json!([])), "b": text("y")}), "the application has no parameter \"b\""),
        (
            json!({"a": workflow("{{ sbatch(\"exclusive\") }}x", &json!([]))}),
            "a workflow cannot set the option \"exclusive\" of sbatch, since it takes more than the machine that was chosen",
        ),
    ] {
        assert_eq!(workflow_only(&parameters).unwrap_err().to_string(), want);
    }
    let mut other = json!({"a": workflow("x", &json!([]))});
    other["a"]["specification"]["language"] = json!("SH");
    assert_eq!(workflow_only(&other).unwrap_err().to_string(), "the workflow is in another language than JINJA2");
    other["a"]["specification"]["language"] = json!("JINJA2");
    other["a"]["specification"]["init"] = json!("id");
    assert!(workflow_only(&other).is_err());
}

#[test]
fn what_the_signature_does_not_tell_apart_changes_nothing() {
    let short = json!({"input": file("/1/x"), "scale": {"type": "floating_point", "value": 1}});
    let long = json!({
        "input": {"type": "file", "path": "/1/x", "mountPath": "", "readOnly": false, "value": null, "hostname": "",
                  "jobId": "", "id": "", "specification": {"applicationName": "", "language": "", "init": null},
                  "modules": null, "port": 0, "tls": false, "server": "", "token": "", "tokenType": ""},
        "scale": {"type": "floating_point", "value": 1, "path": "", "modules": []},
    });
    assert_eq!(rendered(GROMACS, &short), rendered(GROMACS, &long));
    let mut specification = specification(&short);
    let one = render_as(&application(GROMACS), &specification, None).unwrap();
    for (member, value) in [("resources", json!(null)), ("hostname", json!("")), ("allowDuplicateJob", json!(true))] {
        specification[member] = value;
    }
    assert_eq!(render_as(&application(GROMACS), &specification, None).unwrap(), one);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every text arrives as it is, and twice the same is twice the same.
    #[test]
    fn every_text_arrives(note in "[^\\p{Cc}]{0,40}", extra in "([^\\p{Cc}]|[\n\t]){1,60}", path in "[^\\p{Cc}\0/]{1,40}") {
        let parameters = json!({"input": file(&format!("/1/{path}")), "note": text(&note), "extra": text(&extra)});
        let one = rendered(GROMACS, &parameters).unwrap();
        prop_assert_eq!(&one, &rendered(GROMACS, &parameters).unwrap());
        let path = format!("/home/alice/{path}");
        let note = format!("[{note}]");
        let want = ["mdrun", "-s", &path, "--steps=1000", "--mode=fast", &note, "--", &extra, "4"];
        prop_assert_eq!(run(&one.script), want);
    }

    /// The order of members changes nothing.
    #[test]
    fn the_order_of_parameters_changes_nothing(turn in 0..4_usize) {
        let mut members: Vec<(String, Value)> = usual().as_object().unwrap().clone().into_iter().collect();
        members.rotate_left(turn);
        let text = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
        let text = format!("{{\"parameters\":{{{text}}},\"replicas\":1,\"application\":{{\"version\":\"1\",\"name\":\"app\"}}}}");
        let specification = Json::parse(text.as_bytes(), 32).unwrap();
        let shown = with_site(None, |site| render(&application(GROMACS), &specification, site)).unwrap().shown;
        prop_assert_eq!(shown, SHOWN);
    }
}
