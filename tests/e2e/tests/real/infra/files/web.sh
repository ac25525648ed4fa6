#!/bin/sh
# Shows with what it was started, and runs on.
set -eu
cat /etc/web/greeting /etc/web/token > /var/lib/web.started
echo "web is up"
exec sleep infinity
