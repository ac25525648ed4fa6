#!/bin/bash
# Keeps a fleet of Debian guests: real systemd, cloud-init, sshd and apt in systemd-nspawn, on a bridge of their own.
#
#   unshare --mount --net --pid --fork --kill-child --mount-proc bash fleet.sh BASE FLEETS ID GATEWAY...
#
# All processes, mounts, networks and writable layers live in this process's namespaces: whatever ends it, the kernel
# takes them away. It prints `ready`, then reads commands, one a line, and answers each with `N ok` or `N error WHY`:
#   N start NAME MAC UUID  boots the guest with the seed in FLEETS/ID/seed/NAME (an UUID of `-` for any)
#   N stop NAME            powers it off; by force after 15 s. What it wrote stays for the next start
#   N remove NAME          forgets what it wrote
#   N cut NAME, N join NAME  its network cable
# At the end of its input it stops all guests and leaves nothing.
set -euo pipefail
umask 022
BASE=$1 FLEETS=$2 ID=$3
shift 3
DIR=$FLEETS/$ID GUESTS=$FLEETS/$ID/guests CG=/sys/fs/cgroup/holdfast-$ID
count=0

remove_group() { find "$1" -depth -type d -exec rmdir {} \; 2> /dev/null || true; }

sweep() { # what fleets left that were killed outright: empty control groups and folders
  local old
  for old in "$FLEETS"/*/; do
    old=${old%/}
    [ -e "$old/lock" ] || continue
    if flock --nonblock "$old/lock" true; then remove_group "/sys/fs/cgroup/holdfast-${old##*/}"; rm -rf "$old"; fi
  done
}

set_up() {
  # Machines that mount the old controllers show the guests' systemd what it refuses: here it is version 2 alone.
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /run # what ip and nspawn keep there is nobody else's
  exec 7> "$FLEETS.lock"
  flock 7
  sweep
  mkdir -p "$DIR"/{seed,log} "$GUESTS" "$CG"
  exec 8> "$DIR/lock"
  flock 8
  exec 7>&-
  mount -t tmpfs -o mode=755,size=75% tmpfs "$GUESTS"
  ip link set lo up
  ip link add br0 type bridge
  local gateway
  for gateway in "$@"; do ip address add "$gateway" dev br0; done
  ip link set br0 up
  # Fifteen guests use up the default of 128.
  [ "$(< /proc/sys/fs/inotify/max_user_instances)" -ge 1024 ] || echo 1024 > /proc/sys/fs/inotify/max_user_instances
}

procs() { find "$CG/$1" -name cgroup.procs -exec cat {} + 2> /dev/null || true; }

start() { # NAME MAC UUID
  local name=$1 mac=$2 uuid=$3 guest=$GUESTS/$1 seed
  [ -z "$(procs "$name")" ] || { echo "guest $name runs already"; return 1; }
  mkdir -p "$guest"/{up,work,root} "$CG/$name"
  seed=$guest/up/var/lib/cloud/seed/nocloud
  rm -rf "$seed"
  mkdir -p "$seed"
  cp "$DIR/seed/$name"/* "$seed/"
  chmod 600 "$seed"/*
  mount -t overlay "holdfast-$name" -o "lowerdir=$BASE,upperdir=$guest/up,workdir=$guest/work" "$guest/root"
  count=$((count + 1))
  ip netns add "$name"
  ip link add "v$count" type veth peer name eth0 netns "$name"
  ip link set "v$count" master br0 up
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 address "$mac"
  touch "$guest/want"
  [ "$uuid" != - ] || uuid=
  run "$name" "${uuid:+--uuid=$uuid}" < /dev/null >> "$DIR/log/$name" 2>&1 7>&- 8>&- &
}

run() { # NAME OPTION: the guest, again after each reboot that it asks for (status 133)
  local status
  echo "$BASHPID" > "$CG/$1/cgroup.procs"
  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network # so that it can set its own net.* sysctls
  while [ -e "$GUESTS/$1/want" ]; do
    status=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$GUESTS/$1/root" --machine="$1" \
      --hostname=template --network-namespace-path="/run/netns/$1" --capability=CAP_NET_ADMIN \
      --resolv-conf=off --timezone=off --link-journal=no --console=pipe ${2:+"$2"} || status=$?
    [ $status = 133 ] || break
  done
}

stop() { # NAME
  local name=$1 guest=$GUESTS/$1 pid left
  [ -d "$guest" ] || { echo "there is no guest $name"; return 1; }
  rm -f "$guest/want"
  for ((left = 150; left > 0; left--)); do
    [ -n "$(procs "$name")" ] || break
    # nspawn hands a first SIGTERM to init as a power-off, which it may miss while it is only starting.
    if ((left % 20 == 10)); then pkill_nspawn "$name"; fi
    sleep 0.1
  done
  for pid in $(procs "$name"); do kill -KILL "$pid" 2> /dev/null || true; done
  while [ -n "$(procs "$name")" ]; do sleep 0.05; done
  if mountpoint -q "$guest/root"; then umount "$guest/root" || umount --lazy "$guest/root"; fi
  ip netns delete "$name" 2> /dev/null || true
  remove_group "$CG/$name"
}

pkill_nspawn() { # NAME
  local pid
  for pid in $(cat "$CG/$1/supervisor/cgroup.procs" 2> /dev/null); do
    [ "$(cat "/proc/$pid/comm" 2> /dev/null)" != systemd-nspawn ] || kill -TERM "$pid" || true
  done
}

remove() { rm -rf "${GUESTS:?}/$1" "${DIR:?}/seed/$1"; }
cut() { ip -n "$1" link set eth0 down; }
join() { ip -n "$1" link set eth0 up; }

answer() { # NUMBER COMMAND...
  local number=$1 why
  shift
  if why=$("$@" 2>&1); then echo "$number ok"; else echo "$number error $(tr '\n' ' ' <<< "$why")"; fi
}

down() {
  local guest waits=()
  for guest in "$GUESTS"/*/; do
    [ -d "$guest" ] || continue
    stop "$(basename "$guest")" > /dev/null &
    waits+=($!)
  done
  [ ${#waits[@]} = 0 ] || wait "${waits[@]}" || true
  remove_group "$CG"
  umount "$GUESTS" || umount --lazy "$GUESTS"
  rm -rf "$DIR"
}

set_up "$@"
echo ready
while read -r number verb name rest; do
  case $verb in
    start)
      # Not in a subshell: it counts, and its guest must be this process's child.
      if start "$name" $rest > "$DIR/why" 2>&1; then echo "$number ok"; else echo "$number error $(tr '\n' ' ' < "$DIR/why")"; fi ;;
    stop | remove | cut | join) answer "$number" "$verb" "$name" & ;;
    *) echo "$number error unknown command $verb" ;;
  esac
done
down
