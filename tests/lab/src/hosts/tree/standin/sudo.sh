#!/bin/sh
# Stand-in for sudo: everybody is root in this tree; a file makes it ask for a password, as an unprepared host does.
while [ $# -gt 0 ]; do
  case $1 in
    -n | --non-interactive | -E | --preserve-env | -H | --set-home | -k) shift ;;
    -u | --user | -g | --group) shift 2 ;;
    --) shift; break ;;
    -*) echo "sudo: unrecognized option '$1'" >&2; exit 1 ;;
    *=*) export "$1"; shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || { echo 'usage: sudo [-n] command [arg ...]' >&2; exit 1; }
if [ "${USER:-root}" != root ] && [ -e /var/lib/standin/sudo-asks ]; then
  echo 'sudo: a password is required' >&2
  exit 1
fi
SUDO_USER=${USER:-root} USER=root LOGNAME=root HOME=/root
export SUDO_USER USER LOGNAME HOME
exec "$@"
