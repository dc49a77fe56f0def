# Sourced by ./demo and ./test: finds the toolchain and builds with progress. Expects `stop MESSAGE…`.

PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
command -v cargo >/dev/null || stop "needs the Rust toolchain, which is not installed: see https://rustup.rs" \
    "Then run this again. rust-toolchain.toml names the version; rustup fetches it by itself."
printf 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null ||
    stop "needs a C compiler with headers. Debian, Ubuntu: apt-get install build-essential"
command -v setpriv >/dev/null || stop "needs setpriv. Debian, Ubuntu: apt-get install util-linux"

build() { # profile, argument of cargo build…: builds, and says how far it is
    local profile=$1 total
    shift
    # Cargo's own bar says how many crates are left; where there is no terminal, a line for every 25 does.
    if [ -t 2 ]; then
        echo "Building; the first time this takes some minutes. The bar counts crates."
        cargo build --locked --profile "$profile" "$@"
        return
    fi
    local scope=("$@") edges=normal,build
    [[ " $* " != *" --workspace "* ]] || { scope=(--workspace) edges=normal,build,dev; }
    total=$(cargo tree --locked "${scope[@]}" --edges "$edges" --prefix none --format '{p}' | sed 's/ (\*)$//' | sort -u | grep -c .)
    echo "Building $total crates; the first time this takes some minutes."
    cargo build --locked --quiet --profile "$profile" --message-format=json-render-diagnostics "$@" |
        awk -v total="$total" '
            /"reason":"compiler-artifact"/ && !/"fresh":true/ && !/"custom-build"/ && ++built % 25 == 0 {
                printf "  built %d of about %d\n", built, total
                fflush()
            }'
}
