#!/usr/bin/env bash
# booted.sh COMMAND [ARGUMENT…]
#
# Runs COMMAND as root on a machine that systemd has started: a real one, PID 1 of namespaces of its own, with journald and
# tmpfiles and with no network but loop-back. That machine is this one seen through an overlay, on which nothing of Countersign
# is installed; alice (uid 1101) and bob (1102) have accounts. It can write nothing of the real one, and is gone when COMMAND ends.
#
# systemd empties /tmp, sets the kernel's settings and more. So it is started only after every file system in its view that can
# be written has been seen to be one of those made here.
set -euo pipefail

say_and_stop() {
    echo "booted.sh: $*" >&2
    exit 77 # what test runners read as "could not be run here", as against "ran and failed"
}

self=$(realpath "${BASH_SOURCE[0]}")
project=$(realpath "$(dirname "$self")/../..")
base=/mnt        # where everything is made, in a mount namespace of our own
new=$base/root   # what becomes its /

case ${1-} in
--machine) ;;
--around) ;;
*)
    [ $# -gt 0 ] || say_and_stop "no command was given"
    command=$(realpath "$(type -P "$1")") || say_and_stop "there is no command $1"
    set -- "$command" "${@:2}" # systemd takes no relative path
    [ "$(id -u)" = 0 ] || say_and_stop "needs root (namespaces that are thrown away)"
    for tool in sudo visudo unshare setpriv pivot_root useradd systemd-sysusers systemd-tmpfiles systemctl journalctl ip; do
        command -v "$tool" >/dev/null ||
            say_and_stop "needs $tool (Debian: apt-get install sudo util-linux mount passwd systemd iproute2)"
    done
    [ -x /lib/systemd/systemd ] || say_and_stop "needs systemd (Debian: apt-get install systemd)"
    [ -x "${COUNTERSIGN_BIN-}" ] || say_and_stop "COUNTERSIGN_BIN must name the built program (it is '${COUNTERSIGN_BIN-}')"
    COUNTERSIGN_BIN=$(realpath "$COUNTERSIGN_BIN")
    export COUNTERSIGN_BIN
    unshare --mount --propagation private --pid --fork true 2>/dev/null ||
        say_and_stop "may not make namespaces here (a container needs CAP_SYS_ADMIN)"

    # It manages a control group of its own. Where none of the kernel's can be seen, it is made in a mount of our own.
    groups=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET) || say_and_stop "no cgroup2 is mounted"
    group=$(mktemp -d "$groups/countersign-test-XXXXXX") || say_and_stop "may not make a control group in $groups"
    trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
    status=0
    # Each ends with the one before it, so that nothing is left running even if this process is killed.
    setpriv --pdeathsig KILL unshare --mount --propagation private "$self" --around "$(readlink /proc/self/ns/mnt)" "$group" "$@" || status=$?
    exit "$status"
    ;;
esac

[ "$(readlink /proc/self/ns/mnt)" != "$2" ] || say_and_stop "$1 is for this script itself"

# --- Around the machine: its mounts, the end of its pipe, and its exit status. ---
if [ "$1" = --around ]; then
    group=$3
    shift 3
    umask 022
    mount -t tmpfs -o mode=0755 tmpfs "$base"
    mkdir "$base/upper" "$base/work" "$base/seen" "$new"
    overlay() { # what, where
        local made
        made=$(mktemp -d "$base/seen/XXXXXX")
        mkdir "$made/upper" "$made/work"
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$made/upper,workdir=$made/work" "$2" ||
            say_and_stop "this kernel has no overlayfs for us (modprobe overlay)"
    }
    overlay / "$new"
    for empty in tmp var/tmp run home root mnt dev; do
        mkdir -p "$new/$empty"
        mount -t tmpfs -o mode=0755 tmpfs "$new/$empty"
    done
    chmod 1777 "$new/tmp" "$new/var/tmp"
    see() { # file, directory: what of the machine is hidden by that, or lies in another file system
        [ ! -e "$new$1" ] || return 0
        mkdir -p "$new$2"
        overlay "$2" "$new$2"
    }
    command=$(realpath "$(type -P "$1")") || say_and_stop "there is no command $1"
    see "$self" "$project"
    see "$COUNTERSIGN_BIN" "$(dirname "$COUNTERSIGN_BIN")"
    see "$command" "$(dirname "$command")"
    # Accounts there run programs of these, though the way to them may be closed to all but root (a clone in /root).
    for place in "$project" "$(dirname "$COUNTERSIGN_BIN")" "$(dirname "$command")"; do
        while [ "$place" != / ]; do
            chmod o+x "$new$place"
            place=$(dirname "$place")
        done
    done
    for node in null zero full random urandom tty; do
        touch "$new/dev/$node"
        mount --bind "/dev/$node" "$new/dev/$node"
    done
    mkdir "$new/dev/pts" "$new/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$new/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
    ln -s pts/ptmx "$new/dev/ptmx"
    ln -s /proc/self/fd "$new/dev/fd"
    ln -s fd/0 "$new/dev/stdin"
    ln -s fd/1 "$new/dev/stdout"
    ln -s fd/2 "$new/dev/stderr"

    mkfifo "$new/run/said"
    cat "$new/run/said" &
    reader=$!
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --net --ipc --uts --cgroup \
            "$self" --machine "$(readlink /proc/self/ns/mnt)" "$@"
    ) || status=$?
    exec 9<>"$new/run/said" 9>&- # whoever waits for a writer has seen one, and the last one is gone
    wait "$reader"
    exit "${status-0}"
fi

# --- The machine. ---
[ $$ = 1 ] || say_and_stop "$1 is for this script itself"
shift 2
mount -t proc proc "$new/proc"
for part in sys sysrq-trigger irq bus; do
    [ -e "$new/proc/$part" ] || continue
    mount --bind "$new/proc/$part" "$new/proc/$part"
    mount -o remount,bind,ro "$new/proc/$part"
done
mount -t sysfs -o ro sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mkdir "$new/mnt/old"
pivot_root "$new" "$new/mnt/old"
cd /
umount --lazy /mnt/old

while read -r _ _ _ _ point options rest; do
    kind=${rest#*- }
    case ${options%%,*}:${kind%% *}:$point in
    ro:* | rw:overlay:* | rw:tmpfs:* | rw:proc:/proc | rw:devpts:/dev/pts | rw:cgroup2:/sys/fs/cgroup) ;;
    rw:devtmpfs:/dev/null | rw:devtmpfs:/dev/zero | rw:devtmpfs:/dev/full | rw:devtmpfs:/dev/tty) ;;
    rw:devtmpfs:/dev/random | rw:devtmpfs:/dev/urandom) ;;
    *) say_and_stop "the machine's own $point could be written (${kind%% *}, $options)" ;;
    esac
done </proc/self/mountinfo
for own in / /tmp /var/tmp /run /home /root /dev; do
    mountpoint --quiet "$own" || say_and_stop "$own is not its own"
done

# As systemd does where it is not in a container: what is mounted later is seen in units' own views too.
mount --make-rshared /
ip link set lo up
for name in alice:1101 bob:1102; do
    useradd --no-log-init --uid "${name#*:}" --user-group --shell /bin/bash --create-home --key HOME_MODE=0700 "${name%:*}"
done

# Of the units that this machine has, none but these are wanted; what comes with them, systemd knows.
units=/etc/systemd/system
mount -t tmpfs -o mode=0755 tmpfs "$units"
for others in /lib/systemd/system/*.wants /lib/systemd/system-generators; do mount -t tmpfs -o mode=0755 tmpfs "$others"; done
: >/etc/fstab
mkdir "$units/sysinit.target.wants" "$units/multi-user.target.wants"
ln -s /lib/systemd/system/systemd-journald.service /lib/systemd/system/systemd-tmpfiles-setup.service "$units/sysinit.target.wants/"
# COMMAND is a service too. Its end is the machine's, and its exit status is PID 1's.
{
    echo "[Unit]"
    echo "After=multi-user.target"
    echo "SuccessAction=exit-force"
    echo "FailureAction=exit-force"
    echo "[Service]"
    echo "Type=oneshot"
    echo "Environment=COUNTERSIGN_BIN=$COUNTERSIGN_BIN"
    echo "WorkingDirectory=$project"
    printf 'ExecStart='
    printf '%s\n' "$@" | sed 's/[\\"]/\\&/g; s/[$%]/&&/g; s/.*/"&"/' | tr '\n' ' '
    echo
    echo "StandardOutput=file:/run/said"
    echo "StandardError=inherit"
} >"$units/command.service"
printf '[Unit]\nRequires=multi-user.target\nWants=command.service\n' >"$units/command.target"

# What no test of ours takes: the clock, modules, the kernel's log, raw devices, starting anew.
exec env --ignore-environment container=countersign-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-mac_admin,-mac_override,-wake_alarm,-block_suspend \
    /lib/systemd/systemd --unit=command.target --show-status=false --log-target=journal
