#!/usr/bin/env bash
# A Slurm cluster of two nodes on this host, without systemd or a database, for the sweep's fault test.
#   slurm-cluster.sh start FOLDER | kill-node FOLDER NODE | start-node FOLDER NODE | stop FOLDER
# Needs root and Debian's slurm-wlm and munge. Two slurmd share a host by listening on two ports, which Debian's build allows.
set -euo pipefail
action=$1 folder=$2
export SLURM_CONF=$folder/slurm.conf

start_node() { slurmd -N "$1" -f "$SLURM_CONF" -L "$folder/$1.log"; }

# Kills a node as a power cut would: its daemon and every process that it started.
kill_node() {
  local daemon
  daemon=$(cat "$folder/slurmd-$1.pid")
  kill -9 "$daemon"
  # Step daemons carry no node name; what they run does, in its environment.
  for environment in /proc/[0-9]*/environ; do
    if { tr "\0" "\n" < "$environment"; } 2>/dev/null | grep -qx "SLURMD_NODENAME=$1"; then
      local pid=${environment#/proc/}; pid=${pid%/environ}
      local parent; parent=$(awk '{print $4}' "/proc/$pid/stat" 2>/dev/null || echo 0)
      if [ "$parent" -gt 1 ] && grep -q slurmstepd "/proc/$parent/comm" 2>/dev/null; then kill -9 "$parent" 2>/dev/null || true; fi
      kill -9 "$pid" 2>/dev/null || true
    fi
  done
}

case $action in
start)
  mkdir -p "$folder/state" "$folder/n1" "$folder/n2" /run/munge
  chown munge:munge /run/munge
  # One that runs already is somebody else's and stays.
  if ! pgrep -x munged > /dev/null; then
    su -s /bin/sh munge -c /usr/sbin/munged
    pgrep -n -x munged > "$folder/munged.pid"
  fi
  cat > "$SLURM_CONF" <<CONF
ClusterName=dreamllm
SlurmctldHost=localhost
SlurmctldPort=26817
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobcomp.txt
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MessageTimeout=5
SchedulerParameters=sched_interval=2
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=26818 CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=26819 CPUs=2 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
  slurmctld -f "$SLURM_CONF"
  start_node n1
  start_node n2
  for _ in $(seq 30); do
    [ "$(sinfo -h -N -t idle | wc -l)" = 2 ] && exit 0
    sleep 1
  done
  echo "The two nodes did not become idle within 30 s:" >&2
  sinfo -N >&2
  exit 1
  ;;
kill-node) kill_node "$3" ;;
start-node) start_node "$3" ;;
stop)
  for file in "$folder"/slurm*.pid; do [ -e "$file" ] && kill -9 "$(cat "$file")" 2> /dev/null || true; done
  # Step daemons of this cluster alone: they carry its configuration in their environment.
  for process in /proc/[0-9]*; do
    if [ "$(cat "$process/comm" 2> /dev/null)" = slurmstepd ] && { tr "\0" "\n" < "$process/environ"; } 2> /dev/null | grep -qx "SLURM_CONF=$SLURM_CONF"; then
      kill -9 "${process#/proc/}" 2> /dev/null || true
    fi
  done
  if [ -e "$folder/munged.pid" ]; then kill "$(cat "$folder/munged.pid")" 2> /dev/null || true; fi
  ;;
*)
  echo "unknown action $action" >&2
  exit 2
  ;;
esac
