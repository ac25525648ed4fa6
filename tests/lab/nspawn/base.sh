#!/bin/bash
# Builds the Debian root that all guests of the lab share, with a small apt repository inside: base.sh CACHE
# Prints the root's path. Built once for each version of this file (about a minute, from Debian's mirror);
# after that it takes no time and no network. Needs root and mmdebstrap.
set -euo pipefail
umask 022
CACHE=${1:?usage: base.sh CACHE}
SUITE=bookworm
# Real packages for real apt in guests that have no route out. Their dependencies come along.
EXTRA="curl jq tree"

mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)
KEY=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
BASE=$CACHE/base-$KEY
if [ -e "$BASE.ready" ]; then echo "$BASE"; exit 0; fi
exec 9> "$CACHE/base.lock"
flock 9
if [ -e "$BASE.ready" ]; then echo "$BASE"; exit 0; fi
echo "building the lab's Debian root (once, about a minute)" >&2

hello() { # VERSION: a package with a unit that runs, and a conffile
  local d=$WORK/hello-$1
  mkdir -p "$d"/{DEBIAN,etc,usr/bin,lib/systemd/system}
  cat > "$d/DEBIAN/control" <<C
Package: holdfast-hello
Version: $1
Architecture: all
Maintainer: Holdfast lab <lab@example.invalid>
Description: a service that says hello, for the lab's hosts
C
  echo /etc/holdfast-hello.conf > "$d/DEBIAN/conffiles"
  echo "greeting=hello from $1" > "$d/etc/holdfast-hello.conf"
  printf '#!/bin/sh\n. /etc/holdfast-hello.conf\necho "$greeting"\nexec sleep infinity\n' > "$d/usr/bin/holdfast-hello"
  cat > "$d/lib/systemd/system/holdfast-hello.service" <<C
[Unit]
Description=Hello from the lab

[Service]
ExecStart=/usr/bin/holdfast-hello

[Install]
WantedBy=multi-user.target
C
  # What debhelper would write: enabled and started where systemd runs, as packages of Debian are.
  cat > "$d/DEBIAN/postinst" <<'C'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  [ -n "$2" ] || systemctl enable holdfast-hello.service
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl restart holdfast-hello.service; fi
fi
C
  cat > "$d/DEBIAN/prerm" <<'C'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now holdfast-hello.service; fi
C
  chmod 755 "$d/DEBIAN/postinst" "$d/DEBIAN/prerm" "$d/usr/bin/holdfast-hello"
  dpkg-deb --build --root-owner-group "$d" "$ROOT/srv/apt" > /dev/null
}

index() { # a flat repository: Packages, and a Release that names its hash
  cd "$ROOT/srv/apt"
  local deb
  for deb in *.deb; do
    dpkg-deb --field "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
  done > Packages
  printf 'Suite: lab\nDate: %s\nSHA256:\n %s %s Packages\n' "$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')" \
    "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" > Release
  cd - > /dev/null
}

configure() {
  rm -f "$ROOT"/etc/ssh/ssh_host_* "$ROOT/etc/hostname" "$ROOT/etc/resolv.conf" "$ROOT"/etc/apt/sources.list.d/*
  : > "$ROOT/etc/machine-id"; : > "$ROOT/etc/fstab"
  echo 'deb [trusted=yes] file:/srv/apt ./' > "$ROOT/etc/apt/sources.list"
  # netplan matches a permanent MAC, which a veth lacks: let cloud-init write networkd's files.
  cat > "$ROOT/etc/cloud/cloud.cfg.d/90-lab.cfg" <<C
datasource_list: [ NoCloud, ConfigDrive ]
system_info: { network: { renderers: [ networkd ] } }
locale: C.UTF-8
apt: { preserve_sources_list: true }
C
  ln -sf /lib/systemd/system/systemd-networkd.service "$ROOT/etc/systemd/system/multi-user.target.wants/"
  local unit
  for unit in console-getty.service getty@tty1.service systemd-timesyncd.service apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-udevd.service modprobe@.service dev-hugepages.mount systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$ROOT/etc/systemd/system/$unit"
  done
  printf 'UseDNS no\nPasswordAuthentication no\n' > "$ROOT/etc/ssh/sshd_config.d/lab.conf"
  mkdir -p "$ROOT/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n' > "$ROOT/etc/systemd/journald.conf.d/lab.conf"
}

WORK=$(mktemp -d "$CACHE/building-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
ROOT=$WORK/root
mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
  --include=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,ca-certificates,cloud-init,locales \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook='mkdir -p "$1/srv/apt/partial"' \
  --customize-hook="chroot \"\$1\" apt-get install -qq -y --no-install-recommends --download-only -o Dir::Cache::archives=/srv/apt -o APT::Sandbox::User=root $EXTRA" \
  "$SUITE" "$ROOT" >&2
rm -rf "$ROOT/srv/apt/partial" "$ROOT/srv/apt/lock"
hello 1.0; hello 1.1
index
configure
rm -rf "$CACHE"/base-* # older versions of this file made them
mv "$ROOT" "$BASE"
touch "$BASE.ready"
echo "$BASE"
