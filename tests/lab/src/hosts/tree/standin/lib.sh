# What the stand-ins for apt and dpkg share: the catalogue of packages, and which of them are installed.
# A package here is a folder: version, depends, conffiles, units, essential, root/ (its files).
state=/var/lib/standin
catalogue=/usr/share/standin/catalogue
packages=$state/packages
architecture=amd64

error() { printf 'E: %s\n' "$*" >&2; }
installed() { [ "$(cat "$packages/$1/status" 2>/dev/null)" = ii ]; }
known() { [ -d "$packages/$1" ]; }
version_of() { cat "$packages/$1/version" 2>/dev/null; }
candidate_of() { cat "$catalogue/$1/version" 2>/dev/null; }
held() { [ -e "$packages/$1/hold" ]; }
conffile_of() { grep -qxF "$2" "$packages/$1/conffiles" 2>/dev/null; }

# Prints the names of all packages that dpkg knows, in its order.
all_packages() { [ ! -d "$packages" ] || ls "$packages"; }

# Whether the installed package $1 needs $2.
needs() {
  for need in $(cat "$packages/$1/depends" 2>/dev/null); do
    [ "$need" != "$2" ] || return 0
  done
  return 1
}
