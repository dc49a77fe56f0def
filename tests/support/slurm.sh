#!/usr/bin/env bash
# slurm.sh FOLDER PORT
#
# Starts a small Slurm for tests, on loop-back: munge, MariaDB, slurmdbd, slurmctld and two nodes of 16 processors, with
# everything that it writes in FOLDER (absolute, new). Uses PORT to PORT+4. Ends with status 0 when both nodes are idle.
# Meant for tests/support/installation.sh, whose namespace ends what is left running. Needs root.
set -euo pipefail
folder=$1 port=$2
mkdir -p "$folder"/{munge,controller,database,n1,n2,log,socket}
chmod 0755 "$folder" "$folder"/*
head -c 128 /dev/urandom >"$folder/munge/key"
chmod 0400 "$folder/munge/key"

cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
KillWait=2
MinJobAge=600
EnforcePartLimits=ALL
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((port + 3))
AccountingStoragePass=$folder/munge/socket
AccountingStoreFlags=job_comment
NodeName=n[1-2] NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((port + 1))-$((port + 2)) CPUs=16 RealMemory=16000
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
cat >"$folder/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=localhost
DbdPort=$((port + 3))
SlurmUser=root
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 4))
StorageUser=slurm
StoragePass=x
StorageLoc=slurm
END
chmod 0600 "$folder/slurmdbd.conf"
export SLURM_CONF=$folder/slurm.conf

within() { # SECONDS COMMAND…: repeats the command until it succeeds
    local end=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "slurm.sh: not within $1 s: ${*:2}" >&2; tail -n 5 "$folder"/log/* >&2; exit 1; }
        sleep 0.1
    done
}
sql() { mariadb --no-defaults --socket="$folder/socket/s" "$@"; }
is_idle() { [ "$(sinfo --noheader --format %T | sort -u)" = idle ]; }

munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
chown mysql "$folder/database" "$folder/socket"
mariadb-install-db --user=mysql --datadir="$folder/database" --auth-root-authentication-method=normal --skip-test-db \
    >"$folder/log/install.log" 2>&1
mariadbd --no-defaults --user=mysql --datadir="$folder/database" --port=$((port + 4)) --bind-address=127.0.0.1 \
    --socket="$folder/socket/s" --pid-file="$folder/socket/pid" --innodb-buffer-pool-size=64M \
    --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --skip-log-bin --log-error="$folder/log/mariadb.log" \
    >/dev/null 2>&1 &
within 60 sql --execute "select 1"
sql --execute "create user slurm@localhost identified by 'x'; grant all on slurm.* to slurm@localhost"
slurmdbd
within 60 timeout 5 sacctmgr --noheader show cluster
slurmctld
slurmd -N n1
slurmd -N n2
within 60 is_idle
