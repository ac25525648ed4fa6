#!/bin/sh
# Stand-in for systemctl over the unit files of this tree. Like the manager it keeps a unit's file as it was when it
# was loaded, so a changed file needs a daemon-reload; it runs what a oneshot or an ExecStartPre names, and of other
# services only checks that they could start.
state=/var/lib/standin
units=$state/units
places='/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /lib/systemd/system'
rc=0 quiet=no now=no value=no properties='' verb='' names=''

while [ $# -gt 0 ]; do
  case $1 in
    -p | --property) properties="$properties,$2"; shift ;;
    --property=*) properties="$properties,${1#*=}" ;;
    -p*) properties="$properties,${1#-p}" ;;
    --value) value=yes ;;
    -q | --quiet) quiet=yes ;;
    --now) now=yes ;;
    --no-pager | --no-block | --no-ask-password | --no-legend | --plain | --all | -a | --full | -l | --system | --force | -f | --) ;;
    -n | --lines) shift ;;
    --lines=*) ;;
    --version) echo 'systemd 252 (stand-in)'; exit 0 ;;
    -*) echo "systemctl: unrecognized option '$1'" >&2; exit 1 ;;
    *) if [ -z "$verb" ]; then verb=$1; else names="$names $1"; fi ;;
  esac
  shift
done

arrow='->'
case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in *UTF-8 | *utf8) arrow='→' ;; esac

complain() { printf '%s\n' "$*" >&2; }
monotonic() { # microseconds since the tree was booted
  clock=$(date +%s%N)
  clock=$(((clock - $(cat $state/boot 2>/dev/null || echo 0)) / 1000))
}
journal() { mkdir -p $state/journal; printf '%s systemd[1]: %s\n' "$(date '+%b %d %H:%M:%S')" "$2" >> "$state/journal/$1"; }

# --- unit files ---

# Sets id and path: where the file of a unit stands, aliases followed.
find_file() {
  id=$1 path=''
  case $id in *.*) ;; *) id=$id.service ;; esac
  template=''
  case $id in *@?*.*) template=${id%%@*}@.${id##*.} ;; esac
  for wanted in $id $template; do
    for place in $places; do
      [ -e "$place/$wanted" ] || [ -L "$place/$wanted" ] || continue
      path=$place/$wanted
      aim=$(readlink "$path")
      case $aim in
        '' | /dev/null) ;;
        *) if [ "${aim##*/}" != "$wanted" ]; then find_file "${aim##*/}"; fi ;;
      esac
      return 0
    done
  done
}

drop_ins() {
  for name in $id $template; do
    for place in $places; do
      for extra in "$place/$name.d"/*.conf; do [ ! -e "$extra" ] || printf '%s\n' "$extra"; done
    done
  done
}

signature() { stat -c '%n %Y %i %s' "$path" $(drop_ins) 2>&1; }

# Prints the values of a key in a section, one a line; an empty one takes back those before it, as in systemd.
values() {
  printf '%s\n' "$text" | awk -v want="[$1]" -v key="$2" '
    { while (sub(/\\$/, "")) { if ((getline more) <= 0) break; $0 = $0 more } }
    /^[[:space:]]*[#;]/ { next }
    /^\[/ { section = $1; next }
    section == want && (at = index($0, "=")) {
      name = substr($0, 1, at - 1); gsub(/[[:space:]]/, "", name)
      if (name != key) next
      line = substr($0, at + 1); sub(/^[[:space:]]+/, "", line); sub(/[[:space:]]+$/, "", line)
      if (line == "") count = 0; else list[++count] = line
    }
    END { for (n = 1; n <= count; n++) print list[n] }'
}
last() { values "$1" "$2" | tail -n 1; }
truth() { case $(last "$1" "$2") in yes | true | on | 1) return 0 ;; esac; return 1; }

# Sets id, path, load, text and stale: the unit as the manager has it, or as it would load it now.
load() {
  find_file "$1"
  dir=$units/$id stale=no
  if [ -e "$dir/signature" ]; then
    path=$(cat "$dir/path") load=$(cat "$dir/load") text=$(cat "$dir/text")
    [ "$(signature)" = "$(cat "$dir/signature")" ] || stale=yes
  else
    read_file
  fi
}

read_file() {
  text='' load=not-found
  [ -n "$path" ] || return 0
  if [ "$(readlink "$path")" = /dev/null ]; then load=masked; return 0; fi
  load=loaded
  text=$(cat "$path" $(drop_ins) 2>/dev/null)
  case $id in *.service)
    if [ -z "$(values Service ExecStart)" ] && [ "$(last Service Type)" != oneshot ]; then load=bad-setting; fi ;;
  esac
}

keep() { # the manager keeps what it has loaded
  mkdir -p "$dir"
  [ ! -e "$dir/signature" ] || return 0
  printf '%s\n' "$path" > "$dir/path"
  printf '%s\n' "$load" > "$dir/load"
  printf '%s\n' "$text" > "$dir/text"
  signature > "$dir/signature"
}

# Sets active, sub, result, started, entered, pid, code.
status_of() {
  active=inactive sub=dead result=success started=0 entered=0 pid=0 code=0
  [ ! -e "$units/$id/state" ] || read -r active sub result started entered pid code < "$units/$id/state"
}
set_state() { mkdir -p "$dir"; printf '%s\n' "$*" > "$dir/state"; }

wanted_by() { # the links of the unit in /etc
  for link in /etc/systemd/system/*.wants/"$id" /etc/systemd/system/*.requires/"$id"; do
    [ ! -L "$link" ] || printf '%s\n' "$link"
  done
}

file_state() { # of a loaded id
  case $load in not-found) return 0 ;; masked) echo masked; return 0 ;; esac
  if [ -n "$(wanted_by)" ]; then echo enabled; return 0; fi
  for alias in $(values Install Alias); do
    if [ -L "/etc/systemd/system/$alias" ]; then echo enabled; return 0; fi
  done
  if [ -z "$(values Install WantedBy)$(values Install RequiredBy)$(values Install Alias)$(values Install Also)" ]; then echo static; else echo disabled; fi
}

# --- starting and stopping ---

refuse_unloaded() { # VERB: says why a unit cannot be started, and sets rc
  case $load in
    not-found) complain "Failed to $1 $id: Unit $id not found."; rc=5 ;;
    masked) complain "Failed to $1 $id: Unit $id is masked."; rc=1 ;;
    bad-setting) complain "Failed to $1 $id: Unit $id has a bad unit file setting."
      complain "See system logs and 'systemctl status $id' for details."; rc=1 ;;
    *) return 1 ;;
  esac
}

failed() { # CODE RESULT: what is said where the control process, not the service, failed
  monotonic
  set_state "failed failed $2 ${3:-0} $entered 0 $1"
  journal "$id" "$id: Main process exited, code=exited, status=$1"
  journal "$id" "$id: Failed with result '$2'."
}

job_failed() {
  complain "Job for $id failed because the control process exited with error code."
  complain "See \"systemctl status $id\" and \"journalctl -xeu $id\" for details."
  rc=1
}

# Whether a command line names a program that can be run; sets program and status (as systemd's exit codes).
runnable() {
  line=$1
  while :; do case $line in [@:+!-]*) line=${line#?} ;; *) break ;; esac; done
  program=${line%%[[:space:]]*}
  case $program in /*) [ -x "$program" ] && [ ! -d "$program" ] ;; *) command -v "$program" > /dev/null 2>&1 ;; esac
}

run_line() { # a command of a unit, for real
  runnable "$1" || { code=203; return 1; }
  sh -c "$line" < /dev/null > /dev/null 2>&1
  code=$?
  case $1 in -*) code=0 ;; esac
  [ $code = 0 ]
}

prepared() { # what a service needs before its program; sets code
  for condition in $(values Unit ConditionPathExists); do
    case $condition in
      !*) [ ! -e "${condition#!}" ] || { code=condition; return 1; } ;;
      *) [ -e "$condition" ] || { code=condition; return 1; } ;;
    esac
  done
  user=$(last Service User)
  if [ -n "$user" ] && ! getent passwd "$user" > /dev/null; then code=217; return 1; fi
  folder=$(last Service WorkingDirectory)
  case $folder in '' | -* | '~') ;; *) [ -d "$folder" ] || { code=200; return 1; } ;; esac
  for file in $(values Service EnvironmentFile); do
    case $file in -*) ;; *) [ -e "$file" ] || { code=resources; return 1; } ;; esac
  done
  printf '%s\n' "$(values Service ExecStartPre)" > "$dir/pre"
  while IFS= read -r command; do
    [ -z "$command" ] || run_line "$command" || { rm -f "$dir/pre"; return 1; }
  done < "$dir/pre"
  rm -f "$dir/pre"
}

launch_service() {
  type=$(last Service Type)
  monotonic
  started=$clock
  if ! prepared; then
    case $code in
      condition) set_state "inactive dead success 0 0 0 0"; return 0 ;;
      resources) journal "$id" "$id: Failed to load environment files: No such file or directory"
        failed 0 resources; complain "Job for $id failed because of unavailable resources or another system error."; rc=1; return 0 ;;
      200 | 217) failed "$code" exit-code "$started"; case $type in '' | simple | idle) ;; *) job_failed ;; esac; return 0 ;;
      *) failed "$code" exit-code "$started"; job_failed; return 0 ;;
    esac
  fi
  case $type in oneshot) launch_oneshot; return 0 ;; esac
  command=$(last Service ExecStart)
  if ! runnable "$command"; then
    journal "$id" "$id: Failed at step EXEC spawning $program: No such file or directory"
    failed 203 exit-code "$started"
    case $type in '' | simple | idle) ;; *) job_failed ;; esac
  elif [ "${program##*/}" = false ]; then failed 1 exit-code "$started"
  elif [ "${program##*/}" = true ]; then set_state "inactive dead success $started 0 0 0"
  else
    pid=$(($(cat $state/last-pid 2>/dev/null || echo 300) + 1))
    echo $pid > $state/last-pid
    monotonic
    set_state "active running success $started $clock $pid 0"
    journal "$id" "Started $id - $(last Unit Description)."
  fi
}

launch_oneshot() {
  values Service ExecStart > "$dir/commands"
  while IFS= read -r command; do
    if ! run_line "$command"; then rm -f "$dir/commands"; failed "$code" exit-code "$started"; job_failed; return 0; fi
  done < "$dir/commands"
  rm -f "$dir/commands"
  monotonic
  if truth Service RemainAfterExit; then set_state "active exited success $started $clock 0 0"; else set_state "inactive dead success $started 0 0 0"; fi
  journal "$id" "Finished $id - $(last Unit Description)."
}

launch() {
  keep
  status_of
  case $id in
    *.service) launch_service ;;
    *.timer | *.path) monotonic; set_state "active waiting success 0 $clock 0 0" ;;
    *.socket) monotonic; set_state "active listening success 0 $clock 0 0" ;;
    *.mount | *.automount) monotonic; set_state "active mounted success 0 $clock 0 0" ;;
    *) monotonic; set_state "active active success 0 $clock 0 0" ;;
  esac
}

warn_stale() {
  [ $stale = no ] || complain "Warning: The unit file, source configuration file or drop-ins of $id changed on disk. Run 'systemctl daemon-reload' to reload units."
}

start() {
  load "$1"
  ! refuse_unloaded start || return 0
  warn_stale
  status_of
  [ "$active" = active ] || launch
}

stop() {
  load "$1"
  status_of
  if [ $load = not-found ] && [ "$active" != active ]; then complain "Failed to stop $id: Unit $id not loaded."; rc=5; return 0; fi
  [ "$active" = inactive ] || journal "$id" "Stopped $id - $(last Unit Description)."
  set_state "inactive dead success $started $entered 0 0"
  [ -n "$(wanted_by)" ] || rm -rf "$dir"
}

restart() {
  load "$1"
  ! refuse_unloaded restart || return 0
  warn_stale
  launch
}

reload() {
  load "$1"
  ! refuse_unloaded reload || return 0
  status_of
  if [ "$active" != active ]; then complain "$id is not active, cannot reload."; rc=1
  elif [ -z "$(values Service ExecReload)" ]; then complain "Failed to reload $id: Job type reload is not applicable for unit $id."; rc=1
  else journal "$id" "Reloaded $id - $(last Unit Description)."; fi
}

forget_all() { # daemon-reload: what runs or is enabled is loaded again, the rest is forgotten
  mkdir -p $units
  for dir in $units/*/; do
    dir=${dir%/}
    [ -d "$dir" ] || continue
    rm -f "$dir/signature"
    id=${dir##*/}
    status_of
    if [ "$active" = inactive ]; then rm -rf "$dir"; else load "$id"; keep; fi
  done
  for link in /etc/systemd/system/*.wants/*; do
    [ -L "$link" ] || continue
    load "${link##*/}"
    [ "$load" = not-found ] || keep
  done
}

# --- enabling ---

link() { # FILE TARGET
  [ "$(readlink "$1")" != "$2" ] || return 0
  mkdir -p "${1%/*}"
  ln -sfn "$2" "$1"
  [ $quiet = yes ] || complain "Created symlink $1 $arrow $2."
}

unlink_all() {
  for link in $(wanted_by); do
    rm -f "$link"
    [ $quiet = yes ] || complain "Removed \"$link\"."
  done
  for alias in $(values Install Alias); do [ ! -L "/etc/systemd/system/$alias" ] || rm -f "/etc/systemd/system/$alias"; done
}

enable() {
  find_file "$1"
  read_file
  case $load in
    not-found) complain "Failed to enable unit: Unit file $id does not exist."; rc=1; return 0 ;;
    masked) complain "Failed to enable unit: Unit file $path is masked."; rc=1; return 0 ;;
  esac
  if [ "$(file_state)" = static ]; then
    complain 'The unit files have no installation config (WantedBy=, RequiredBy=, Also=,'
    complain 'Alias= settings in the [Install] section, and DefaultInstance= for template units).'
    return 0
  fi
  for target in $(values Install WantedBy); do link "/etc/systemd/system/$target.wants/$id" "$path"; done
  for target in $(values Install RequiredBy); do link "/etc/systemd/system/$target.requires/$id" "$path"; done
  for alias in $(values Install Alias); do link "/etc/systemd/system/$alias" "$path"; done
  for other in $(values Install Also); do enable "$other"; done
}

disable() {
  find_file "$1"
  read_file
  case $load in
    not-found) if [ -n "$(wanted_by)" ]; then unlink_all; else
        complain "Failed to disable unit: Unit file $id does not exist."; rc=1; fi ;;
    *) unlink_all ;;
  esac
}

mask() {
  find_file "$1"
  if [ -e "/etc/systemd/system/$id" ] && [ ! -L "/etc/systemd/system/$id" ]; then
    complain "Failed to mask unit: File /etc/systemd/system/$id already exists."; rc=1; return 0
  fi
  link "/etc/systemd/system/$id" /dev/null
}

unmask() {
  case $1 in *.*) id=$1 ;; *) id=$1.service ;; esac
  if [ "$(readlink "/etc/systemd/system/$id")" = /dev/null ]; then
    rm -f "/etc/systemd/system/$id"
    [ $quiet = yes ] || complain "Removed \"/etc/systemd/system/$id\"."
  else
    find_file "$id"
    [ -n "$path" ] || complain "Unit $id does not exist, proceeding anyway."
  fi
}

# --- asking ---

# All that is known of a loaded unit, in the order in which the manager lists it.
describe() {
  case $id in *.service)
    kind=$(last Service Type)
    printf 'Type=%s\nMainPID=%s\nResult=%s\nNRestarts=0\n' "${kind:-simple}" "$pid" "$result"
    printf 'ExecMainStartTimestampMonotonic=%s\nExecMainPID=%s\nExecMainStatus=%s\n' "$started" "$pid" "$code" ;;
  esac
  where=$path
  [ $load != not-found ] || where=''
  if [ $load = masked ]; then where=/etc/systemd/system/$id; fi
  printf 'Id=%s\nNames=%s\nDescription=%s\nLoadState=%s\nActiveState=%s\nSubState=%s\n' \
    "$id" "$id" "$(text_or "$(last Unit Description)" "$id")" $load "$active" "$sub"
  printf 'FragmentPath=%s\nDropInPaths=%s\nUnitFileState=%s\n' "$where" "$(drop_ins | tr '\n' ' ' | sed 's/ $//')" "$(file_state)"
  printf 'ActiveEnterTimestamp=%s\nActiveEnterTimestampMonotonic=%s\n' "$(wall "$entered")" "$entered"
  if [ -n "$(values Service ExecReload)" ]; then echo CanReload=yes; else echo CanReload=no; fi
  echo NeedDaemonReload=$stale
}
wall() { # a monotonic time as people read it
  [ "$1" = 0 ] || LC_ALL=C date -d "@$((($(cat $state/boot) / 1000 + $1) / 1000000))" '+%a %Y-%m-%d %H:%M:%S %Z'
}
text_or() { if [ -n "$1" ]; then printf '%s' "$1"; else printf '%s' "$2"; fi; }

show() {
  first=yes
  for name in $names; do
    [ $first = yes ] || echo
    first=no
    load "$name"
    status_of
    describe | awk -v wanted="$properties" -v bare=$value '
      BEGIN { n = split(wanted, list, ","); for (i = 1; i <= n; i++) if (list[i] != "") { some = 1; want[list[i]] = 1 } }
      { key = substr($0, 1, index($0, "=") - 1) }
      !some || key in want { print (bare == "yes" ? substr($0, index($0, "=") + 1) : $0) }'
  done
}

is_active() {
  rc=3
  for name in $names; do
    load "$name"
    status_of
    [ $quiet = yes ] || echo "$active"
    [ "$active" != active ] || rc=0
  done
}

is_failed() {
  rc=1
  for name in $names; do
    load "$name"
    status_of
    [ $quiet = yes ] || echo "$active"
    [ "$active" != failed ] || rc=0
  done
}

is_enabled() {
  rc=1
  for name in $names; do
    find_file "$name"
    read_file
    answer=$(file_state)
    if [ -z "$answer" ]; then complain "Failed to get unit file state for $id: No such file or directory"; continue; fi
    [ $quiet = yes ] || echo "$answer"
    case $answer in enabled | static) rc=0 ;; esac
  done
}

status() {
  for name in $names; do
    load "$name"
    status_of
    if [ $load = not-found ]; then complain "Unit $id could not be found."; rc=4; continue; fi
    printf '%s - %s\n     Loaded: %s (%s; %s)\n     Active: %s (%s)\n' "$id" "$(last Unit Description)" $load "$path" "$(file_state)" "$active" "$sub"
    tail -n 10 "$state/journal/$id" 2>/dev/null
    [ "$active" = active ] || rc=3
  done
}

reset_failed() { # of all units, or of those named
  [ -n "$names" ] || names=$(ls $units)
  for name in $names; do
    load "$name"
    status_of
    if [ $load = not-found ] && [ ! -d "$dir" ]; then
      complain "Failed to reset failed state of unit $id: Unit $id not loaded."; rc=1
    fi
    [ "$active" != failed ] || set_state "inactive dead success $started $entered 0 0"
  done
}

boot() { # what a start of the machine does; hidden, for the lab
  rm -rf $units
  date +%s%N > $state/boot
  for link in /etc/systemd/system/*.wants/*; do
    [ ! -L "$link" ] || start "${link##*/}"
  done
  rc=0
}

each() { for name in $names; do "$1" "$name"; done; }

mkdir -p $units
case $verb in
  daemon-reload | daemon-reexec) forget_all; exit 0 ;;
  is-system-running) echo running; exit 0 ;;
  reset-failed) reset_failed; exit $rc ;;
  standin-boot) boot; exit 0 ;;
esac
[ -n "$verb" ] || { complain 'this stand-in lists no units'; exit 1; }
case $verb in
  start | stop | restart | try-restart | reload | reload-or-restart | try-reload-or-restart | enable | disable | mask | unmask | \
    show | is-active | is-failed | is-enabled | status)
    if [ -z "$names" ] && [ "$verb" != show ]; then complain 'Too few arguments.'; exit 1; fi ;;
esac
case $verb in
  start | stop | restart | reload | mask | unmask) each "$verb" ;;
  reload-or-restart) for name in $names; do load "$name"; status_of
      if [ "$active" = active ] && [ -n "$(values Service ExecReload)" ]; then reload "$name"; else restart "$name"; fi
    done ;;
  try-restart | try-reload-or-restart) for name in $names; do load "$name"; status_of; [ "$active" != active ] || restart "$name"; done ;;
  enable) each enable; [ $rc != 0 ] || { (forget_all); [ $now = no ] || each start; } ;;
  disable) each disable; [ $rc != 0 ] || { [ $now = no ] || each stop; (forget_all); } ;;
  show) show ;;
  is-active) is_active ;;
  is-failed) is_failed ;;
  is-enabled) is_enabled ;;
  status) status ;;
  *) complain "Unknown command verb $verb."; exit 1 ;;
esac
exit $rc
