#!/bin/sh
# Stand-in for apt-mark: hold, unhold, manual, auto and their lists.
. /usr/share/standin/lib.sh
verb=${1:-}
[ $# -eq 0 ] || shift

list() { # MARK: the packages that carry it
  for package in $(all_packages); do
    if installed "$package" && [ -e "$packages/$package/$1" ]; then echo "$package"; fi
  done
}

need_all() {
  for package in "$@"; do
    if ! known "$package" && [ ! -d "$catalogue/$package" ]; then error "Unable to locate package $package"; exit 100; fi
  done
}

case $verb in
  showhold) list hold ;;
  showmanual) list manual ;;
  showauto) for package in $(all_packages); do
      if installed "$package" && [ ! -e "$packages/$package/manual" ]; then echo "$package"; fi
    done ;;
  hold) need_all "$@"; for package in "$@"; do
      if held "$package"; then echo "$package was already set on hold."; else
        mkdir -p "$packages/$package" && : > "$packages/$package/hold" && echo "$package set on hold."; fi
    done ;;
  unhold) need_all "$@"; for package in "$@"; do
      if held "$package"; then rm -f "$packages/$package/hold"; echo "Canceled hold on $package."; else
        echo "$package was already not on hold."; fi
    done ;;
  manual) need_all "$@"; for package in "$@"; do : > "$packages/$package/manual"; echo "$package set to manually installed."; done ;;
  auto) need_all "$@"; for package in "$@"; do rm -f "$packages/$package/manual"; echo "$package set to automatically installed."; done ;;
  *) error "Invalid operation $verb"; exit 100 ;;
esac
