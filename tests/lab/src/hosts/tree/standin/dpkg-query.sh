#!/bin/sh
# Stand-in for dpkg-query: -W with -f, -s, -L, -S.
. /usr/share/standin/lib.sh
format='${binary:Package}\t${Version}\n' action='' names=''

usage() { printf 'dpkg-query: error: %s\n' "$*" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    -W | --show) action=show ;;
    -s | --status) action=status ;;
    -L | --listfiles) action=files ;;
    -S | --search) action=search ;;
    -f | --showformat) [ $# -gt 1 ] || usage "$1 takes a value"; format=$2; shift ;;
    -f=*) format=${1#-f=} ;;
    --showformat=*) format=${1#*=} ;;
    -f*) format=${1#-f} ;;
    --no-pager | --) ;;
    -*) usage "unknown option $1" ;;
    *) names="$names $1" ;;
  esac
  shift
done

want_of() { if held "$1"; then echo hold; elif installed "$1"; then echo install; else echo deinstall; fi; }
here_of() { if installed "$1"; then echo installed; else echo config-files; fi; }

show_one() { # PACKAGE, by the format; awk reads its escapes
  abbreviation=rc
  ! installed "$1" || abbreviation=ii
  ! held "$1" || abbreviation=h${abbreviation#?}
  awk -v format="$format" -v package="$1" -v version="$(version_of "$1")" -v abbreviation="$abbreviation " \
    -v want="$(want_of "$1")" -v here="$(here_of "$1")" -v architecture=$architecture 'BEGIN {
      field["Package"] = field["binary:Package"] = package
      field["Version"] = version; field["Architecture"] = architecture
      field["db:Status-Abbrev"] = abbreviation; field["db:Status-Status"] = here
      field["db:Status-Want"] = want; field["db:Status-Eflag"] = "ok"; field["Status"] = want " ok " here
      while (match(format, /\$\{[^}]*\}/)) {
        name = substr(format, RSTART + 2, RLENGTH - 3); width = ""
        if (cut = index(name, ";")) { width = substr(name, cut + 1); name = substr(name, 1, cut - 1) }
        printf "%s%" width "s", substr(format, 1, RSTART - 1), field[name]
        format = substr(format, RSTART + RLENGTH)
      }
      printf "%s", format
    }'
}

show_all() { # a complaint for each name that fits nothing; the rest in dpkg's own order, each once
  [ -n "$names" ] || { for package in $(all_packages); do show_one "$package"; done; return 0; }
  set -f
  status=0
  for pattern in $names; do
    found=no
    for package in $(all_packages); do
      case $package in ${pattern%:$architecture}) found=yes; break ;; esac
    done
    if [ $found = no ]; then echo "dpkg-query: no packages found matching $pattern" >&2; status=1; fi
  done
  for package in $(all_packages); do
    for pattern in $names; do
      case $package in ${pattern%:$architecture}) show_one "$package"; break ;; esac
    done
  done
  return $status
}

case $action in
  show) show_all ;;
  status) format='Package: ${Package}\nStatus: ${Status}\nArchitecture: ${Architecture}\nVersion: ${Version}\n\n'
    status=0
    for package in $names; do
      if known "$package"; then show_one "$package"; else
        echo "dpkg-query: package '$package' is not installed and no information is available" >&2; status=1; fi
    done
    [ $status = 0 ] || echo 'Use dpkg --info (= dpkg-deb --info) to examine archive files.' >&2
    exit $status ;;
  files) for package in $names; do
      known "$package" || { echo "dpkg-query: package '$package' is not installed" >&2; exit 1; }
      cat "$packages/$package/list" 2>/dev/null
    done
    exit 0 ;;
  search) status=1
    for package in $(all_packages); do
      for path in $names; do
        if grep -qxF "$path" "$packages/$package/list" 2>/dev/null; then echo "$package: $path"; status=0; fi
      done
    done
    [ $status = 0 ] || echo "dpkg-query: no path found matching pattern$names" >&2
    exit $status ;;
  *) usage 'need an action option' ;;
esac
