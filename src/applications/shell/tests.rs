//! The shell reads each value back as it was.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Runs a script of bash, and returns what it prints.
fn bash(script: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("bash")
        .args(["--norc", "--noprofile", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_clear()
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    output.stdout
}

fn mark(number: usize) -> String {
    format!("{MARK_START}{number}{MARK_END}")
}

/// What the shell makes of a template with the marks `@0`, `@1` in it.
fn placed(template: &str, values: &[&str]) -> Result<String, Unplaceable> {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    let marked = (0..values.len()).fold(template.to_owned(), |text, at| text.replace(&format!("@{at}"), &mark(at)));
    place(&marked, &values)
}

/// Values that mean something to a shell, to Slurm or to a template.
const HOSTILE: [&str; 24] = [
    "",
    "'",
    "''",
    "\"",
    "$(touch /tmp/countersign-was-here)",
    "`touch /tmp/countersign-was-here`",
    "a b",
    "a;b",
    "a\nb",
    "\n#SBATCH --mail-user=mallory",
    "#SBATCH --output=/tmp/x",
    "{{ 7*7 }}",
    "{% if x %}",
    "{- systemLoad -}",
    "$HOME",
    "${HOME}",
    "\\",
    "\\'",
    "'\\''",
    "é😀\u{202e}",
    "EOF",
    "a\nEOF\ntouch /tmp/countersign-was-here",
    "-rf",
    "*",
];

#[test]
fn a_value_is_one_word_wherever_words_stand() {
    for template in [
        "printf '%s\\0' @0",
        "printf '%s\\0' x@0x",
        "v=@0; printf '%s\\0' \"$v\"",
        "printf '%s\\0' \"$(printf '%s' @0; printf x)\"",
        "f() { printf '%s\\0' \"$1\"; }\nf @0 # a comment that ends: '\n",
        "if [ -n '(' ]; then printf '%s\\0' @0; fi",
        "(printf '%s\\0' @0)",
        "cat <<'END' >/dev/null\nit's \"not\" code $(\nEND\nprintf '%s\\0' @0",
        "cat <<-END >/dev/null; printf '%s\\0' @0\n\ttext '\n\tEND\n",
        "printf '%s\\0' \\\n  @0",
        "echo $((1 + 2)) >/dev/null; printf '%s\\0' @0",
        "for ((i = 0; i < 1; i++)); do printf '%s\\0' @0; done",
        "x=${HOME:-none}; printf '%s\\0' @0",
        "printf '%s\\0' $'it\\'s' @0 | tail -zn 1",
        "case a in a) printf '%s\\0' @0;; esac",
        "cat <<<@0 >/dev/null; printf '%s\\0' @0",
        "a=(1 2); echo ${#a} $# >/dev/null; printf '%s\\0' @0",
    ] {
        for value in HOSTILE {
            let script = placed(template, &[value]).unwrap_or_else(|refused| panic!("{template:?}: {refused}"));
            let printed = String::from_utf8(bash(&script)).unwrap();
            let want = if template.contains("x@0x") { format!("x{value}x\0") } else { format!("{value}\0") };
            let want = if template.contains("printf x)") { format!("{value}x\0") } else { want };
            assert_eq!(printed, want, "{template:?} with {value:?}:\n{script}");
        }
    }
    assert!(!std::path::Path::new("/tmp/countersign-was-here").exists());
}

#[test]
fn where_quotes_do_not_hold_only_plain_characters_may_stand() {
    for template in [
        "echo \"@0\"",
        "echo '@0'",
        "echo $'@0'",
        "echo `ls @0`",
        "echo $((@0 + 1))",
        "((x = @0))",
        "echo ${x:-@0}",
        "cat <<EOF\n@0\nEOF",
        "cat <<'EOF'\n@0\nEOF",
        "# @0",
        "echo \"$(echo \"@0\")\"",
        "echo \"${x:-\"@0\"}\"",
        "echo \"$(case x in x) echo ;; esac)\" @0",
        "echo \"$([[ x =~ [)] ]])\" @0",
        "cat <<EOF $(\nEOF\n) @0",
        "cat <<@0\nx\n@0",
        "echo $[ @0 ]",
        "((cat <<E) ) @0\n))\nE",
        "echo x\r\ncat <<E\r\n@0",
    ] {
        for value in HOSTILE.into_iter().filter(|value| !value.is_empty() && !matches!(*value, "-rf" | "EOF")) {
            assert!(placed(template, &[value]).is_err(), "{template:?} with {value:?}");
        }
        assert!(placed(template, &["2.5-x"]).is_ok() || template.contains("<<@0"), "{template:?}");
    }
}

#[test]
fn a_value_never_joins_what_is_before_it() {
    for template in ["echo $@0", "echo \\@0", "echo \"$@0\"", "echo \"\\@0\""] {
        for value in ["HOME", "", "(id)", "{HOME}", "'x'"] {
            assert!(placed(template, &[value]).is_err(), "{template:?} with {value:?}");
        }
    }
}

#[test]
fn a_value_never_ends_a_here_document() {
    assert!(placed("cat <<EOF\n@0\n@1\nEOF", &["EOF", "reboot"]).is_err());
    assert!(placed("cat <<EOF\nE@0\n@1\nEOF", &["OF", "reboot"]).is_err());
    assert!(placed("cat <<-EOF\n\t@0\n@1\nEOF", &["EOF", "reboot"]).is_err());
    assert!(placed("cat <<EOF\n@0x\n@1\nEOF", &["EOF", "reboot"]).is_ok());
}

#[test]
fn a_mark_that_no_value_belongs_to_is_refused() {
    assert!(place(&mark(1), &["x".to_owned()]).is_err());
    assert!(place("\u{1}", &["x".to_owned()]).is_err());
    assert!(place("\u{1}x\u{2}", &["x".to_owned()]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bash_reads_every_value_back(values in prop::collection::vec("[^\\x00]{0,40}", 1..6)) {
        let words: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let printed = bash(&format!("printf '%s\\0' {}", words.join(" ")));
        let want: String = values.iter().map(|value| format!("{value}\0")).collect();
        prop_assert_eq!(String::from_utf8(printed).unwrap(), want);
    }

    /// Whatever quotes a template has: either the value is refused, or nothing of it runs.
    #[test]
    fn no_arrangement_of_quotes_lets_a_value_run(
        before in "[-a \"'`$(){}<>#\\\\;|&\n=1E]{0,24}",
        after in "[-a \"'`$(){}<>#\\\\;|&\n=1E]{0,12}",
        value in prop::sample::select(vec![
            "$(printf RAN >&2)", "`printf RAN >&2`", "';printf RAN >&2;'", "\";printf RAN >&2;\"", "\nprintf RAN >&2\n",
            ");printf RAN >&2;(", "}printf RAN >&2;{", "\\", "a[$(printf RAN >&2)]", "x'$(printf RAN >&2)'x",
        ]),
    ) {
        if let Ok(script) = placed(&format!("{before}@0{after}\n"), &[value]) {
            prop_assert!(!ran(&script), "{script:?}");
        }
    }
}

/// Whether the script prints the word that only a value prints.
fn ran(script: &str) -> bool {
    use std::io::Write as _;
    let empty = tempfile::tempdir().unwrap();
    let mut child = Command::new("timeout")
        .args(["5", "bash", "--norc", "--noprofile", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .current_dir(empty.path())
        .env_clear()
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    let output = child.wait_with_output().unwrap();
    // bash's own messages may quote the value, and so hold its text, but then with what prints it.
    String::from_utf8_lossy(&output.stderr).replace("printf RAN", "").contains("RAN")
}
