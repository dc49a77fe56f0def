# Sourced by ./test: runs steps, remembers how they ended and how long they took, and says so at the end.

mkdir -p target
output=$(mktemp)
at_exit=('rm -f "$output"')
trap 'for command in "${at_exit[@]}"; do eval "$command" 2>/dev/null || true; done' EXIT
steps_passed=0 steps_failed=0
failed=() not_run=() took=()

step() { # what command…: runs it, shows what it says, remembers how it ended
    local what=$1 status=0 begun=$SECONDS
    shift
    printf '\n=== %s\n' "$what"
    "$@" 2>&1 | tee -a "$output" || status=${PIPESTATUS[0]}
    took+=("$((SECONDS - begun)) s	$what")
    [ "$status" = 0 ] && return 0
    failed+=("$what (status $status)")
    return 1
}

counted() { # a step that is itself one test
    if step "$@"; then steps_passed=$((steps_passed + 1)); else steps_failed=$((steps_failed + 1)); fi
}

# --- One suite beside the others: its output and its sums are kept in a directory until its turn comes. ---
beside='' beside_in=''

begin_beside() { # suite
    beside=$1 beside_in=$(mktemp -d)
    at_exit+=('rm -rf "$beside_in"')
    set -m # a process group of its own, which can be ended as a whole
    (
        trap - EXIT
        output=$beside_in/output steps_passed=0 steps_failed=0 failed=() not_run=() took=() status=0
        : >"$output"
        "run_$beside" || status=$?
        {
            for list in failed not_run took; do
                declare -n values=$list
                [ ${#values[@]} = 0 ] || printf "$list+=(%q)\n" "${values[@]}"
            done
            echo "steps_passed=\$((steps_passed + $steps_passed)) steps_failed=\$((steps_failed + $steps_failed))"
            [ "$status" = 0 ] || printf 'failed+=(%q)\n' "$beside (status $status)"
        } >"$beside_in/sums"
    ) </dev/null >"$beside_in/said" 2>&1 &
    beside_process=$!
    set +m
    at_exit+=("kill -- -$beside_process")
}

await_beside() { [ -z "$beside" ] || wait "$beside_process" || true; } # before what must have the machine alone

show_beside() {
    await_beside
    cat "$beside_in/said"
    cat "$beside_in/output" >>"$output"
    if [ -s "$beside_in/sums" ]; then . "$beside_in/sums"; else failed+=("$beside ended without a sum"); fi
    beside=''
}

sum_up() { # says what came of all, and ends
    local passed failures status=0
    read -r passed failures < <(
        sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; .*/\1 \2/p' "$output" |
            awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }'
    )
    passed=$((passed + steps_passed)) failures=$((failures + steps_failed))
    # A step that broke without a test's saying so (it did not build) is a failure too.
    if [ ${#failed[@]} -gt 0 ] && [ "$failures" = 0 ]; then failures=${#failed[@]}; fi
    printf '\nThe longest steps, of %d s in all:\n' "$SECONDS"
    printf '%s\n' "${took[@]}" | sort -rn | sed -n '1,8p'
    echo
    if [ ${#failed[@]} -gt 0 ]; then
        printf 'FAILED:  %s\n' "${failed[@]}"
        status=1
    fi
    if [ ${#not_run[@]} -gt 0 ]; then
        printf 'NOT RUN: %s\n' "${not_run[@]}"
        if [ "${CI-}" = true ]; then
            echo "With CI=true, not run is failed."
            status=1
        fi
    fi
    [ "$failures" = 0 ] || status=1
    echo "$passed passed, $failures failed"
    exit "$status"
}
