# Sourced by ./test: the names of all tests, read from the sources, so that a list needs no build.

# In the order in which they run.
suites=(crates interop web units mounts jobs accounts browser fuzzing bench demo)

all_tests() { # lines of suite, tab, test, tab, file
    find src keys portal bench tests -name '*.rs' -not -path '*/node_modules/*' -not -path '*/compile_fail/*' | sort | xargs awk '
        FNR == 1 { test = 0 }
        /^ *#\[(tokio::)?test[](]/ { test = 1; suite = "crates" }
        test && /#\[ignore/ {
            suite = /needs an installation/ ? (FILENAME ~ /^tests\/jobs/ ? "jobs" : "accounts") : /systemd has started/ ? "units" : /mounts file systems/ ? "mounts" \
                : /programs of other people/ ? "interop" : ""
        }
        test && match($0, /fn [A-Za-z0-9_]+/) {
            if (suite != "") print suite "\t" substr($0, RSTART + 3, RLENGTH - 3) "\t" FILENAME
            test = 0
        }'
    javascript web tests/web/*.test.mjs
    printf 'web\ttypes\ttests/web\n'
    javascript browser tests/browser/*.test.js
    sed -n 's/^name = "\(.*\)"$/fuzzing\tfuzz \1\tfuzz/p' fuzz/Cargo.toml | tail -n +2
    printf 'bench\tbench\tbench/run\n'
    printf 'demo\tdemo\tdemo\n'
}

javascript() { # suite, file…
    local suite=$1 file
    shift
    for file; do sed -n 's/^ *test(["`]\([^"`]*\)["`].*/\1/p' "$file" | awk -v suite="$suite" -v file="$file" '{ print suite "\t" $0 "\t" file }'; done
}

choose() { # NAME…: of such lines, those of a suite of that name, or whose test contains it; without names all
    [ $# -gt 0 ] || { cat; return; }
    awk -F '\t' -v names="$*" -v suites="${suites[*]}" '
        BEGIN {
            count = split(names, wanted, " ")
            split(suites, all, " ")
            for (i in all) is_suite[all[i]] = 1
        }
        {
            for (i = 1; i <= count; i++) {
                if (wanted[i] in is_suite ? $1 == wanted[i] : index(tolower($2), wanted[i])) { print; next }
            }
        }'
}
