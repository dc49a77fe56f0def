//! Tests of templates: their limits, and what they may not do.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn context(act: impl FnOnce(&Context<'_>)) {
    let values = BTreeMap::from([
        ("name".to_owned(), Value::Text("it's $(id)".to_owned())),
        ("plain".to_owned(), Value::Text("abc".to_owned())),
        ("many".to_owned(), Value::Integer(3)),
        ("off".to_owned(), Value::Boolean { truth: false, argument: "no".to_owned() }),
    ]);
    act(&Context { values: &values, ucloud: minijinja::Value::from_pairs([("nodes", 2)]) });
}

/// The output of a template that makes a script.
fn check(template: &str, want: &str) {
    context(|context| match script(template, context) {
        Ok((made, _)) => assert_eq!(made, want, "{template:?}"),
        Err(failure) => panic!("{template:?}: {failure}"),
    });
}

fn failure_of(template: &str) -> TemplateFailure {
    let mut failure = None;
    context(|context| failure = script(template, context).err());
    failure.unwrap_or_else(|| panic!("{template:?} is not refused"))
}

#[test]
fn every_value_is_a_word() {
    check("echo {{ name }}", r"echo 'it'\''s $(id)'");
    check("echo {{ name ~ '!' }}", r"echo 'it'\''s $(id)!'");
    check("echo {{ name | upper }}", r"echo 'IT'\''S $(ID)'");
    check("echo {{ [name, many, 'x y'] }}", r"echo 'it'\''s $(id)' '3' 'x y'");
    check("{% for x in range(many) %}{{ x }} {% endfor %}", "'0' '1' '2' ");
    check("{% set x %}a {{ name }}{% endset %}{{ x }}", r"a 'it'\''s $(id)'");
    check("{% macro m(x) %}-x {{ x }}{% endmacro %}{{ m(name) }}", r"-x 'it'\''s $(id)'");
    check("{% autoescape false %}{{ name }}{% endautoescape %}", r"'it'\''s $(id)'");
    check("{{ name | e }}", r"'it'\''s $(id)'");
    check("{{ none }}{{ ucloud.nodes }}", "'2'");
    check("{% if off %}a{% else %}b{% endif %}", "b");
    check("{% if nothing %}a{% endif %}{% if nothing is defined %}b{% endif %}", "");
}

#[test]
fn functions_of_ucloud() {
    check("{{ srun() }}x", "srun x");
    check("{{ ternary(many == 3, 'a', 'b') }}", "'a'");
    check("{{ off | flag('-v') }}{{ off | flag('-v', '-q') }}", "'-q'");
    check("{{ name | option('--name') }}", r"'--name' 'it'\''s $(id)'");
    check("{{ name | option('--name=') }}", r"'--name=it'\''s $(id)'");
    check("{{ plain | option('-p', false) }}", "'-pabc'");
    check("{{ nothing | option('--name') }}", "");
    check("a{- systemLoad -}b{- systemUnload -}c", "abc");
    check("{{- plain -}}", "'abc'");
    context(|context| {
        let (_, asked) = script("{{ sbatch('mem', '1G') }}{{ sbatch('exclusive') }}", context).unwrap();
        let want = [("mem".to_owned(), "1G".to_owned()), ("exclusive".to_owned(), String::new())];
        assert_eq!(asked.directives, want);
    });
}

#[test]
fn the_text_of_an_argument_is_not_quoted_twice() {
    context(|context| {
        assert_eq!(
            argument("{{ name }} {{ many }}{{ name | option('-n=') }}", context).unwrap(),
            "it's $(id) 3-n=it's $(id)"
        );
        assert!(argument("{{ sbatch('mem', 1) }}", context).is_err(), "a directive in an argument");
    });
}

#[test]
fn nothing_switches_quoting_off() {
    for template in [
        "{{ name | safe }}",
        "{{ name | pprint }}",
        "{{ debug() }}",
        "{{ script('/bin/sh') }}",
        "{% include 'other' %}",
        "{% import 'other' as other %}",
        "{% extends 'other' %}",
        "{{ name is match('x') }}",
        "\"{{ name }}\"",
        "echo '{{ name }}'",
        "cat <<EOF\n{{ name }}\nEOF",
        "# {{ name }}",
        "echo ${{ name }}",
        "{% set x %}{{ name }}{% endset %}{{ x | upper | replace('0', '1') ~ 5 }}",
        "{% autoescape false %}{% set x %}{{ name }}{% endset %}{{ x }}{% endautoescape %}",
        "{{ \"\\u0001\" ~ \"0\" ~ \"\\u0002\" }}",
        "{{ ucloud }}",
        "{{ range }}",
        "{{ [[name]] }}",
        "{{ nothing }}",
        "rm -rf {{ nothing }}/x",
        "{{ name.nothing }}",
    ] {
        failure_of(template);
    }
}

#[test]
fn macros_of_ucloud_are_refused_by_name() {
    for (template, name) in [
        ("{- applicationLoad -}", "{- applicationLoad -}"),
        ("x\n{- loadApplication(\"a\",\"1\") -}", "{- loadApplication(\"a\",\"1\") -}"),
        ("{- versionResolver(\"loose\") -}", "{- versionResolver(\"loose\") -}"),
    ] {
        assert_eq!(failure_of(template), TemplateFailure::Macro(name.to_owned()));
    }
}

#[test]
fn time_and_memory_are_bounded() {
    for template in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% for i in range(1000) %}{{ sbatch('mem', i) }}{% endfor %}",
        "{% for i in range(1000) %}{{ dynamicInterface(i, 'WEB', 'x', 80) }}{% endfor %}",
        "{{ range(1000000000) | list | length }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    ] {
        failure_of(template);
    }
    assert_eq!(failure_of("a\u{1}b"), TemplateFailure::Control);
    failure_of(&"{{ (".repeat(10_000));
    failure_of(&format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000)));
}

#[test]
fn targets_are_plain() {
    for call in [
        "dynamicInterface(0, 'SSH', 'x', 80)",
        "dynamicInterface(-1, 'WEB', 'x', 80)",
        "dynamicInterface(0, 'WEB', '', 80)",
        "dynamicInterface(0, 'WEB', 'a{}\"', 80)",
        "dynamicInterface(0, 'WEB', 'x', 0)",
        "dynamicInterface(0, 'WEB', 'x', 70000)",
    ] {
        failure_of(&format!("{{{{ {call} }}}}"));
    }
}

#[test]
fn a_failure_says_where() {
    let failure = failure_of("a\nb\n{{ name | nothing_of_this_name }}");
    let TemplateFailure::Template(message) = failure else { panic!("{failure}") };
    assert!(message.contains("nothing_of_this_name") && message.contains("line 3"), "{message}");
}
