#!/usr/bin/env bash
# installation.sh COMMAND [ARGUMENT…]
#
# Runs COMMAND as root on a machine where Countersign is installed as deploy/ says: the accounts, sudo with the
# project's own sudoers file, and the program $COUNTERSIGN_BIN at /usr/bin/countersign. That machine is this one seen
# through overlays in a mount and a PID namespace of its own: nothing of the real one changes, and when COMMAND ends,
# everything it started and wrote is gone. What is left to COMMAND: /etc/countersign/*, and starting the server.
#
#   account    uid    in ucloud_users   what it is for
#   ucloud     (any)  no                the service: gateway and server
#   alice      1101   yes               a user
#   bob        1102   yes               another user
#   mallory    1103   no                somebody else with a login here
#   locked     1104   yes               its shell is nologin
#   expired    1105   yes               its expiry date has passed
#   daemonish  480    yes               a system account with a shell
#   root       0      yes               so that the group alone does not explain why root is refused
set -euo pipefail

say_and_stop() {
    echo "installation.sh: $*" >&2
    exit 77 # what test runners read as "could not be run here", as against "ran and failed"
}

self=$(realpath "${BASH_SOURCE[0]}")
deploy=$(realpath "$(dirname "$self")/../../deploy")

if [ "${1-}" != --inside ]; then
    [ $# -gt 0 ] || say_and_stop "no command was given"
    [ "$(id -u)" = 0 ] || say_and_stop "needs root (accounts are made, in a namespace that is thrown away)"
    for tool in sudo visudo unshare useradd usermod systemd-sysusers systemd-tmpfiles; do
        command -v "$tool" >/dev/null || say_and_stop "needs $tool (Debian: apt-get install sudo util-linux passwd systemd)"
    done
    [ -x "${COUNTERSIGN_BIN-}" ] || say_and_stop "COUNTERSIGN_BIN must name the built program (it is '${COUNTERSIGN_BIN-}')"
    COUNTERSIGN_BIN=$(realpath "$COUNTERSIGN_BIN")
    export COUNTERSIGN_BIN
    unshare --mount --propagation private --pid --uts --fork true 2>/dev/null ||
        say_and_stop "may not make namespaces here (a container needs CAP_SYS_ADMIN)"
    # --kill-child: even if this process is killed, nothing of the installation is left running.
    exec unshare --mount --propagation private --pid --uts --fork --kill-child --mount-proc \
        "$self" --inside "$(readlink /proc/self/ns/mnt)" "$@"
fi

# --- From here on in the namespaces; never in the caller's, whose /etc this would cover. ---
[ "$(readlink /proc/self/ns/mnt)" != "$2" ] && [ $$ = 1 ] || say_and_stop "--inside is for this script itself"
shift 2

umask 022

# A fresh /run hides the sockets of the real machine's daemons (syslog, name service) and holds all that is written.
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -m 0700 /run/overlay
for seen in /etc /usr/bin /var/lib /home; do
    upper=/run/overlay$seen/upper work=/run/overlay$seen/work
    mkdir -p "$upper" "$work"
    mount -t overlay overlay -o "lowerdir=$seen,upperdir=$upper,workdir=$work" "$seen" ||
        say_and_stop "this kernel has no overlayfs for us (modprobe overlay)"
done
mkdir -m 1777 /run/tmp

# The accounts below run programs of this checkout and of the build, wherever both are: a directory on the way there
# that only root may enter (a clone in /root) is seen through an overlay on which everybody may.
reachable() { # directory
    local way=/ part parts held opened=false
    IFS=/ read -ra parts <<<"${1#/}"
    for part in "${parts[@]}"; do
        way=${way%/}/$part
        [ $((0$(stat --format %a "$way") & 1)) = 0 ] || continue
        # One overlay for all of the way (the kernel stacks two at most), and one for the directory itself.
        if ! $opened || [ "$way" = "$1" ]; then
            opened=true
            # The directory stays what it is: what is written there is written for good.
            held=$(mktemp -d /run/overlay/held-XXXXXX)
            mount --rbind "$1" "$held"
            mkdir -p "/run/overlay/ways$way/upper" "/run/overlay/ways$way/work"
            mount -t overlay overlay -o \
                "lowerdir=$way,upperdir=/run/overlay/ways$way/upper,workdir=/run/overlay/ways$way/work" "$way" ||
                say_and_stop "this kernel has no overlayfs for us (modprobe overlay)"
            [ "$way" = "$1" ] || mount --rbind "$held" "$1"
        fi
        chmod o+x "$way"
    done
}
project=$(dirname "$deploy")
reachable "$project"
case $(dirname "$COUNTERSIGN_BIN")/ in
"$project"/*) ;;
*) reachable "$(dirname "$COUNTERSIGN_BIN")" ;;
esac
export TMPDIR=/run/tmp

# A host name that does not resolve, as in many containers: sudo then warns each time, and no test may take that for a refusal.
echo does-not-resolve >/proc/sys/kernel/hostname
if [ -e /etc/nsswitch.conf ]; then sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf; fi

systemd-sysusers "$deploy/sysusers.d/countersign.conf" 2>/dev/null
systemd-tmpfiles --create "$deploy/tmpfiles.d/countersign.conf"
install -o root -g root -m 0440 "$deploy/sudoers" /etc/sudoers.d/countersign
install -o root -g root -m 0711 "$COUNTERSIGN_BIN" /usr/bin/countersign
visudo --check --quiet || say_and_stop "sudo refuses the installed rules"

account() { # name uid shell [useradd's arguments…]: a person or a service with a home of their own
    useradd --no-log-init --uid "$2" --user-group --shell "$3" --create-home --key HOME_MODE=0700 "${@:4}" "$1" 2>&1 |
        { grep -v -e 'uid .* outside of the' || true; } >&2
}
account alice 1101 /bin/bash --groups ucloud_users
account bob 1102 /bin/bash --groups ucloud_users
account mallory 1103 /bin/bash
account locked 1104 /usr/sbin/nologin --groups ucloud_users
account expired 1105 /bin/bash --groups ucloud_users --expiredate 1970-01-02
account daemonish 480 /bin/bash --groups ucloud_users
usermod --append --groups ucloud_users root

# Not exec: as the first process of its PID namespace, this shell adopts and reaps what COMMAND leaves behind.
status=0
"$@" || status=$?
exit "$status"
