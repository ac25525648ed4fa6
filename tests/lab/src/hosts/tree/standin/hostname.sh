#!/bin/sh
# Stand-in for hostname: the tree's own name, not the machine's.
case ${1:-} in
  '' | -s | --short) read -r name < /etc/hostname && echo "${name%%.*}" ;;
  -f | --fqdn | --long) cat /etc/hostname ;;
  -*) echo "hostname: unknown option $1" >&2; exit 1 ;;
  *) echo "$1" > /etc/hostname ;;
esac
