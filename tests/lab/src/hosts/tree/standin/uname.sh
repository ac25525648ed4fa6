#!/bin/sh
# Stand-in for uname: the tree's own name; of the kernel it tells the truth.
case $* in
  -n | --nodename) exec cat /etc/hostname ;;
esac
exec /usr/lib/standin/uname "$@"
