# Sourced by ./test: the suites. Each has a function run_SUITE, which runs those of its tests that were chosen.

COUNTERSIGN_BUILT=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug # one build for everything
COUNTERSIGN_BIN=$COUNTERSIGN_BUILT/countersign
export COUNTERSIGN_BUILT COUNTERSIGN_BIN

# Of the whole workspace, always: for one package alone cargo would choose other features, and build it all again.
build_tests() { build dev --workspace --tests --bins; }

# Instead of running the tests of a target, cargo prints where their program is.
executable_of() { # name of the program, targets as `cargo test` takes them
    cargo test --locked --quiet --workspace --config "target.'cfg(all())'.runner = 'echo'" "${@:2}" |
        sed -n "s|^\(/.*/$1-[0-9a-f]*\)\( .*\)*$|\1|p"
}

run_crates() {
    local filters=()
    # Names are the same in the sources and to cargo; without any, all tests that nothing has to be installed for.
    if [ ${#names[@]} -gt 0 ] && [ "$(tests_of crates)" != "$(all_tests | awk -F '\t' '$1 == "crates" { print $2 }')" ]; then
        mapfile -t filters < <(tests_of crates)
    fi
    step "all crates" cargo test --locked --workspace --no-fail-fast -- "${filters[@]}" || true
}

# Other people's signers, canonicalisers and WebSocket clients.
run_interop() {
    if ! { node_is_good && command -v go && python3 -c 'import venv'; } >/dev/null 2>&1; then
        not_run+=("the tests with programs of other people: Node.js, Go or Python is missing")
        return
    fi
    if step "what other people's programs need" tests/interop/install; then
        local filters
        mapfile -t filters < <(tests_of interop)
        step "other people's programs" cargo test --locked --workspace --lib --tests --no-fail-fast -- --ignored "${filters[@]}" || true
    fi
}

run_web() {
    if ! node_is_good; then
        not_run+=("the browser's modules: Node.js 20 or later is missing")
        return
    fi
    if tests_of web | grep -vx types >/dev/null; then
        local pattern
        pattern=$(tests_of web | pattern_of)
        counted "the browser's modules" node --test --test-name-pattern="$pattern" tests/web/*.test.mjs
    fi
    if tests_of web | grep -x types >/dev/null; then counted "the types of the browser's modules" types; fi
}

types() { # the JSDoc types of what browsers load
    npm --prefix tests/web ci --ignore-scripts --no-audit --no-fund && tests/web/node_modules/.bin/tsc --project tests/web
}

pattern_of() { # lines: a regular expression for any of them. What templates put into a name is not looked at
    sed 's/\${[^}]*}/\n/g; s/[][\\.*^$()+?{|}\/]/./g' | awk 'length > 3' | paste -sd '|'
}

# A whole centre, each test in an installation of its own.
run_accounts() {
    local why
    if why=$(tests/support/installation.sh true 2>&1); then
        if files_of accounts | grep '^tests/hostile/' >/dev/null; then step "what attacks" tests/hostile/install || true; fi
        if files_of accounts | grep -x tests/audit.rs >/dev/null; then step "what other people's programs need" tests/interop/install || true; fi
        one_by_one accounts tests/support/installation.sh
    elif [ "$(id -u)" != 0 ]; then
        not_run+=("the tests as real accounts, but for attacks.rs, enrolment.rs and direct_channel.rs: $why")
        step "a centre in this account" cargo test --locked -p countersign --test centre -- --ignored attacks:: enrolment:: direct_channel:: || true
    else
        not_run+=("the tests as real accounts: $why")
    fi
}

# The same, with a Slurm in each.
run_jobs() {
    local why
    if why=$(tests/support/installation.sh true 2>&1); then
        one_by_one jobs tests/support/installation.sh
    else
        not_run+=("the tests of jobs: $why")
    fi
}

# The units, on a machine that systemd has started.
run_units() {
    local why
    if why=$(tests/support/booted.sh true 2>&1); then
        one_by_one units tests/support/booted.sh
    else
        not_run+=("the tests of the units: $why")
    fi
}

one_by_one() { # suite, what runs a command around each of its tests
    local executable name all found=0
    executable=$(executable_of centre --test centre)
    all=$("$executable" --list --ignored --format terse | sed -n 's/: test$//p')
    for name in $(measuring 1 <<<"$all") $(measuring '' <<<"$all"); do
        tests_of "$1" | grep -xF "${name##*::}" >/dev/null || continue
        found=$((found + 1))
        if [ -n "$(measuring '' <<<"$name")" ]; then await_beside; fi
        step "$1: $name" "$2" "$executable" --ignored --exact "$name" --nocapture || true
    done
    [ "$found" -gt 0 ] || failed+=("$1: none was found")
}

# Tests that look at the time of answers: they come last, and run alone.
measuring() { awk -v others="$1" '/::floods::/ ? !others : others'; } # '' for these, 1 for all others

# Tests that mount file systems, in a namespace of their own.
run_mounts() {
    local executable name
    if ! unshare --mount true 2>/dev/null; then
        not_run+=("tests that mount file systems: only root may")
        return
    fi
    executable=$(executable_of countersign_instance --lib)
    mapfile -t filters < <(tests_of mounts)
    step "file systems" unshare --mount --propagation private "$executable" --ignored "${filters[@]}" || true
}

# Each file at a centre of its own.
run_browser() {
    local files
    if ! command -v chromium >/dev/null || ! node_is_good; then
        not_run+=("the tests in a browser: Chromium, or Node.js 20 or later, is missing")
        return
    fi
    if [ "$(id -u)" = 0 ] && ! tests/support/installation.sh true 2>/dev/null; then
        not_run+=("the tests in a browser: they need accounts of their own, or to be run by an ordinary user")
        return
    fi
    command -v firefox-esr >/dev/null || not_run+=("the test in Firefox: it is missing")
    if [ "$(id -u)" != 0 ] || [ "$(missing_packages | grep -cE '^(slurm|munge|mariadb)')" != 0 ]; then
        not_run+=("the tests of jobs in a browser: they need root, Slurm and MariaDB")
    fi
    mapfile -t files < <(files_of browser)
    if step "what drives a browser" tests/browser/install; then
        step "in a browser" tests/browser/run "${files[@]/#/$PWD/}" || true
    fi
}

# Builds the targets of the fuzzer beside the other suites, which wait more than they compute, and yields to them.
begin_fuzzing() {
    command -v c++ >/dev/null || return 0
    nice -n 19 fuzz/run --build >target/fuzz-build.log 2>&1 &
    fuzzing=$!
    at_exit+=("kill $fuzzing")
}

# Every target of the fuzzer, for a moment.
run_fuzzing() {
    if ! command -v c++ >/dev/null; then
        not_run+=("fuzzing: a C++ compiler is missing (Debian: g++)")
        return
    fi
    if ! wait "$fuzzing"; then
        cat target/fuzz-build.log
        failed+=("building what is fuzzed")
        return
    fi
    mapfile -t targets < <(tests_of fuzzing | sed 's/^fuzz //')
    counted "fuzzing" fuzz/run 4 "${targets[@]}"
}

# That the benchmark runs. Its figures are taken by hand.
run_bench() {
    if ! command -v haproxy >/dev/null; then
        not_run+=("the benchmark: haproxy is missing")
        return
    fi
    counted "the benchmark" bench/run --quick
}

run_demo() { counted "the demo" ./demo --check </dev/null; }
