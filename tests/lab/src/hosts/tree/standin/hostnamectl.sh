#!/bin/sh
# Stand-in for hostnamectl: shows and sets the static name.
while :; do case ${1:-} in --static | --no-ask-password | --no-pager) shift ;; *) break ;; esac; done
case ${1:-status} in
  status) printf ' Static hostname: %s\nOperating System: Debian GNU/Linux 12 (bookworm)\n' "$(cat /etc/hostname)" ;;
  hostname | set-hostname)
    if [ $# -lt 2 ]; then cat /etc/hostname; exit 0; fi
    case $2 in *[!a-zA-Z0-9.-]* | '') echo "Could not set static hostname: Invalid static hostname '$2'" >&2; exit 1 ;; esac
    echo "$2" > /etc/hostname ;;
  *) echo "Unknown command verb $1." >&2; exit 1 ;;
esac
