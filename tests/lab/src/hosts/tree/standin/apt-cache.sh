#!/bin/sh
# Stand-in for apt-cache: policy and show.
. /usr/share/standin/lib.sh
verb=${1:-}
[ $# -eq 0 ] || shift
[ -n "$(ls /var/lib/apt/lists/*_Packages 2>/dev/null)" ] || catalogue=/nonexistent
case $verb in
  policy) for package in "$@"; do
      known "$package" || [ -d "$catalogue/$package" ] || continue
      here='(none)'
      ! installed "$package" || here=$(version_of "$package")
      there=$(candidate_of "$package")
      printf '%s:\n  Installed: %s\n  Candidate: %s\n' "$package" "$here" "${there:-$here}"
    done ;;
  show) status=0
    for package in "$@"; do
      if [ -d "$catalogue/$package" ]; then
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\n\n' "$package" "$(candidate_of "$package")" $architecture
      else
        printf 'N: Unable to locate package %s\nE: No packages found\n' "$package" >&2; status=100
      fi
    done
    exit $status ;;
  *) error "Invalid operation $verb"; exit 100 ;;
esac
