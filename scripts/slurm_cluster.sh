#!/bin/bash
# slurm_cluster.sh start|stop DIR: a Slurm of its own on this machine, for tests: a controller and the nodes n1 and n2.
#
# Needs root and Debian's packages, which it installs where they are missing; neither systemd nor cgroups. All of it lives in
# DIR, and SLURM_CONF=DIR/slurm.conf leads to it. `node DIR n1` starts one node's daemon again. A job of partition `urgent`
# takes a node from one of partition `usual`, which is told 20 s before.
set -euo pipefail

task=${1:-} dir=${2:-}
[ -n "$dir" ] || { echo "slurm_cluster.sh start|stop DIR, or node DIR NAME" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "a test cluster needs root: its daemons start jobs as their users" >&2; exit 2; }
export SLURM_CONF=$dir/slurm.conf PATH=$PATH:/usr/sbin

install_packages() {
    command -v slurmctld slurmd sbatch munged >/dev/null && return
    # Installed daemons would start by themselves, without a configuration.
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; own_policy=yes; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
    [ -z "${own_policy:-}" ] || rm /usr/sbin/policy-rc.d
}

free_ports() { # free_ports NUMBER
    python3 -c 'import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))' "$1"
}

configure() {
    read -r controller first second <<< "$(free_ports 3)"
    host=$(hostname -s)
    cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmUser=root
AuthType=auth/munge
# A job that is requeued waits for as long as its credential is good, else two minutes.
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
# A node that says nothing for so long is down, and its jobs go to another one.
SlurmdTimeout=10
ReturnToService=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$first CPUs=2
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$second CPUs=2
PartitionName=usual Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF
CONF
}

start() {
    install_packages
    mkdir -p "$dir/state" "$dir/spool-n1" "$dir/spool-n2"
    chmod 755 "$dir"
    configure
    head -c 1024 /dev/urandom > "$dir/munge.key"
    chmod 400 "$dir/munge.key"
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
    slurmctld -c
    slurmd -c -N n1
    slurmd -c -N n2
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --Node --partition=usual --states=idle --format=%N 2>/dev/null | wc -l)" = 2 ] && return
        sleep 0.5
    done
    echo "the nodes did not come up within 30 s; see $dir/*.log" >&2
    exit 1
}

stop() {
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 30); do
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 0.5
    done
    for pid in "$dir"/slurmd-*.pid "$dir/slurmctld.pid" "$dir/munged.pid"; do
        if [ -s "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
    done
}

case "$task" in
start) start ;;
stop) stop ;;
node) slurmd -c -N "$3" ;;
*) echo "unknown task '$task'; it is start, stop or node" >&2; exit 2 ;;
esac
