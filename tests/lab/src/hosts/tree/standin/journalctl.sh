#!/bin/sh
# Stand-in for journalctl: the lines that the stand-in for systemctl wrote, of one or more units.
units='' count='' bare=no
while [ $# -gt 0 ]; do
  case $1 in
    -u | --unit) units="$units $2"; shift ;;
    --unit=* | -u=*) units="$units ${1#*=}" ;;
    -n | --lines) count=$2; shift ;;
    -n*) count=${1#-n} ;;
    --lines=*) count=${1#*=} ;;
    -o | --output) [ "${2:-}" != cat ] || bare=yes; shift ;;
    --output=cat | -ocat) bare=yes ;;
    -b | --since | -p) shift ;;
    # What a process said itself is not told apart here: nothing matches.
    _SYSTEMD_UNIT=* | _SYSTEMD_INVOCATION_ID=* | INVOCATION_ID=*) exit 0 ;;
    --no-pager | -q | --quiet | --output=* | -o* | -x | -e | -xe | -b*) ;;
    *) echo "journalctl: unrecognized option '$1'" >&2; exit 1 ;;
  esac
  shift
done
for unit in $units; do
  case $unit in *.*) ;; *) unit=$unit.service ;; esac
  if [ -s "/var/lib/standin/journal/$unit" ]; then
    tail -n "${count:-1000}" "/var/lib/standin/journal/$unit" | if [ $bare = yes ]; then sed 's/^.* systemd\[1\]: //'; else cat; fi
  else echo '-- No entries --'
  fi
done
