#!/bin/sh
# Stand-in for apt-get: update, install, remove, purge, with apt's words and exit statuses.
. /usr/share/standin/lib.sh
lists=/var/lib/apt/lists
yes=no quiet=no dry=no no_remove=no change_held=no only_upgrade=no purge=no timeout=0 conf=ask download_only=no
verb='' names=''

fail() { error "$*"; exit 100; }
say() { [ "$quiet" = yes ] || printf '%s\n' "$*"; }

set_option() {
  case $1 in
    DPkg::Lock::Timeout=*) timeout=${1#*=} ;;
    Dpkg::Options::=--force-confold | DPkg::Options::=--force-confold) conf=old ;;
    Dpkg::Options::=--force-confnew | DPkg::Options::=--force-confnew) conf=new ;;
    Dpkg::Options::=--force-confdef | DPkg::Options::=--force-confdef) [ "$conf" != ask ] || conf=old ;;
    APT::Get::Assume-Yes=true) yes=yes ;;
    *=*) ;;
    *) fail "Option $1: Configuration item specification must have an =<val>." ;;
  esac
}

while [ $# -gt 0 ]; do
  case $1 in
    -o | --option) [ $# -gt 1 ] || fail "Option $1 requires an argument."; set_option "$2"; shift ;;
    -o*) set_option "${1#-o}" ;;
    -y | --yes | --assume-yes) yes=yes ;;
    -q | -qq | --quiet | -q=*) case $1 in -qq | -q=2) quiet=yes yes=yes ;; esac ;;
    -qy | -yq) yes=yes ;;
    -qqy | -yqq) quiet=yes yes=yes ;;
    -s | --simulate | --dry-run | --just-print) dry=yes ;;
    -d | --download-only) download_only=yes ;;
    --no-remove) no_remove=yes ;;
    --purge) purge=yes ;;
    --allow-change-held-packages) change_held=yes ;;
    --only-upgrade) only_upgrade=yes ;;
    --no-install-recommends | --install-recommends | --no-upgrade | --fix-missing | -f | --fix-broken | --reinstall) ;;
    --allow-downgrades | --auto-remove | --autoremove) ;;
    --) ;;
    -*) fail "Command line option ${1} is not understood in combination with the other options" ;;
    *) if [ -z "$verb" ]; then verb=$1; else names="$names $1"; fi ;;
  esac
  shift
done

lock() { # the lock that real apt takes; who holds it is named, as apt does
  [ "$dry" = no ] || return 0
  mkdir -p /var/lib/dpkg
  exec 9>> /var/lib/dpkg/lock-frontend
  if ! flock -n 9; then
    holder="process $(cat "$state/lock-holder" 2>/dev/null || echo 0)"
    case $timeout in
      0) busy ;;
      -*) flock 9 || busy ;;
      *) echo "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by $holder..."
        flock -w "$timeout" 9 || busy ;;
    esac
  fi
  echo "$$ (apt-get)" > "$state/lock-holder"
}

busy() {
  error "Could not get lock /var/lib/dpkg/lock-frontend. It is held by $holder"
  fail "Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?"
}

update() {
  mkdir -p $lists
  if [ -e $state/no-network ]; then
    echo 'Err:1 http://deb.debian.org/debian bookworm InRelease'
    echo 'W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Could not connect to deb.debian.org:80' >&2
    echo 'W: Some index files failed to download. They have been ignored, or old ones used instead.' >&2
    return 0
  fi
  ls $catalogue > $lists/deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages
  say 'Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]'
  say 'Fetched 151 kB in 0s (1,510 kB/s)'
  say 'Reading package lists...'
}

read_all() { say 'Reading package lists...'; say 'Building dependency tree...'; say 'Reading state information...'; }

available() { grep -qxF "$1" $lists/*_Packages 2>/dev/null && [ -d "$catalogue/$1" ]; }

# Appends to $plan what $1 needs, and then $1.
add() {
  case " $plan " in *" $1 "*) return ;; esac
  for dep in $(cat "$catalogue/$1/depends" 2>/dev/null); do installed "$dep" || add "$dep"; done
  plan="$plan $1"
}

# Appends to $plan what needs $1, and then $1.
add_removal() {
  case " $plan " in *" $1 "*) return ;; esac
  for user in $(all_packages); do
    if installed "$user" && needs "$user" "$1"; then add_removal "$user"; fi
  done
  plan="$plan $1"
}

confirm() { # without -y, apt asks where it does more than it was told; nobody answers here
  [ "$yes" = no ] || return 0
  printf 'Do you want to continue? [Y/n] Abort.\n'
  exit 1
}

place() { # PACKAGE: its files, as dpkg unpacks them
  [ -d "$catalogue/$1/root" ] || return 0
  (cd "$catalogue/$1/root" && find . ! -type d) | sed 's|^\.||' | while IFS= read -r file; do
    mkdir -p "${file%/*}"
    if conffile_of "$1" "$file" && [ -e "$file" ] && ! cmp -s "$file" "$catalogue/$1/root$file"; then
      case $conf in
        old) continue ;;
        ask)
          printf "Configuration file '%s'\n" "$file"
          echo "dpkg: error processing package $1 (--configure):" >&2
          echo " end of file on stdin at conffile prompt" >&2
          exit 1 ;;
      esac
    fi
    cp -pf "$catalogue/$1/root$file" "$file.dpkg-new" && mv -f "$file.dpkg-new" "$file" || exit 1
    printf '%s\n' "$file"
  done > "$state/unpacked" || {
    echo 'Errors were encountered while processing:' >&2
    echo " $1" >&2
    fail 'Sub-process /usr/bin/dpkg returned an error code (1)'
  }
}

unpack() { # PACKAGE
  fresh=yes
  ! installed "$1" || fresh=no
  if [ $fresh = yes ]; then say "Selecting previously unselected package $1."; fi
  say "Unpacking $1 ($(candidate_of "$1")) ..."
  mkdir -p "$packages/$1"
  for part in depends conffiles units essential; do
    [ ! -e "$catalogue/$1/$part" ] || cp "$catalogue/$1/$part" "$packages/$1/$part"
  done
  [ ! -d "$catalogue/$1/root" ] || (cd "$catalogue/$1/root" && find . ! -type d) | sed 's|^\.||' > "$packages/$1/list"
  place "$1"
  candidate_of "$1" > "$packages/$1/version"
  echo ii > "$packages/$1/status"
  say "Setting up $1 ($(candidate_of "$1")) ..."
  units=$(cat "$packages/$1/units" 2>/dev/null)
  [ -z "$units" ] || systemctl daemon-reload
  for unit in $units; do
    if [ $fresh = yes ]; then systemctl --quiet enable "$unit" > /dev/null 2>&1; fi
    systemctl restart "$unit" > /dev/null 2>&1
  done
}

install_all() {
  plan='' manual=''
  for name in $names; do
    wanted=${name#*=} package=${name%%=*}
    package=${package%:$architecture}
    if ! available "$package" && ! installed "$package"; then
      missing=yes
      error "Unable to locate package $package"
    elif [ "$wanted" != "$name" ] && [ "$wanted" != "$(candidate_of "$package")" ] && [ "$wanted" != "$(version_of "$package")" ]; then
      missing=yes
      error "Version '$wanted' for '$package' was not found"
    fi
  done
  [ -z "${missing:-}" ] || exit 100
  for name in $names; do
    package=${name%%=*}
    package=${package%:$architecture}
    manual="$manual $package"
    if installed "$package" && { ! available "$package" || [ "$(candidate_of "$package")" = "$(version_of "$package")" ]; }; then
      say "$package is already the newest version ($(version_of "$package"))."
    elif held "$package" && [ "$change_held" = no ]; then
      changes_held=yes
      add "$package"
    elif [ "$only_upgrade" = no ] || installed "$package"; then
      add "$package"
    fi
  done
  new=0 upgraded=0
  for package in $plan; do
    if installed "$package"; then upgraded=$((upgraded + 1)); else new=$((new + 1)); fi
  done
  [ $new = 0 ] || { say 'The following NEW packages will be installed:'; say " $plan"; }
  say "$upgraded upgraded, $new newly installed, 0 to remove and 0 not upgraded."
  if [ -n "${changes_held:-}" ]; then
    fail 'Held packages were changed and -y was used without --allow-change-held-packages.'
  fi
  [ $((new + upgraded)) -le "$(set -- $names; echo $#)" ] || confirm
  [ "$dry" = no ] || return 0
  if [ -n "$plan" ] && [ -e $state/no-network ]; then
    for package in $plan; do error "Failed to fetch http://deb.debian.org/debian/pool/main/$package.deb  Could not connect to deb.debian.org:80"; done
    fail 'Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?'
  fi
  [ "$download_only" = no ] || return 0
  for package in $plan; do unpack "$package"; done
  for package in $manual; do : > "$packages/$package/manual"; done
}

take_away() { # PACKAGE
  say "Removing $1 ($(version_of "$1")) ..."
  for unit in $(cat "$packages/$1/units" 2>/dev/null); do systemctl disable --now "$unit" > /dev/null 2>&1; done
  if [ -e "$packages/$1/list" ]; then
    while IFS= read -r file; do
      conffile_of "$1" "$file" || rm -f "$file"
    done < "$packages/$1/list"
  fi
  rm -f "$packages/$1/manual" "$packages/$1/units"
  if [ -s "$packages/$1/conffiles" ]; then echo rc > "$packages/$1/status"; else rm -rf "${packages:?}/$1"; fi
  systemctl daemon-reload
}

forget_conffiles() { # PACKAGE
  known "$1" || return 0
  say "Purging configuration files for $1 ($(version_of "$1")) ..."
  while IFS= read -r file; do rm -f "$file"; done < "$packages/$1/conffiles"
  rm -rf "${packages:?}/$1"
}

remove_all() {
  plan=''
  for package in $names; do
    if ! available "$package" && ! known "$package"; then missing=yes; error "Unable to locate package $package"; fi
  done
  [ -z "${missing:-}" ] || exit 100
  for package in $names; do
    if installed "$package"; then add_removal "$package"; else say "Package '$package' is not installed, so not removed"; fi
  done
  count=$(set -- $plan; echo $#)
  [ "$count" = 0 ] || { say 'The following packages will be REMOVED:'; say " $plan"; }
  say "0 upgraded, 0 newly installed, $count to remove and 0 not upgraded."
  for package in $plan; do
    [ ! -e "$packages/$package/essential" ] || fail 'Essential packages were removed and -y was used without --allow-remove-essential.'
    if held "$package" && [ "$change_held" = no ]; then
      fail 'Held packages were changed and -y was used without --allow-change-held-packages.'
    fi
  done
  if [ "$no_remove" = yes ] && [ "$count" != 0 ]; then fail 'Packages need to be removed but remove is disabled.'; fi
  [ "$count" = 0 ] || confirm
  [ "$dry" = no ] || return 0
  for package in $plan; do take_away "$package"; done
  [ "$purge" = no ] || for package in $names; do forget_conffiles "$package"; done
}

mkdir -p $state $packages
case $verb in
  update) update ;;
  install) lock; read_all; install_all ;;
  remove) lock; read_all; remove_all ;;
  purge) purge=yes; lock; read_all; remove_all ;;
  clean | autoclean) ;;
  check) say 'Reading package lists...' ;;
  '') fail 'Invalid operation' ;;
  *) fail "Invalid operation $verb" ;;
esac
